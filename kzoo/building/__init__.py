"""Building, saving and loading: the catalogue, weights and rewrites put together."""

from kzoo.building.assembly import Assembly, load_weights, lora, save_weights
from kzoo.building.facts import info
from kzoo.building.making import build
from kzoo.building.saving import load, save

__all__ = ["Assembly", "build", "info", "load", "load_weights", "lora", "save", "save_weights"]

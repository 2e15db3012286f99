"""Building, saving and loading: the catalogue, weights and rewrites put together."""

from kzoo.building.facts import info
from kzoo.building.making import build
from kzoo.building.saving import load, save

__all__ = ["build", "info", "load", "save"]

"""Building, saving and loading: the catalogue, weights and rewrites put together."""

from kzoo.building.assembly import Assembly, build, info, load, load_weights, lora, save, save_weights

__all__ = ["Assembly", "build", "info", "load", "load_weights", "lora", "save", "save_weights"]

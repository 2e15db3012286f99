"""Looking inside: what a model attends to."""

from kzoo.explaining.heatmaps import attention_maps

__all__ = ["attention_maps"]

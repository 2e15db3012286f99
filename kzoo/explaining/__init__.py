"""Looking inside a model: what it attends to."""

from kzoo.explaining.heatmaps import attention_maps

__all__ = ["attention_maps"]

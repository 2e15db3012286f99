"""Looking inside a model: what it attends to, and what speaks for what it answers."""

from kzoo.explaining.explanation import explain
from kzoo.explaining.heatmaps import attention_maps

__all__ = ["attention_maps", "explain"]

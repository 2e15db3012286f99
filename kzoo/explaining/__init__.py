"""Looking inside a model: what it attends to, and which letters of a sequence matter."""

from kzoo.explaining.heatmaps import attention_maps
from kzoo.explaining.letter_changes import mutagenesis

__all__ = ["attention_maps", "mutagenesis"]

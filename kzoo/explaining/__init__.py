"""Looking inside a model: what it attends to, and what speaks for what it answers."""

from kzoo.explaining.explanation import explain
from kzoo.explaining.heatmaps import attention_maps
from kzoo.explaining.letter_changes import mutagenesis

__all__ = ["attention_maps", "explain", "mutagenesis"]

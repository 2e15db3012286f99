"""Sequences from autoregressive models: a cache, sampling and beam search in one compiled program."""

from kzoo.generation.ending import Written
from kzoo.generation.writing import generate

__all__ = ["Written", "generate"]

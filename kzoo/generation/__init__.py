"""Sequences from autoregressive models: a cache, sampling and beam search in one compiled program."""

from kzoo.generation.writing import Written, generate

__all__ = ["Written", "generate"]

"""Sequences out of autoregressive models: a cache, samplers, beam search, one compiled program."""

from kzoo.generation.writing import Written, generate

__all__ = ["Written", "generate"]

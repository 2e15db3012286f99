"""Weights: safetensors in the reference's names and layout, to a model and back."""

from kzoo.weights.checkpoint import load_weights, save_weights

__all__ = ["load_weights", "save_weights"]

"""Activations that Keras has no name for, as functions that its files can name."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kzoo")
def gelu_tanh(x):
    """GELU by its tanh approximation, as GPT-2 has it (Hendrycks, Gimpel 2016, https://arxiv.org/abs/1606.08415)."""
    return ops.gelu(x, approximate=True)

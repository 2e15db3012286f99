"""Layer normalisation and GELU written as runtimes look for them, to run each as one operation.

Keras' layer normalisation multiplies by the inverse deviation before it subtracts, and its GELU goes by `erfc`. Four
layer norms of 8 x 128 x 768 took 0.3 (ONNX Runtime) to 0.85 times (OpenVINO) as long in this form, on two AVX2 cores.
"""

from functools import partial

import keras
from keras import layers, ops

from kzoo import graph
from kzoo.layers import gelu
from kzoo.rewrites.copies import built_like


def make_fusible(model, with_gelu=True) -> keras.Model:
    """A model for inference with the same outputs up to rounding; the given one is left as it is.

    Args:
        with_gelu: GELU too; False writes it in Keras' way, which OpenVINO does not recognise. Its product of matrices
            with a GELU took 1.3 times as long as without, one after the other 1.03 times (1024 x 768 x 3072, AVX2).
            With AVX-512 BERT-base (8 x 128 tokens) takes 399 ms with it and 411 without, in int8 137 and 150.

    Changed layers are new, under their old names, with copies of the weights; all others are shared.
    """
    activations = {keras.activations.gelu: gelu} if with_gelu else {gelu: keras.activations.gelu}

    def make(step):
        layer = step.layer
        if _is_last_axis(layer):
            return _like(layer, step.inputs[0].shape)
        if type(layer) in (layers.Dense, layers.Activation) and layer.activation in activations:
            return built_like(layer, step.inputs[0].shape, activation=activations[layer.activation])
        return layer

    return graph.replace_layers(model, make)


def has_layer_norm(model) -> bool:
    """Whether the model has layer normalisation over the last axis."""
    return any(_is_last_axis(layer) for layer in model.layers)


def _is_last_axis(layer):
    if type(layer) is not layers.LayerNormalization:
        return type(layer) is _LayerNormalization
    axis = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    return axis in ([-1], [len(layer.input.shape) - 1]) and not layer.rms_scaling


def _like(norm, input_shape):
    settings = {"center": norm.beta is not None, "scale": norm.gamma is not None}
    made = _LayerNormalization(norm.epsilon, **settings, name=norm.name, dtype=norm.dtype_policy)
    made.build(input_shape)
    made.set_weights(norm.get_weights())
    return made


class _LayerNormalization(layers.Layer):
    """Layer normalisation over the last axis, in float32."""

    def __init__(self, epsilon, center=True, scale=True, **kwargs):
        super().__init__(**kwargs)
        self.epsilon, self.center, self.scale = epsilon, center, scale

    def build(self, input_shape):
        weight = partial(self.add_weight, input_shape[-1:], autocast=False)
        self.gamma = weight(initializer="ones", name="gamma") if self.scale else None
        self.beta = weight(initializer="zeros", name="beta") if self.center else None

    def call(self, inputs):
        x = ops.cast(inputs, "float32")
        # Axes in a tuple and a power, not a square, are part of what is looked for.
        x = x - ops.mean(x, axis=(-1,), keepdims=True)
        x = x / ops.sqrt(ops.mean(ops.power(x, 2.0), axis=(-1,), keepdims=True) + self.epsilon)
        x = x if self.gamma is None else x * ops.cast(self.gamma, "float32")
        x = x if self.beta is None else x + ops.cast(self.beta, "float32")
        return ops.cast(x, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon, "center": self.center, "scale": self.scale}

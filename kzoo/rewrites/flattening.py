"""Dense layers over sequences as products of two matrices, which TensorFlow fuses with bias and activation on a CPU.

A Dense layer over (batch, length, dim) reshapes between the product and the bias, and oneDNN's fusion wants them side
by side. It knows the exact GELU in one order of its operations.
"""

import keras
from keras import layers, ops

from kzoo import graph
from kzoo.layers import gelu


def flatten_dense(model) -> keras.Model:
    """A model with the same outputs whose Dense layers over sequences multiply matrices; the given one stays as it is.

    Changed layers are new, under their old names, with copies of the weights; all others are shared.
    """

    def make(step):
        layer = step.layer
        if type(layer) is not layers.Dense or len(step.inputs[0].shape) < 3:
            return layer
        is_gelu = layer.activation in (keras.activations.gelu, gelu)
        activation = _recognised_gelu if is_gelu else layer.activation
        flat = _FlatDense(layer.units, activation, layer.use_bias, name=layer.name, dtype=layer.dtype_policy)
        flat.build(step.inputs[0].shape)
        flat.set_weights(layer.get_weights())
        return flat

    return graph.replace_layers(model, make)


class _FlatDense(layers.Layer):
    """A Dense layer that multiplies two matrices, whatever the rank of its input."""

    def __init__(self, units, activation="linear", use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), initializer="zeros", name="kernel")
        self.bias = self.add_weight((self.units,), initializer="zeros", name="bias") if self.use_bias else None

    def call(self, inputs):
        flat = ops.matmul(ops.reshape(inputs, (-1, inputs.shape[-1])), self.kernel)
        flat = flat if self.bias is None else ops.add(flat, self.bias)
        return ops.reshape(self.activation(flat), (*ops.shape(inputs)[:-1], self.units))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "activation": "linear", "use_bias": self.use_bias}


def _recognised_gelu(x):
    return x * ((ops.erf(x * 0.5**0.5) + 1) * 0.5)

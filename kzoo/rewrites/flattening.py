"""Dense layers over sequences as products of two matrices, which TensorFlow fuses with bias and activation on a CPU.

A Dense layer over (batch, length, dim) reshapes between the product and the bias, and oneDNN's fusion wants them side
by side. It knows the exact GELU in one order of its operations.
"""

import keras
from keras import layers, ops

from kzoo import graph
from kzoo.layers import gelu
from kzoo.rewrites.copies import built_like


def flatten_dense(model) -> keras.Model:
    """A model with the same outputs whose Dense layers over sequences multiply matrices; the given one stays as it is.

    Changed layers are new, under their old names, with copies of the weights; all others are shared.
    """

    def make(step):
        if type(step.layer) is layers.Dense and len(step.inputs[0].shape) > 2:
            activation = _recognised_gelu if step.layer.activation in (keras.activations.gelu, gelu) else None
            return built_like(step.layer, step.inputs[0].shape, _FlatDense, activation)
        return step.layer

    return graph.replace_layers(model, make)


class _FlatDense(layers.Dense):
    def call(self, inputs, training=None):
        flat = super().call(ops.reshape(inputs, (-1, inputs.shape[-1])), training)
        return ops.reshape(flat, (*ops.shape(inputs)[:-1], self.units))


def _recognised_gelu(x):
    return x * ((ops.erf(x * 0.5**0.5) + 1) * 0.5)

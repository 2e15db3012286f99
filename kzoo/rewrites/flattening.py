"""Dense layers over sequences as products of two matrices, which TensorFlow fuses with bias and activation on a CPU.

A Dense layer over (batch, length, dim) reshapes between the product and the bias, and oneDNN's fusion wants them side
by side. It knows the exact GELU by erf; TensorFlow writes it by erfc.
"""

import keras
from keras import layers, ops

from kzoo import graph
from kzoo.rewrites.folding import undrawn_config


def flatten_dense(model):
    """A model with the same outputs whose Dense layers over sequences multiply matrices; the given one stays as it is.

    Changed layers are new, under their old names, with copies of the weights; all others are shared.
    """

    def make(step):
        if type(step.layer) is layers.Dense and len(step.inputs[0].shape) > 2:
            return _flat(step.layer, step.inputs[0].shape)
        return step.layer

    return graph.replace_layers(model, make)


def _flat(layer, input_shape):
    flat = _FlatDense.from_config(undrawn_config(layer))
    if flat.activation is keras.activations.gelu:
        flat.activation = _gelu_by_erf
    flat.build(input_shape)
    flat.set_weights(layer.get_weights())
    return flat


class _FlatDense(layers.Dense):
    def call(self, inputs, training=None):
        flat = super().call(ops.reshape(inputs, (-1, inputs.shape[-1])), training)
        return ops.reshape(flat, (*ops.shape(inputs)[:-1], self.units))


def _gelu_by_erf(x):
    """x times the normal distribution's share below x, in the order of operations that is recognised."""
    return x * ((ops.erf(x * 0.5**0.5) + 1) * 0.5)

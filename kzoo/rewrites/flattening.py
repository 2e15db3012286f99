"""Dense layers over sequences as products of two matrices, which TensorFlow fuses with bias and activation on a CPU.

A Dense layer over (batch, length, dim) reshapes between the product and the bias, and oneDNN's fusion wants them side
by side. It knows the exact GELU by erf; TensorFlow writes it by erfc.
"""

import keras
from keras import layers, ops

from kzoo import graph


def flatten_dense(model):
    """A model with the same outputs whose Dense layers over sequences multiply matrices; the given one stays as it is.

    Changed layers are new, under their old names, with copies of the weights; all others are shared.
    """
    inputs, steps, outputs = graph.record(model)
    values = {id(tensor): tensor for tensor in keras.tree.flatten(inputs)}
    made = {}

    def call(step, args, kwargs):
        layer, key = step.layer, id(step.layer)
        if type(layer) is layers.Dense and len(step.inputs[0].shape) > 2:
            if key not in made:
                made[key] = _flat(layer, step.inputs[0].shape)
            layer = made[key]
        return layer(*args, **kwargs)

    graph.replay(steps, values, call)
    results = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs)
    return keras.Model(inputs, results, name=model.name)


def _flat(layer, input_shape):
    config = layer.get_config()
    config.update({key: "zeros" for key in config if key.endswith("_initializer")})  # weights are set below
    flat = _FlatDense.from_config(config)
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

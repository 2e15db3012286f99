"""Recurrent layers unrolled over a known length, for runtimes without loops."""

import keras
import numpy as np
from keras import layers, ops

from kzoo import graph
from kzoo.layers.recurrent import Recurrence
from kzoo.rewrites.copies import built_like, like

RECURRENT = (layers.RNN, layers.Bidirectional, Recurrence)  # LSTM, GRU and SimpleRNN are RNNs


def num_steps(model, length) -> int:
    """The number of steps that all recurrent layers take over a sequence of `length`, in both directions."""
    return length * sum(
        2 if isinstance(layer, layers.Bidirectional) else 1 for layer in model.layers if isinstance(layer, RECURRENT)
    )


def is_recurrent(model) -> bool:
    """Whether the model has a layer that runs step by step over time."""
    return any(isinstance(layer, RECURRENT) for layer in model.layers)


def keeps_loops(model) -> bool:
    """Whether the model's loops run over hundreds of steps, so that they are unrolled only where nothing else works."""
    return any(isinstance(layer, Recurrence) for layer in model.layers)


def unroll(model, length, one_product=False) -> keras.Model:
    """The model for sequences of `length` steps with every recurrent layer unrolled; the given model is left as it is.

    Args:
        length: of every input dimension but the batch that is not known.
        one_product: let a step of an LSTM, unless it is Bidirectional's, multiply its input and its state in one
            product, which takes 0.8 times as long with XLA (32 examples, 128 units, two cores).

    Recurrent layers are new, under their old names; all others are shared with the given model.
    """

    def make(step):
        if not isinstance(step.layer, RECURRENT):
            return step.layer
        if isinstance(step.layer, Recurrence):
            made = like(step.layer, unroll=True)
            made.build(*(tensor.shape for tensor in step.inputs))
            made.set_weights(step.layer.get_weights())
            return made
        return _unrolled(step.layer, step.inputs[0].shape, one_product)

    return graph.replace_layers(model, make, length)


def _unrolled(layer, input_shape, one_product):
    if isinstance(layer, layers.Bidirectional):
        config = layer.get_config()
        sides = {side: config[side] for side in ("layer", "backward_layer") if config.get(side)}
        for side in sides.values():
            side["config"]["unroll"] = True
        return built_like(layer, input_shape, **sides)
    if one_product and type(layer) is layers.LSTM:
        return _with_one_product(layer, input_shape)
    return built_like(layer, input_shape, unroll=True)


def _with_one_product(lstm, input_shape):
    kept = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
    settings = {name: getattr(lstm, name) for name in kept}
    activations = {"activation": lstm.activation, "recurrent_activation": lstm.recurrent_activation}
    cell = _OneProductCell(lstm.units, lstm.use_bias, **activations, dtype=lstm.dtype_policy)
    unrolled = layers.RNN(cell, unroll=True, name=lstm.name, dtype=lstm.dtype_policy, **settings)
    unrolled.build(input_shape)
    kernel, recurrent_kernel, *bias = lstm.get_weights()
    unrolled.set_weights([np.concatenate([kernel, recurrent_kernel]), *bias])
    return unrolled


@keras.saving.register_keras_serializable("kzoo")
class _OneProductCell(layers.Layer):
    """A step of an LSTM at inference, whose two kernels are one matrix."""

    def __init__(self, units, use_bias=True, activation="tanh", recurrent_activation="sigmoid", **kwargs):
        super().__init__(**kwargs)
        self.units, self.use_bias = units, use_bias
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.state_size, self.output_size = [units, units], units

    def get_config(self):
        names = ("activation", "recurrent_activation")
        activations = {name: keras.activations.serialize(getattr(self, name)) for name in names}
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias, **activations}

    def build(self, input_shape):
        shape = (input_shape[-1] + self.units, 4 * self.units)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=shape[1:], initializer="zeros", name="bias") if self.use_bias else None

    def call(self, inputs, states):
        state, carry = states
        gates = ops.matmul(ops.concatenate([inputs, state], axis=-1), self.kernel)
        if self.bias is not None:
            gates = ops.add(gates, self.bias)
        enter, keep, candidate, leave = ops.split(gates, 4, axis=1)
        carry = self.recurrent_activation(keep) * carry + self.recurrent_activation(enter) * self.activation(candidate)
        state = self.recurrent_activation(leave) * self.activation(carry)
        return state, [state, carry]

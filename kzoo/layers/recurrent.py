"""A recurrent layer for sequences of different lengths, whose two directions take their steps together."""

from typing import Any

import keras
from keras import layers, ops

GATES = {"lstm": 4, "gru": 3, "simple": 1}  # rows of the gates in torch's order
STATES = {"lstm": 2, "gru": 1, "simple": 1}


def _forget_ones(shape, dtype=None):
    """Zeros, but ones for the forget gates: they begin open (Jozefowicz et al. 2015)."""
    units = shape[-1] // 4
    return ops.concatenate([ops.zeros(units, dtype), ops.ones(units, dtype), ops.zeros(2 * units, dtype)])


@keras.saving.register_keras_serializable("kzoo")
class DirectionsCell(layers.Layer):
    """One step of one or two directions, after the product with the input: a part of `Recurrence`.

    Weights: `kernel0` and `kernel1` (units, gates), and for "gru" `bias0` and `bias1` (gates), one a direction.
    """

    def __init__(self, kind, units, num_directions, activation, **kwargs):
        super().__init__(**kwargs)
        self.kind, self.units, self.num_directions = kind, units, num_directions
        self.activation = keras.activations.get(activation)
        self.state_size, self.output_size = [units] * STATES[kind], units

    def build(self, input_shape) -> None:
        gates = GATES[self.kind] * self.units
        for index in range(self.num_directions):
            kernel = self.add_weight((self.units, gates), initializer="orthogonal", name=f"kernel{index}")
            setattr(self, f"kernel{index}", kernel)
            if self.kind == "gru":
                setattr(self, f"bias{index}", self.add_weight((gates,), initializer="zeros", name=f"bias{index}"))

    def _product(self, state, index):
        product = ops.matmul(state[:, index], getattr(self, f"kernel{index}"))
        return product + getattr(self, f"bias{index}") if self.kind == "gru" else product

    def call(self, inputs, states, training=False) -> Any:
        """(batch, num_directions * gates) and states (batch, num_directions, units) to the new state and states."""
        x = ops.reshape(inputs, (-1, self.num_directions, GATES[self.kind] * self.units))
        state, *carry = states
        # One product a direction: TensorFlow takes ten times as long for a batch of two of them.
        product = ops.stack([self._product(state, index) for index in range(self.num_directions)], axis=1)
        if self.kind == "lstm":
            enter, keep, candidate, leave = ops.split(x + product, 4, axis=-1)
            carry = [ops.sigmoid(keep) * carry[0] + ops.sigmoid(enter) * self.activation(candidate)]
            state = ops.sigmoid(leave) * self.activation(carry[0])
        elif self.kind == "gru":
            (x_reset, x_update, x_candidate), (reset, update, candidate) = (
                ops.split(y, 3, axis=-1) for y in (x, product)
            )
            update = ops.sigmoid(x_update + update)
            candidate = self.activation(x_candidate + ops.sigmoid(x_reset + reset) * candidate)
            state = update * state + (1 - update) * candidate
        else:
            state = self.activation(x + product)
        return state, [state, *carry]


@keras.saving.register_keras_serializable("kzoo")
class Recurrence(layers.Layer):
    """LSTM, GRU or simple recurrence; with `bidirectional`, the sum of what both directions give.

    It equals torch's layer over a packed sequence. The input is multiplied before the loop, in one product for all
    steps, and both directions share one loop.

    Call arguments:
        inputs: (batch, steps, features).
        num_steps: int32 (batch,), the steps of each sequence; the backward direction begins at its last one.

    Returns (batch, steps, units), zeros after a sequence's end.

    Args:
        kind: "lstm"; "gru", whose reset gate acts after the product; or "simple".
        units: the size of a direction's state.
        activation: of candidates and outputs.
        unroll: unroll the loop over a known number of steps.

    Weights: `kernel0` and `kernel1` (features, gates), `bias0` and `bias1` (gates), one a direction, and those of
    `DirectionsCell`; gates in torch's order. Raises ValueError for an unknown kind.
    """

    def __init__(self, kind, units, bidirectional=True, activation="tanh", unroll=False, **kwargs):
        super().__init__(**kwargs)
        if kind not in GATES:
            raise ValueError(f"kind must be one of {', '.join(GATES)}, got {kind!r}")
        self.kind, self.units, self.bidirectional = kind, units, bidirectional
        self.num_directions = 2 if bidirectional else 1
        inner = DirectionsCell(kind, units, self.num_directions, activation, dtype=self.dtype_policy)
        self.loop = layers.RNN(inner, return_sequences=True, unroll=unroll, dtype=self.dtype_policy)

    @property
    def TENSORS(self) -> dict:
        """Those of torch's module with one layer."""
        table = {}
        for index, side in enumerate(("", "_reverse")[: self.num_directions]):
            biases = f"bias_ih_l0{side}", f"bias_hh_l0{side}"
            table[f"kernel{index}"] = (f"weight_ih_l0{side}", "kernel")
            table[f"loop.cell.kernel{index}"] = (f"weight_hh_l0{side}", "kernel")
            table[f"bias{index}"] = (biases[0], "same") if self.kind == "gru" else (*biases, "summed_bias")
            table[f"loop.cell.bias{index}"] = (biases[1], "same")
        return table

    def build(self, inputs_shape, num_steps_shape) -> None:
        gates = GATES[self.kind] * self.units
        start = _forget_ones if self.kind == "lstm" else "zeros"
        for index in range(self.num_directions):
            setattr(self, f"kernel{index}", self.add_weight((inputs_shape[-1], gates), name=f"kernel{index}"))
            setattr(self, f"bias{index}", self.add_weight((gates,), initializer=start, name=f"bias{index}"))
        self.loop.build((*inputs_shape[:2], self.num_directions * gates))

    def call(self, inputs, num_steps) -> Any:
        batch, length, _ = ops.shape(inputs)
        steps = ops.arange(length, dtype="int32")[None]
        own = steps < num_steps[:, None]
        x = ops.matmul(inputs, self.kernel0) + self.bias0
        if self.bidirectional:
            # Every sequence reversed in place: what follows its end stays there.
            places = ops.where(own, num_steps[:, None] - 1 - steps, steps)
            places = places + ops.arange(batch, dtype="int32")[:, None] * length
            x = ops.concatenate([x, ops.matmul(_at(inputs, places), self.kernel1) + self.bias1], axis=-1)
        start = ops.zeros((batch, self.num_directions, self.units), x.dtype)
        found = self.loop(x, initial_state=[start] * STATES[self.kind])
        total = found[:, :, 0]
        if self.bidirectional:
            total = total + _at(found[:, :, 1], places)
        return ops.where(own[..., None], total, 0)

    def compute_output_shape(self, inputs_shape, num_steps_shape) -> tuple:
        return (*inputs_shape[:2], self.units)


def _at(x, places):
    """Steps of (batch, steps, features) by their places among those of all sequences."""
    return ops.take(ops.reshape(x, (-1, x.shape[-1])), places, axis=0)

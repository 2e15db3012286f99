"""What a layer remembers between two steps of generation: one table, by class of layer.

A model writes token by token only if none of its layers sees later tokens. Most compute the output of each place from
that place alone, and remember nothing; the others remember what came before in a form of their own: causal attention a
cache of keys and values, a recurrent layer its states, a causal convolution a queue of its last inputs. A class that is
not in the table is refused by name, never guessed at.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from kzoo import layers as own
from kzoo.layers import waves
from kzoo.layers.attention import join_heads, scaled_dot_product_attention, split_heads

ROW_PARTS = 8
ROW_LEAST = 2**18  # numbers of a kernel below which its parts cost more to hand out than to multiply


class Now(NamedTuple):
    """The places of a step's new tokens.

    places: (length,) int32, counted from the beginning of the padded prompts, which is the same for all rows.
    num_pads: (batch,) int32, how many places at the beginning are padding.
    is_row: whether there is one new token of one sequence, which is known when the step is traced.
    is_token: whether there is one new token of each sequence.
    """

    places: object
    num_pads: object
    is_row: bool
    is_token: bool

    @property
    def real(self) -> Any:
        """Which of the new tokens are not padding: bool (batch, length)."""
        return self.places[None, :] >= self.num_pads[:, None]


def as_it_is(layer, args, kwargs, memory, now) -> tuple:
    """A layer that remembers nothing."""
    return layer(*args, **kwargs), memory


def first_of_zeros(step, kept, batch_size, values) -> list:
    """A memory that begins empty."""
    return [ops.zeros((batch_size, *shape), step.layer.compute_dtype) for shape, _ in kept]


@dataclasses.dataclass(frozen=True)
class Memory:
    """How one class of layers continues from step to step; by default it remembers nothing.

    go_on: `go_on(layer, args, kwargs, memory, now)` gives the layer's outputs for new tokens and its memory after them.
    kept: `kept(step, length)` gives (shape, grows) for every tensor of the memory of one sequence of `length` tokens;
        `grows` is whether it holds something for every token.
    first: `first(step, kept, batch_size, values)` gives the memory before the first token; `values` has what was
        computed before, by the id of the symbolic tensor.
    fault: `fault(step, written)` says why a call cannot run token by token, or None; `written` has the ids of the
        symbolic tensors that depend on the tokens written.
    """

    go_on: Callable = as_it_is
    kept: Callable = lambda step, length: []
    first: Callable = first_of_zeros
    fault: Callable = lambda step, written: _axis_fault(step)


def memory_of(step, written) -> Memory:
    """The row of the table for a step of a recorded graph; ValueError that names a layer that sees later tokens."""
    kind = type(step.layer)
    row = MEMORIES.get(kind)
    if row is None and kind.__module__.startswith("keras.src.ops.") and kind.__name__ in OPERATIONS:
        row = NOTHING
    fault = row.fault(step, written) if row else "is of a class that kzoo.generation.memories.MEMORIES does not list"
    if fault:
        raise ValueError(f"layer {step.layer.name} ({kind.__name__}) {fault}")
    return row


def _axis_fault(step):
    """The fault of a layer or operation whose axis is not the last."""
    axis = getattr(step.layer, "axis", -1)
    if not {*keras.tree.flatten(axis)} <= {-1, len(keras.tree.flatten(step.outputs)[0].shape) - 1}:
        return f"works along axis {axis}, so that a token's output may depend on later ones; use the last axis"
    constants = [x for x in keras.tree.flatten(step.args) if not isinstance(x, keras.KerasTensor)]
    if any(len(getattr(x, "shape", ())) > 1 for x in constants):
        return "takes a constant of two or more axes, of which one may be the length"
    return None


# Attention: keys and values of every token


def _attention_fault(step, written):
    others = {id(tensor) in written for tensor in step.inputs[1:3]}
    if not step.layer.causal:
        return "attends to later tokens, since it is not causal" if any(others) else None
    if not all(others):
        return "is causal attention to something other than the tokens written"
    names = ("query", "key", "value", "padding_mask", "bias", "return_scores")
    given = {**dict(zip(names, step.args, strict=False)), **step.kwargs}
    unknown = [name for name in names[4:] if given.get(name) is not None and given[name] is not False]
    return f"is called with {unknown[0]}, which its cache does not know" if unknown else None


def _keys_and_values(step, length):
    return [((length, tensor.shape[-1]), True) for tensor in step.inputs[1:3]] if step.layer.causal else []


def attend_over_cache(layer, args, kwargs, cache, now) -> tuple:
    """Attention over the cache with new keys and values in it; a query sees its own place and those before it, and no
    padding."""
    if not layer.causal:
        return layer(*args, **kwargs), cache
    query, pairs, start = args[0], zip(cache, args[1:3], strict=True), (0, now.places[0], 0)
    keys, values = (ops.slice_update(old, start, ops.cast(new, old.dtype)) for old, new in pairs)
    at = ops.arange(ops.shape(keys)[1], dtype="int32")
    allowed = (at[None, None, :] <= now.places[None, :, None]) & (at[None, None, :] >= now.num_pads[:, None, None])
    heads = (split_heads(x, layer.num_heads) for x in (ops.cast(query, keys.dtype), keys, values))
    return join_heads(scaled_dot_product_attention(*heads, mask=allowed[:, None])), [keys, values]


# Recurrent layers: their states


def _recurrence_fault(step, written):
    if step.layer.go_backwards:
        return "runs backwards over the tokens; pass go_backwards=False"
    return None if step.layer.return_sequences else "gives only its last output; pass return_sequences=True"


def _states(step, length):
    sizes = step.layer.cell.state_size
    return [((size,), False) for size in ([sizes] if isinstance(sizes, int) else sizes)]


def _first_states(step, kept, batch_size, values):
    """The states that a recurrent layer begins with: those it is called with, or else zeros."""
    given = [values[id(tensor)] for tensor in step.inputs[1:] if id(tensor) in values]
    return given[: len(kept)] or first_of_zeros(step, kept, batch_size, values)


def _recur(layer, args, kwargs, states, now):
    """A recurrent layer over new tokens from its last states, which padding does not change."""
    going = layers.RNN(layer.cell, return_sequences=True, return_state=True, dtype=layer.dtype_policy)
    outputs, *states = going(args[0], initial_state=list(states), mask=None if now.is_token else now.real)
    return [outputs, *states] if layer.return_state else outputs, states


# Causal convolutions: a queue of the last inputs


def _convolution_fault(step, written):
    layer = step.layer
    if layer.strides[0] != 1 or layer.data_format != "channels_last":
        return f"has strides {layer.strides[0]} and is {layer.data_format}; pass 1 and data_format='channels_last'"
    if layer.kernel_size[0] > 1 and layer.padding != "causal":
        return f"sees later tokens with padding {layer.padding!r}; pass padding='causal'"
    return None


def _queue(step, length):
    layer = step.layer
    size = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    return [((size + 1, step.inputs[0].shape[-1]), False)] if size else []


def _convolve(layer, args, kwargs, memory, now):
    """A causal convolution over its queue and new inputs; padding before a prompt counts as the zeros it begins with.

    The queue is a ring: the input of place p is kept at p modulo its size. A step writes one row of it and then reads
    as many as the kernel is wide, in this order, so that a compiler need not keep a copy of what was there before.
    """
    if not memory and (layer.groups > 1 or not now.is_token):
        return layer(*args), memory
    dilation, first = layer.dilation_rate[0], now.places[0]
    kernel, x = (ops.cast(value, layer.compute_dtype) for value in (layer.kernel, args[0]))
    if now.is_token:
        memory = [ops.slice_update(queue, (0, first % queue.shape[1], 0), x) for queue in memory]
        window = [*_read(memory, first, dilation)] or [x]
        if layer.groups == 1:
            width = kernel.shape[0] * kernel.shape[1]
            outputs = _product(ops.concatenate(window, axis=-1), ops.reshape(kernel, (width, -1)), now.is_row)
        else:
            window = ops.concatenate(window, axis=1)
            outputs = ops.conv(window, kernel, padding="valid", data_format="channels_last")
        return _finished(layer, outputs), memory
    (queue,) = memory
    size = queue.shape[1]
    x = ops.where(now.real[:, :, None], x, ops.zeros_like(x))
    ring = ops.arange(size, dtype="int32")
    window = ops.concatenate([ops.take(queue, (first + 1 + ring[:-1]) % size, axis=1), x], axis=1)
    outputs = ops.conv(window, kernel, padding="valid", dilation_rate=dilation, data_format="channels_last")
    after = first + ops.shape(x)[1]
    return _finished(layer, outputs), [ops.take(window[:, -size:], (ring - after) % size, axis=1)]


def _read(memory, place, dilation):
    """The rows of a queue that a kernel sees at a place, the earliest first: each (batch, 1, channels)."""
    for queue in memory:
        batch, size, channels = ops.shape(queue)
        for back in range(size - 1, -1, -dilation):
            yield ops.slice(queue, (0, (place + size - back) % size, 0), (batch, 1, channels))


# Layers that remember nothing


def _alongside(layer, args, kwargs, memory, now):
    """The condition of new samples, out of that of all of them."""
    return ops.take(args[0], now.places, axis=1), memory


def _at_positions(layer, args, kwargs, memory, now):
    """A layer that takes the positions of new tokens, counted without padding."""
    positions = ops.maximum(now.places[None, :] - now.num_pads[:, None], 0)
    return layer(args[0], positions=positions), memory


def _dense(layer, args, kwargs, memory, now):
    if not now.is_row or layer.quantization_mode:
        return layer(*args, **kwargs), memory
    x, kernel = (ops.cast(value, layer.compute_dtype) for value in (args[0], layer.kernel))
    return _finished(layer, _product(x, kernel, now.is_row)), memory


def _product(x, kernel, is_row):
    """x (batch, length, inputs) times kernel; for one row (1, 1, inputs) the sum of ROW_PARTS products.

    On a CPU, XLA multiplies a row by a matrix in one thread, which reads memory at half of its speed, and a batch of
    such products in several.
    """
    num_inputs, units = kernel.shape
    if not is_row or num_inputs % ROW_PARTS or num_inputs * units < ROW_LEAST:
        return ops.matmul(x, kernel)
    parts = ops.reshape(x, (ROW_PARTS, 1, -1)), ops.reshape(kernel, (ROW_PARTS, -1, units))
    return ops.sum(ops.matmul(*parts), axis=0, keepdims=True)


def _finished(layer, outputs):
    if layer.bias is not None:
        outputs = outputs + ops.cast(layer.bias, outputs.dtype)
    return outputs if layer.activation is None else layer.activation(outputs)


def _alongside_fault(step, written):
    return "is called with a condition that depends on what is written" if id(step.inputs[0]) in written else None


ATTENTION = Memory(attend_over_cache, _keys_and_values, fault=_attention_fault)
NOTHING = Memory()
RECURRENCE = Memory(_recur, _states, _first_states, _recurrence_fault)
POSITIONS = Memory(_at_positions)
ALONGSIDE = Memory(_alongside, fault=_alongside_fault)
MEMORIES = {
    own.DotProductAttention: ATTENTION,
    **dict.fromkeys((layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN), RECURRENCE),
    layers.Conv1D: Memory(_convolve, _queue, fault=_convolution_fault),
    **dict.fromkeys((own.SinusoidalPositions, own.LearnedPositions, own.RotaryPositions), POSITIONS),
    layers.Dense: Memory(_dense),
    waves.Alongside: ALONGSIDE,
    **dict.fromkeys(
        (
            layers.Embedding, layers.ReversibleEmbedding, own.LowRankDense, own.Bias, own.Split, layers.Rescaling,
            layers.Identity, layers.LayerNormalization, layers.RMSNormalization, layers.BatchNormalization,
            layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax, layers.Dropout,
            layers.SpatialDropout1D, layers.GaussianDropout, layers.GaussianNoise, layers.AlphaDropout, layers.Add,
            layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate,
            waves.MuLawOneHot, waves.OneChannel, waves.Unread,
        ),
        NOTHING,
    ),
}  # fmt: skip
# Operations of keras.ops that work on single numbers, or along an axis, which must be the last.
OPERATIONS = {
    "Absolute", "Add", "Cast", "Clip", "Concatenate", "Divide", "Elu", "Exp", "Gelu", "HardTanh", "LeakyRelu", "Log",
    "LogSoftmax", "Maximum", "Minimum", "Multiply", "Negative", "Power", "Relu", "Relu6", "Rsqrt", "Sigmoid", "Silu",
    "Softmax", "Softplus", "Softsign", "Split", "Sqrt", "Square", "Subtract", "Tanh", "TrueDivide", "Where",
}  # fmt: skip

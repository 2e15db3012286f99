"""A flat model as a decoder: what depends on no generated token runs once, the rest runs on new tokens with a cache.

The recorded graph is cut in two. The first part, an encoder with the keys and values it gives to the decoder, runs once
for a prompt. The second runs on one new token after another (or a whole prompt): causal attention writes its keys and
values into a cache and attends over it, positions count on, recurrent layers go on from their last state, and every
other layer is called as it is.
"""

import keras
from keras import layers, ops

from kzoo import graph
from kzoo.catalog import card_of
from kzoo.layers import Bias, DotProductAttention, LearnedPositions, RotaryPositions, SinusoidalPositions
from kzoo.layers.attention import join_heads, scaled_dot_product_attention, split_heads

TASKS = ("translation", "language_modeling")
TOKENS = ("decoder_token_ids", "token_ids")
ROW_PARTS = 8
# Layers whose output at a place depends on their input at that place alone.
POINTWISE = (layers.Dense, layers.ReversibleEmbedding, layers.LayerNormalization, layers.Activation, Bias)
POSITIONS = (SinusoidalPositions, LearnedPositions, RotaryPositions)


def writes_tokens(model):
    """Whether a model gives logits of next tokens, so that `Decoder` takes it."""
    return card_of(model).task in TASKS and any(tensor.name in TOKENS for tensor in model.inputs)


class Decoder:
    """The two parts of an autoregressive model.

    Args:
        model: from token ids (batch, length), possibly with other inputs, to logits (batch, length, vocabulary_size)
            that see no later token.

    Raises ValueError for a model that gives no logits of next tokens.
    """

    def __init__(self, model):
        inputs, steps, self.logits = graph.record(model)
        inputs = {tensor.name: tensor for tensor in keras.tree.flatten(inputs)}
        self.token_name = next((name for name in TOKENS if name in inputs), None)
        if not writes_tokens(model):
            raise ValueError(
                f"{model.name} is for {card_of(model).task or 'an unknown task'} and writes no tokens one after "
                "another; generate takes translation and language models"
            )
        self.inputs = inputs
        self.vocabulary_size = model.outputs[0].shape[-1]
        self.is_encoder_decoder = self.token_name == "decoder_token_ids"
        # Of a decoder alone, the mask tells which of the tokens themselves are real.
        self.own_mask = None if self.is_encoder_decoder else inputs.get("padding_mask")
        self.source_vocabulary_size = self.vocabulary_size
        for step in steps:
            if any(tensor is inputs.get("encoder_token_ids") for tensor in step.inputs):
                self.source_vocabulary_size = getattr(step.layer, "input_dim", self.vocabulary_size)
        later = {id(inputs[self.token_name]), id(self.own_mask)}
        for step in steps:
            if any(id(tensor) in later for tensor in step.inputs):
                later.update(id(tensor) for tensor in keras.tree.flatten(step.outputs))
        self.steps = [step for step in steps if id(keras.tree.flatten(step.outputs)[0]) in later]
        self.once = [step for step in steps if id(keras.tree.flatten(step.outputs)[0]) not in later]
        # Tensors of the first part that the second reads.
        needed = {id(tensor): tensor for step in self.steps for tensor in step.inputs if id(tensor) not in later}
        self.context = list(needed.values())
        self.max_length = graph.longest_sequence(model)
        self.head = _head(self.steps, self.logits)

    def read(self, sources):
        """Runs the first part: a list of tensors (batch, ...), the `context` of `step`.

        Args:
            sources: dict of arrays for the inputs other than the tokens.
        """
        values = {id(self.inputs[name]): ops.convert_to_tensor(x) for name, x in sources.items()}
        graph.replay(self.once, values)
        return [values[id(tensor)] for tensor in self.context]

    def empty_caches(self, batch_size, length, context):
        """Caches for so many sequences of at most so many tokens: one structure a layer that remembers."""
        values = {id(symbol): value for symbol, value in zip(self.context, context, strict=True)}
        caches = []
        for step in self.steps:
            if attends_to_itself(step):
                shapes = [(batch_size, *shape) for shape in _cache_shapes(step, length)]
                caches.append([ops.zeros(shape, step.layer.compute_dtype) for shape in shapes])
            elif isinstance(step.layer, layers.RNN):
                caches.append(_first_states(step, values, batch_size))
        return caches

    def cache_shapes(self, length):
        """What is kept for one sequence of `length` tokens, {layer name: [(shape, dtype, grows), ...]}.

        `grows` is whether it holds something for every token written. What the first part gives, after a source of
        `length` tokens, stands under the layer that reads it first.
        """
        found, waiting = {}, {id(tensor): tensor for tensor in self.context}
        for step in self.steps:
            kept = [(shape, step.layer.compute_dtype, True) for shape in _cache_shapes(step, length)]
            if isinstance(step.layer, layers.RNN):
                kept += [((size,), step.layer.compute_dtype, False) for size in _state_sizes(step.layer)]
            for tensor in step.inputs:
                if waiting.pop(id(tensor), None) is not None:
                    shape = tuple(length if size is None else size for size in tensor.shape[1:])
                    kept.append((shape, tensor.dtype, False))
            if kept:
                found[step.layer.name] = [*found.get(step.layer.name, []), *kept]
        return found

    def step(self, tokens, position, num_pads, context, caches, attend=None):
        """Logits (batch, vocabulary_size) in float32 after the last of new tokens, and the caches with them all in.

        Args:
            tokens: (batch, length) int32.
            position: int scalar, where in the cache the first of them stands.
            num_pads: (batch,) int32, how many places at the beginning are padding.
            context: what `read` gave.
            caches: of `empty_caches` or an earlier step.
            attend: in place of attention over caches of this kind, with the arguments of `attend_over_cache`.
        """
        attend = attend or attend_over_cache
        length = ops.shape(tokens)[1]
        places = position + ops.arange(length, dtype="int32")
        positions = ops.maximum(places[None, :] - num_pads[:, None], 0)
        real = places[None, :] >= num_pads[:, None]
        values = {id(symbol): value for symbol, value in zip(self.context, context, strict=True)}
        values[id(self.inputs[self.token_name])] = tokens
        if self.own_mask is not None:
            values[id(self.own_mask)] = ops.cast(real, "int32")
        remaining, after = list(caches), []
        is_row = tuple(tokens.shape) == (1, 1)

        def call(step, args, kwargs):
            if step is self.head:
                # A prompt's other places have logits too, which nobody reads: the largest product of the whole prompt.
                args = (args[0][:, -1:], *args[1:])
            if attends_to_itself(step):
                outputs, cache = attend(step.layer, *args[:3], remaining.pop(0), places, num_pads)
            elif isinstance(step.layer, layers.RNN):
                outputs, cache = _go_on(step.layer, args[0], remaining.pop(0), None if tokens.shape[1] == 1 else real)
            elif isinstance(step.layer, POSITIONS):
                return step.layer(args[0], positions=positions)
            elif is_row and type(step.layer) is layers.Dense and not step.layer.quantization_mode:
                return _dense_of_a_row(step.layer, args[0])
            else:
                return step.layer(*args, **kwargs)
            after.append(cache)
            return outputs

        graph.replay(self.steps, values, call)
        return values[id(self.logits)][:, -1], after


def _head(steps, logits):
    """The step from which on the graph is a chain of pointwise layers to the logits; None if it does not end so."""
    head, wanted = None, logits
    for step in reversed(steps):
        if step.outputs is not wanted or len(step.inputs) != 1 or not isinstance(step.layer, POINTWISE):
            break
        head, wanted = step, step.inputs[0]
    return head


def _dense_of_a_row(layer, x):
    """A Dense layer over one row (1, 1, inputs), as ROW_PARTS products whose sum is taken.

    XLA multiplies a row by a matrix in one thread on a CPU, which reads memory at half of its speed, and a batch of
    such products in several.
    """
    num_inputs, units = layer.kernel.shape
    if num_inputs % ROW_PARTS:
        return layer(x)
    x, kernel = (ops.cast(value, layer.compute_dtype) for value in (x, layer.kernel))
    parts = ops.reshape(x, (ROW_PARTS, 1, -1)), ops.reshape(kernel, (ROW_PARTS, -1, units))
    outputs = ops.sum(ops.matmul(*parts), axis=0, keepdims=True)
    if layer.bias is not None:
        outputs = outputs + ops.cast(layer.bias, layer.compute_dtype)
    return outputs if layer.activation is None else layer.activation(outputs)


def attends_to_itself(step):
    """Whether a step of a recorded graph is causal attention."""
    return isinstance(step.layer, DotProductAttention) and step.layer.causal


def _cache_shapes(step, length):
    """Shapes without batch of the keys and values of `length` tokens; none for what remembers no tokens."""
    return [(length, tensor.shape[-1]) for tensor in step.inputs[1:3]] if attends_to_itself(step) else []


def _state_sizes(layer):
    sizes = layer.cell.state_size
    return [sizes] if isinstance(sizes, int) else list(sizes)


def attend_over_cache(layer, query, key, value, cache, places, num_pads):
    """Attention over the cache with new keys and values in it; a query sees its own place and before, no padding."""
    keys, values = (
        ops.slice_update(old, (0, places[0], 0), ops.cast(new, old.dtype))
        for old, new in zip(cache, (key, value), strict=True)
    )
    at = ops.arange(ops.shape(keys)[1], dtype="int32")
    allowed = (at[None, None, :] <= places[None, :, None]) & (at[None, None, :] >= num_pads[:, None, None])
    heads = (split_heads(x, layer.num_heads) for x in (ops.cast(query, keys.dtype), keys, values))
    return join_heads(scaled_dot_product_attention(*heads, mask=allowed[:, None])), [keys, values]


def _first_states(step, values, batch_size):
    """The states a recurrent layer begins with: those it is called with, else zeros."""
    given = [values[id(tensor)] for tensor in step.inputs[1:] if id(tensor) in values]
    sizes = _state_sizes(step.layer)
    return given[: len(sizes)] or [ops.zeros((batch_size, size), step.layer.compute_dtype) for size in sizes]


def _go_on(layer, x, states, mask):
    """A recurrent layer over new steps from its last states; padding leaves the states as they are."""
    going = layers.RNN(layer.cell, return_sequences=True, return_state=True, dtype=layer.dtype_policy)
    outputs, *states = going(x, initial_state=list(states), mask=mask)
    outputs = outputs if layer.return_sequences else outputs[:, -1]
    return [outputs, *states] if layer.return_state else outputs, states

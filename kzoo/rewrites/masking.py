"""Attention whose masks fit into the range of 8 bits.

A masked score is as far below all others as floats go. Quantised together with them, as LiteRT does it, it takes up
the whole range, and every real score becomes the same number: attention would be an average.
"""

import keras
from keras import ops

from kzoo import graph
from kzoo.layers import DotProductAttention
from kzoo.layers.attention import causal_mask, join_heads, split_heads

MARGIN = 12.0  # exp(-12) is 6e-6; a weight of less than 1/512 is 0 in 8 bits


def attends(model) -> bool:
    """Whether a layer of the model is attention."""
    return any(isinstance(layer, DotProductAttention) for layer in model.layers)


def bound_masks(model) -> keras.Model:
    """The model with masked scores MARGIN below the smallest of their row; the given model is left as it is.

    What a masked key weighs is then at most exp(-MARGIN) of any other, no longer 0. All other layers are shared.
    """

    def make(step):
        layer = step.layer
        if not isinstance(layer, DotProductAttention):
            return layer
        return _BoundedAttention(layer.num_heads, layer.causal, name=layer.name, dtype=layer.dtype_policy)

    return graph.replace_layers(model, make)


class _BoundedAttention(DotProductAttention):
    """The same attention at inference but for how masked scores are written."""

    def call(self, query, key, value, padding_mask=None, bias=None, return_scores=False, training=False):
        query, key, value = (split_heads(x, self.num_heads) for x in (query, key, value))
        scores = ops.einsum("bqhd,bkhd->bhqk", query * query.shape[-1] ** -0.5, key)
        scores = scores if bias is None else scores + bias
        allowed = None if padding_mask is None else ops.cast(padding_mask[:, None, None, :], "bool")
        if self.causal:
            causal = causal_mask(ops.shape(query)[1], ops.shape(key)[1])
            allowed = causal if allowed is None else ops.logical_and(allowed, causal)
        if allowed is not None:
            scores = ops.where(allowed, scores, ops.min(scores, axis=-1, keepdims=True) - MARGIN)
        scores = ops.softmax(scores, axis=-1)
        output = ops.einsum("bhqk,bkhd->bqhd", scores, value)
        if allowed is not None:
            attends = ops.transpose(ops.any(allowed, axis=-1, keepdims=True), (0, 2, 1, 3))
            output = ops.where(attends, output, ops.zeros_like(output))
        return (join_heads(output), scores) if return_scores else join_heads(output)

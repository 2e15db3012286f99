"""Attention whose masks fit into the range of 8 bits.

A masked score is as far below all others as floats allow. Where LiteRT quantises it together with them, it takes up
the whole range and every real score becomes the same number: attention would merely average.
"""

import keras
from keras import ops

from kzoo import graph
from kzoo.layers import DotProductAttention
from kzoo.layers.attention import causal_mask
from kzoo.layers.frames import BlankPadding

MARGIN = 12.0  # exp(-12) is 6e-6; a weight of less than 1/512 is 0 in 8 bits


def attends(model) -> bool:
    """Whether the model has attention."""
    return any(isinstance(layer, DotProductAttention) for layer in model.layers)


def has_extremes(model) -> bool:
    """Whether numbers about as large as floats get stand beside others: masked scores, or blanks after a clip's end."""
    return attends(model) or any(isinstance(layer, BlankPadding) for layer in model.layers)


def bound_masks(model) -> keras.Model:
    """The model with masked scores MARGIN below the smallest of their row; the given model is left as it is.

    A masked key then has at most exp(-MARGIN) times the weight of any other, rather than none. All other layers are
    shared.
    """

    def make(step):
        layer = step.layer
        if not isinstance(layer, DotProductAttention):
            return layer
        made = DotProductAttention(layer.num_heads, layer.causal, name=layer.name, dtype=layer.dtype_policy)
        made.attention = _bounded_attention
        return made

    return graph.replace_layers(model, make)


def _bounded_attention(query, key, value, mask=None, bias=None, causal=False, return_scores=False, **training):
    """`scaled_dot_product_attention` at inference but for how masked scores are written."""
    scores = ops.einsum("bqhd,bkhd->bhqk", query * query.shape[-1] ** -0.5, key)
    scores = scores if bias is None else scores + bias
    allowed = None if mask is None else ops.cast(mask, "bool")
    if causal:
        earlier = causal_mask(ops.shape(query)[1], ops.shape(key)[1])
        allowed = earlier if allowed is None else ops.logical_and(allowed, earlier)
    if allowed is not None:
        scores = ops.where(allowed, scores, ops.min(scores, axis=-1, keepdims=True) - MARGIN)
    scores = ops.softmax(scores, axis=-1)
    output = ops.einsum("bhqk,bkhd->bqhd", scores, value)
    if allowed is not None:
        attends = ops.transpose(ops.any(allowed, axis=-1, keepdims=True), (0, 2, 1, 3))
        output = ops.where(attends, output, ops.zeros_like(output))
    return (output, scores) if return_scores else output

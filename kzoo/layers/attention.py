"""Attention: the mathematics as a function, the weight-free layer around it, and the projections around that.

Vaswani et al. 2017, "Attention Is All You Need", https://arxiv.org/abs/1706.03762, section 3.2.
"""

from typing import Any

import keras
from keras import layers, ops

# Large enough to vanish under a softmax, far enough from float32's limit for any finite bias to be added to it.
MASKED = -1e30


def causal_mask(query_length, key_length, position=0) -> keras.KerasTensor:
    """Boolean (1, 1, query_length, key_length): query `i`, standing at `position + i`, attends to keys up to there."""
    queries = ops.arange(query_length, dtype="int32") + position
    keys = ops.arange(key_length, dtype="int32")
    return ops.greater_equal(queries[:, None], keys[None, :])[None, None]


def scaled_dot_product_attention(
    query, key, value, mask=None, bias=None, causal=False, scale=None, dropout=0.0, seed=None, return_scores=False
) -> keras.KerasTensor | tuple:
    """softmax(query key^T * scale + bias) value, for every head (equation 1). A query that may attend to no key gets 0.

    Args:
        query: (batch, query_length, num_heads, head_dim).
        key: (batch, key_length, num_heads, head_dim).
        value: (batch, key_length, num_heads, value_dim).
        mask: of rank 4, broadcastable to (batch, num_heads, query_length, key_length); nonzero where a query may
            attend to a key.
        bias: of rank 4, broadcastable to the same shape; added before the softmax. Must be finite.
        causal: query `i` attends to keys 0 ... `i` only, in addition to the mask.
        scale: factor of the products; 1 / sqrt(head_dim) by default.
        dropout: share of the scores to drop. The function knows of no training phase: pass 0 to predict.
        seed: int or `keras.random.SeedGenerator` for the dropout.
        return_scores: also return the scores.

    Returns:
        (batch, query_length, num_heads, value_dim) in the dtype of the inputs; with `return_scores` also the softmax
        before dropout, (batch, num_heads, query_length, key_length) in float32. The softmax is computed in float32.
    """
    # Scaling the query, not the products, keeps large products inside the range of float16.
    query = query * (query.shape[-1] ** -0.5 if scale is None else scale)
    # JAX's own attention in float16 does not compile for CPUs (F16_F16_F32 is not supported by dot_general on CPU).
    by_scores = return_scores or dropout > 0 or keras.backend.standardize_dtype(query.dtype) == "float16"
    if causal and (mask is not None or by_scores):
        allowed = causal_mask(ops.shape(query)[1], ops.shape(key)[1])
        mask = allowed if mask is None else ops.logical_and(ops.cast(mask, "bool"), allowed)
        causal = False
    if mask is not None:
        mask = ops.cast(mask, "bool")
        attends = ops.any(mask, axis=-1, keepdims=True)  # (batch, num_heads, query_length, 1)

    if not by_scores:
        output = ops.dot_product_attention(query, key, value, bias=bias, mask=mask, scale=1.0, is_causal=causal)
        if mask is None:
            return output
        return ops.where(ops.transpose(attends, (0, 2, 1, 3)), output, ops.zeros_like(output))

    scores = ops.cast(ops.einsum("bqhd,bkhd->bhqk", query, key), "float32")
    if bias is not None:
        scores = scores + ops.cast(bias, "float32")
    if mask is not None:
        scores = ops.where(mask, scores, MASKED)
    scores = ops.softmax(scores, axis=-1)
    if mask is not None:
        scores = ops.where(attends, scores, 0.0)
    kept = keras.random.dropout(scores, dropout, seed=seed) if dropout > 0 else scores
    output = ops.einsum("bhqk,bkhd->bqhd", ops.cast(kept, value.dtype), value)
    return (output, scores) if return_scores else output


def check_heads(num_heads, hidden_dim=None) -> None:
    """ValueError unless `num_heads` is a positive int that divides `hidden_dim` (None: not known yet)."""
    if type(num_heads) is not int or num_heads < 1:
        raise ValueError(f"num_heads must be an int of at least 1, got {num_heads!r}")
    if hidden_dim is not None and hidden_dim % num_heads:
        raise ValueError(
            f"hidden_dim {hidden_dim} is not divisible by num_heads {num_heads}: every head takes an equal share; "
            f"choose a hidden_dim that is a multiple of {num_heads} or another num_heads"
        )


def split_heads(x, num_heads) -> keras.KerasTensor:
    """(batch, length, num_heads * head_dim) to (batch, length, num_heads, head_dim)."""
    check_heads(num_heads, x.shape[-1])
    batch, length, _ = ops.shape(x)
    return ops.reshape(x, (batch, length, num_heads, x.shape[-1] // num_heads))


def join_heads(x) -> keras.KerasTensor:
    """(batch, length, num_heads, head_dim) to (batch, length, num_heads * head_dim)."""
    batch, length, num_heads, head_dim = ops.shape(x)
    return ops.reshape(x, (batch, length, num_heads * head_dim))


@keras.saving.register_keras_serializable("kzoo")
class DotProductAttention(layers.Layer):
    """Multi-head scaled dot-product attention over queries, keys and values that are already projected; no weights.

    Args:
        num_heads: number of heads; divides the last axis of query, key and value.
        causal: a query attends to keys at its own position and before only.
        dropout: share of the attention scores to drop while training, from 0 up to but not including 1.

    Call arguments:
        query: (batch, query_length, num_heads * head_dim).
        key: (batch, key_length, num_heads * head_dim).
        value: (batch, key_length, num_heads * value_dim).
        padding_mask: (batch, key_length), any dtype; nonzero for a real key, 0 for padding. None: all are real.
        bias: broadcastable to (batch, num_heads, query_length, key_length), finite; added before the softmax.
        return_scores: also return the scores, (batch, num_heads, query_length, key_length) in float32.

    Returns (batch, query_length, num_heads * value_dim). A query without any real key gets zeros.

    Raises ValueError for a number of heads that does not divide a width, or a dropout out of range.
    """

    def __init__(self, num_heads, causal=False, dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        check_heads(num_heads)
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise ValueError(f"dropout must be a number from 0 up to but not including 1, got {dropout!r}")
        self.num_heads = num_heads
        self.causal = causal
        self.dropout = dropout
        self.seed_generator = keras.random.SeedGenerator() if dropout > 0 else None
        self.attention = scaled_dot_product_attention  # a rewrite may put another function in its place

    def call(self, query, key, value, padding_mask=None, bias=None, return_scores=False, training=False) -> Any:
        query, key, value = (split_heads(x, self.num_heads) for x in (query, key, value))
        result = self.attention(
            query,
            key,
            value,
            mask=None if padding_mask is None else padding_mask[:, None, None, :],
            bias=bias,
            causal=self.causal,
            dropout=self.dropout if training else 0.0,
            seed=self.seed_generator,
            return_scores=return_scores,
        )
        return (join_heads(result[0]), result[1]) if return_scores else join_heads(result)

    def compute_output_spec(
        self, query, key, value, padding_mask=None, bias=None, return_scores=False, training=False
    ) -> Any:
        for x in (query, key, value):
            check_heads(self.num_heads, x.shape[-1])
        output = keras.KerasTensor((*query.shape[:2], value.shape[-1]), dtype=self.compute_dtype)
        if not return_scores:
            return output
        shape = (query.shape[0], self.num_heads, query.shape[1], key.shape[1])
        return output, keras.KerasTensor(shape, dtype="float32")


def multi_head_attention(
    query,
    context,
    num_heads,
    name,
    padding_mask=None,
    bias=None,
    causal=False,
    dropout=0.0,
    projections=("q_proj", "k_proj", "v_proj", "out_proj"),
    kernel_initializer="glorot_uniform",
) -> keras.KerasTensor:
    """Adds multi-head attention (section 3.2.2) to a graph: three projections, the attention, the output projection.

    Args:
        query: (batch, query_length, hidden_dim), what attends.
        context: (batch, key_length, any width), what is attended to; `query` itself for self-attention.
        num_heads: divides hidden_dim.
        name: of the attention layer; the Dense layers are called `<name>.<projection>`.
        padding_mask: (batch, key_length) of the context, 1 = real.
        bias: added to the products, broadcastable to (batch, num_heads, query_length, key_length).
        causal: self-attention to the own position and before only.
        dropout: share of the attention scores to drop while training.
        projections: names of the query, key, value and output projections in the reference checkpoint.
        kernel_initializer: of the four Dense layers.

    Returns (batch, query_length, hidden_dim). Raises ValueError where num_heads does not divide hidden_dim.
    """
    hidden_dim = query.shape[-1]
    check_heads(num_heads, hidden_dim)

    def project(x, projection):
        return layers.Dense(hidden_dim, kernel_initializer=kernel_initializer, name=f"{name}.{projection}")(x)

    query, key, value = (
        project(x, projection) for x, projection in zip((query, context, context), projections[:3], strict=True)
    )
    attend = DotProductAttention(num_heads, causal=causal, dropout=dropout, name=name)
    return project(attend(query, key, value, padding_mask=padding_mask, bias=bias), projections[3])

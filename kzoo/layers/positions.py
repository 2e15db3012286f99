"""Positions: how a model learns where in a sequence a token stands. The mathematics first, then the layers.

Feature orderings: "interleaved" puts the two members of a pair side by side, (0, 1), (2, 3), ...; "half_split" puts
all first members before all second ones, (0, n/2), (1, n/2 + 1), ... The numbers are the same, permuted; which one
is right depends on the checkpoint.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kzoo.layers.attention import check_heads, join_heads, split_heads

ORDERINGS = ("interleaved", "half_split")


def check_ordering(ordering, argument="ordering") -> None:
    """ValueError that names the argument for anything but one of ORDERINGS."""
    if ordering not in ORDERINGS:
        raise ValueError(f"{argument} must be one of {', '.join(ORDERINGS)}, got {ordering!r}")


def check_even(dim) -> None:
    """ValueError for a width that cannot be split into pairs of features."""
    if dim % 2:
        raise ValueError(f"positions are encoded in pairs of features: the width must be even, got {dim}")


def token_positions(x) -> keras.KerasTensor:
    """0 ... length - 1 for x (batch, length, ...), as int32 (length,)."""
    return ops.arange(ops.shape(x)[1], dtype="int32")


def positions_of_tokens(padding_mask) -> keras.KerasTensor:
    """Positions of real tokens counted from 0, whichever side is padded: int32 (batch, length), 0 on leading padding.

    Args:
        padding_mask: (batch, length), nonzero for a real token.
    """
    real = ops.cast(ops.not_equal(padding_mask, 0), "int32")
    return ops.maximum(ops.cumsum(real, axis=1) - 1, 0)


def position_angles(positions, dim, max_wavelength=10000.0) -> keras.KerasTensor:
    """Angles position / max_wavelength^(2 i / dim) for i = 0 ... dim/2 - 1, less whole turns, in radians.

    Args:
        positions: int tensor of any shape, below 2^17.
        dim: even number of features.

    Returns float32 (..., dim // 2) within 1e-6 of exact arithmetic, where the plain product is off by position * 6e-8.
    """
    check_even(dim)
    turns_per_position = max_wavelength ** (-np.arange(0, dim, 2) / dim) / (2 * np.pi)
    positions = ops.cast(positions, "float32")[..., None]
    turns = 0.0
    # Of each frequency, 8 binary digits at a time: such a product is exact in float32 and sheds its whole turns
    # before they cost precision. The rest is too small to lose any.
    for digits in (8, 16):
        part = np.round(turns_per_position * 2**digits) / 2**digits
        product = positions * part.astype("float32")
        turns = turns + (product - ops.round(product))
        turns_per_position = turns_per_position - part
    turns = turns + positions * turns_per_position.astype("float32")
    return (turns - ops.round(turns)) * (2 * math.pi)


def sinusoids(positions, dim, ordering="interleaved", max_wavelength=10000.0) -> keras.KerasTensor:
    """Sines and cosines of a position at dim / 2 wavelengths (Vaswani et al. 2017, section 3.5), float32 (..., dim)."""
    check_ordering(ordering)
    angles = position_angles(positions, dim, max_wavelength)
    if ordering == "half_split":
        return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
    return _interleave(ops.sin(angles), ops.cos(angles))


def rotate(x, positions, ordering="half_split", max_wavelength=10000.0) -> keras.KerasTensor:
    """Turns every pair of features by an angle proportional to the position (Su et al. 2021, equation 34).

    Args:
        x: (batch, length, num_heads, head_dim), queries or keys; head_dim even.
        positions: int (length,) or (batch, length).
        ordering: "interleaved" as in the paper and GPT-J, "half_split" as in GPT-NeoX and LLaMA.

    Returns the shape and dtype of x; computed in float32.
    """
    check_ordering(ordering)
    angles = position_angles(positions, x.shape[-1], max_wavelength)[..., None, :]  # (..., length, 1, head_dim // 2)
    cos, sin = ops.cos(angles), ops.sin(angles)
    values = ops.cast(x, "float32")
    if ordering == "half_split":
        first, second = ops.split(values, 2, axis=-1)
        turned = ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    else:
        first, second = values[..., 0::2], values[..., 1::2]
        turned = _interleave(first * cos - second * sin, second * cos + first * sin)
    return ops.cast(turned, x.dtype)


def _interleave(first, second):
    pairs = ops.stack([first, second], axis=-1)
    return ops.reshape(pairs, (*ops.shape(first)[:-1], 2 * first.shape[-1]))


def relative_position_bucket(
    relative_position, num_buckets=32, max_distance=128, bidirectional=True
) -> keras.KerasTensor:
    """Bucket of a distance key position - query position (Raffel et al. 2020, section 2.1, as T5's code computes it).

    Half of the buckets hold one distance each, the other half grow logarithmically up to `max_distance`; all beyond
    share the last. Bidirectional: half of all buckets are for keys after the query, else those count as distance 0.

    Args:
        relative_position: int tensor of any shape.

    Returns an int32 tensor of the same shape, from 0 to num_buckets - 1.
    """
    relative_position = ops.cast(relative_position, "int32")
    offset = 0
    if bidirectional:
        num_buckets //= 2
        offset = ops.cast(relative_position > 0, "int32") * num_buckets
        distance = ops.abs(relative_position)
    else:
        distance = ops.maximum(-relative_position, 0)
    # A table over all distances that differ: no backend's logarithm can then move a boundary by one.
    exact = num_buckets // 2
    distances = np.arange(max_distance + 1)
    ratio = np.log(np.maximum(distances, 1).astype("float32") / exact) / math.log(max_distance / exact)
    grown = exact + (ratio * (num_buckets - exact)).astype("int32")
    table = np.where(distances < exact, distances, np.minimum(grown, num_buckets - 1)).astype("int32")
    return offset + ops.take(ops.convert_to_tensor(table), ops.minimum(distance, max_distance), axis=0)


@keras.saving.register_keras_serializable("kzoo")
class SinusoidalPositions(layers.Layer):
    """Adds fixed sinusoids to (batch, length, hidden_dim): no weights, no longest sequence.

    Vaswani et al. 2017, section 3.5. Sines and cosines alternate as printed there; `ordering="half_split"` puts all
    sines before all cosines, as Marian and the paper's own tensor2tensor do.

    Call arguments:
        positions: int (length,) or (batch, length); 0 ... length - 1 by default.

    Raises ValueError for an odd hidden_dim or an unknown ordering.
    """

    def __init__(self, ordering="interleaved", max_wavelength=10000.0, **kwargs):
        super().__init__(**kwargs)
        check_ordering(ordering)
        self.ordering = ordering
        self.max_wavelength = max_wavelength

    def call(self, inputs, positions=None) -> Any:
        positions = token_positions(inputs) if positions is None else positions
        encoding = sinusoids(positions, inputs.shape[-1], self.ordering, self.max_wavelength)
        return inputs + ops.cast(encoding, inputs.dtype)

    def compute_output_shape(self, inputs_shape) -> tuple:
        check_even(inputs_shape[-1])
        return inputs_shape


@keras.saving.register_keras_serializable("kzoo")
class LearnedPositions(layers.Layer):
    """Adds a learned vector per position to (batch, length, hidden_dim).

    Args:
        max_length: rows of the table, the longest sequence that can be encoded.

    Call arguments:
        inputs: (batch, length, hidden_dim).
        padding_mask: (batch, length), nonzero for a real token. With it, positions are counted over real tokens, so
            that padding on the left shifts none of them; a padding token repeats the position before it.
        positions: int (length,) or (batch, length), below max_length; 0 ... length - 1 by default.

    Weight: `embeddings` (max_length, hidden_dim).

    Raises ValueError, naming both, for a sequence longer than `max_length`. Where a graph leaves the length open,
    TensorFlow raises its own error when the graph runs.
    """

    TENSORS = {"embeddings": ("weight", "same")}

    def __init__(self, max_length, embeddings_initializer="uniform", **kwargs):
        super().__init__(**kwargs)
        if type(max_length) is not int or max_length < 1:
            raise ValueError(f"max_length must be an int of at least 1, got {max_length!r}")
        self.max_length = max_length
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, inputs_shape) -> None:
        self.embeddings = self.add_weight(
            (self.max_length, inputs_shape[-1]), initializer=self.embeddings_initializer, name="weight"
        )

    def call(self, inputs, padding_mask=None, positions=None) -> Any:
        if positions is not None:
            return inputs + ops.take(ops.convert_to_tensor(self.embeddings), positions, axis=0)
        self.check_length(inputs.shape[1])
        _, length, hidden_dim = ops.shape(inputs)
        # A slice, not [:length], which would cut a longer sequence down in silence where the length is dynamic.
        table = ops.slice(ops.convert_to_tensor(self.embeddings), (0, 0), (length, hidden_dim))
        if padding_mask is None:
            return inputs + table
        return inputs + ops.take(table, positions_of_tokens(padding_mask), axis=0)

    def compute_output_shape(self, input_shape) -> tuple:
        self.check_length(input_shape[1])
        return input_shape

    def get_config(self) -> dict:
        initializer = keras.initializers.serialize(self.embeddings_initializer)
        return {**super().get_config(), "max_length": self.max_length, "embeddings_initializer": initializer}

    def check_length(self, length) -> None:
        """ValueError for a length above the table's; None is a length that is not known yet."""
        if length is not None and length > self.max_length:
            raise ValueError(
                f"{self.name}: a sequence of length {length} is longer than max_length {self.max_length}; "
                "shorten it or build the model with a larger max_length"
            )


@keras.saving.register_keras_serializable("kzoo")
class RotaryPositions(layers.Layer):
    """Rotates the heads of projected queries or keys by their positions; no weights.

    Takes and returns (batch, length, num_heads * head_dim): it stands between a projection and `DotProductAttention`,
    whose products then depend on the distance of query and key only. Su et al. 2021, https://arxiv.org/abs/2104.09864.
    Orderings as in `rotate`.

    Call arguments:
        positions: int (length,) or (batch, length); 0 ... length - 1 by default.

    Raises ValueError for a width num_heads does not divide, an odd head_dim or an unknown ordering.
    """

    def __init__(self, num_heads, ordering="half_split", max_wavelength=10000.0, **kwargs):
        super().__init__(**kwargs)
        check_heads(num_heads)
        check_ordering(ordering)
        self.num_heads = num_heads
        self.ordering = ordering
        self.max_wavelength = max_wavelength

    def call(self, inputs, positions=None) -> Any:
        self.check_width(inputs.shape[-1])
        positions = token_positions(inputs) if positions is None else positions
        heads = split_heads(inputs, self.num_heads)
        return join_heads(rotate(heads, positions, self.ordering, self.max_wavelength))

    def compute_output_shape(self, inputs_shape) -> tuple:
        self.check_width(inputs_shape[-1])
        return inputs_shape

    def check_width(self, hidden_dim) -> None:
        """ValueError unless the heads divide the width into pairs of features."""
        check_heads(self.num_heads, hidden_dim)
        if hidden_dim // self.num_heads % 2:
            raise ValueError(
                f"{self.name}: rotary positions turn pairs of features: the head_dim must be even, got "
                f"{hidden_dim // self.num_heads} (hidden_dim {hidden_dim}, num_heads {self.num_heads})"
            )


@keras.saving.register_keras_serializable("kzoo")
class RelativePositionBias(layers.Layer):
    """A learned bias for attention by the distance of query and key (T5): (1, num_heads, query_length, key_length).

    Takes query and key, (batch, length, ...) each, of which only the lengths matter; the result is the `bias` of
    `DotProductAttention`. Raffel et al. 2020, https://arxiv.org/abs/1910.10683.

    Args:
        num_heads: every head has biases of its own.
        num_buckets, max_distance, bidirectional: as in `relative_position_bucket`.

    Weight: `embeddings` (num_buckets, num_heads).

    Raises ValueError where the buckets do not fit the distances.
    """

    TENSORS = {"embeddings": ("weight", "same")}

    def __init__(self, num_heads, num_buckets=32, max_distance=128, bidirectional=True, **kwargs):
        super().__init__(**kwargs)
        check_heads(num_heads)
        if num_buckets < 4 or num_buckets % 4 or max_distance <= num_buckets // (4 if bidirectional else 2):
            raise ValueError(
                f"num_buckets must be a multiple of 4 and max_distance beyond the buckets of one distance each, "
                f"got num_buckets {num_buckets}, max_distance {max_distance}, bidirectional {bidirectional}"
            )
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional

    def build(self, query_shape, key_shape) -> None:
        self.embeddings = self.add_weight((self.num_buckets, self.num_heads), initializer="normal", name="weight")

    def call(self, query, key) -> Any:
        distances = token_positions(key)[None, :] - token_positions(query)[:, None]
        buckets = relative_position_bucket(distances, self.num_buckets, self.max_distance, self.bidirectional)
        bias = ops.take(self.embeddings, buckets, axis=0)  # (query_length, key_length, num_heads)
        return ops.transpose(bias, (2, 0, 1))[None]

    def compute_output_shape(self, query_shape, key_shape) -> tuple:
        return (1, self.num_heads, query_shape[1], key_shape[1])

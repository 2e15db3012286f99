"""What a block of the Evoformer does to an alignment: attention along its axes, and what it tells of pairs."""

from functools import partial

import keras
from keras import ops

from kzoo.layers.attention import check_heads
from kzoo.layers.structure_prediction.chunks import by_chunks
from kzoo.layers.structure_prediction.named_weights import NamedWeights, product, softmax

MASKED = 1e9  # what is taken from the logits of a masked place; a row with no other place averages its masked ones
HALF_MASKED = 3e4  # in float16, which has nothing larger than 65504
ATTENTION = ("query_w", "key_w", "value_w", "gating_w", "gating_b", "output_w", "output_b")


def penalty(padding_mask) -> keras.KerasTensor:
    """What is added to logits: 0 where the mask is 1, and where it is 0 so little that a softmax gives nothing."""
    is_half = keras.backend.standardize_dtype(padding_mask.dtype) == "float16"
    return (padding_mask - 1) * (HALF_MASKED if is_half else MASKED)


class AxialAttention(NamedWeights):
    """Gated self-attention along one axis of (batch, rows, columns, width), each line of the other axis by itself.

    Args:
        num_heads: divides the width.
        axis: the one attended along: 2 within rows, 1 within columns.
        chunk: how many lines at once; None for as many as are fast.
    """

    def __init__(self, num_heads, axis, chunk=None, **kwargs):
        super().__init__(**kwargs)
        check_heads(num_heads)
        self.num_heads, self.axis, self.chunk = num_heads, axis, chunk

    def attention_weights(self, width) -> None:
        """Adds the weights of queries, keys, values, gates and outputs, and of the normalisation before them."""
        check_heads(self.num_heads, width)
        size = (width, self.num_heads, width // self.num_heads)
        self.norm_weights("query_norm", width)
        for name in ("query_w", "key_w", "value_w"):
            self.weight(f"attention.{name}", size, "glorot")
        self.weight("attention.gating_w", size, "gate")
        self.weight("attention.gating_b", size[1:], "ones")
        self.weight("attention.output_w", (*size[1:], width), "final")
        self.weight("attention.output_b", (width,), "zeros")

    def attend(self, x, padding_mask, bias=None, training=False) -> keras.KerasTensor:
        """What attention adds to x; `bias` (batch, heads, queries, keys) is the same in every line."""
        length = ops.shape(x)[self.axis]
        floats = None if training else length * (self.num_heads * length + 4 * x.shape[-1])

        def attend(x, mask):
            return self._attend(self.norm("query_norm", x), mask, bias)

        return by_chunks(attend, self.chunk, 3 - self.axis, x, padding_mask, floats=floats)

    def pair_bias(self, path, pair, training=False) -> keras.KerasTensor:
        """What pairs (batch, queries, keys, pair_dim) add to logits: (batch, queries, keys, heads)."""
        floats = None if training else ops.shape(pair)[2] * pair.shape[-1]
        bias = lambda pair: product(self.norm(path, pair), self.feat_2d_weights)  # noqa: E731
        return by_chunks(bias, self.chunk, 1, pair, floats=floats)

    def _attend(self, x, padding_mask, bias):
        shape = ops.shape(x)
        width = x.shape[-1]
        num_heads, size = self.num_heads, width // self.num_heads
        w = [ops.reshape(getattr(self, f"attention_{name}"), (width, width)) for name in ATTENTION[:4]]
        w[0] = w[0] * size**-0.5
        projected = ops.reshape(product(x, ops.concatenate(w, axis=1)), (*shape[:-1], 4, num_heads, size))
        # (4, batch, line, head, place, size)
        order = (3, 0, 1, 4, 2, 5) if self.axis == 2 else (3, 0, 2, 4, 1, 5)
        q, k, v, gate = ops.unstack(ops.transpose(projected, order), 4, axis=0)
        padding_mask = padding_mask if self.axis == 2 else ops.swapaxes(padding_mask, 1, 2)
        logits = ops.matmul(q, ops.swapaxes(k, -1, -2)) + penalty(padding_mask)[:, :, None, None, :]
        logits = logits if bias is None else logits + bias[:, None]
        y = ops.matmul(softmax(logits), v)
        y = y * ops.sigmoid(gate + self.attention_gating_b[:, None, :])
        y = ops.transpose(y, (0, 1, 3, 2, 4) if self.axis == 2 else (0, 3, 1, 2, 4))
        y = ops.reshape(y, shape)
        return product(y, ops.reshape(self.attention_output_w, (width, width))) + self.attention_output_b

    def compute_output_shape(self, x_shape, *others, **more) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class RowAttentionWithPairBias(AxialAttention):
    """Attention among the residues of each sequence, biased by what is known of each pair: algorithm 7.

    Call arguments: x (batch, sequences, residues, width), padding_mask (batch, sequences, residues), 1 for a real
    place, and pair (batch, residues, residues, pair_dim). Returns what is added to x.
    """

    PATHS = (
        "query_norm.scale", "query_norm.offset", "feat_2d_norm.scale", "feat_2d_norm.offset", "feat_2d_weights",
        *(f"attention.{name}" for name in ATTENTION),
    )  # fmt: skip

    def __init__(self, num_heads, chunk=None, **kwargs):
        super().__init__(num_heads, 2, chunk, **kwargs)

    def build(self, x_shape, padding_mask_shape, pair_shape) -> None:
        self.attention_weights(x_shape[-1])
        self.norm_weights("feat_2d_norm", pair_shape[-1])
        start = {"class_name": "RandomNormal", "config": {"stddev": pair_shape[-1] ** -0.5}}
        self.weight("feat_2d_weights", (pair_shape[-1], self.num_heads), start)

    def call(self, x, padding_mask, pair, training=False) -> keras.KerasTensor:
        bias = self.pair_bias("feat_2d_norm", pair, training)
        return self.attend(x, padding_mask, ops.transpose(bias, (0, 3, 1, 2)), training)

    def compute_output_shape(self, x_shape, padding_mask_shape, pair_shape) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class ColumnAttention(AxialAttention):
    """Attention among the sequences at each residue: algorithm 8.

    Call arguments: x (batch, sequences, residues, width) and padding_mask (batch, sequences, residues). Returns what is
    added.
    """

    PATHS = ("query_norm.scale", "query_norm.offset", *(f"attention.{name}" for name in ATTENTION))

    def __init__(self, num_heads, chunk=None, **kwargs):
        super().__init__(num_heads, 1, chunk, **kwargs)

    def build(self, x_shape, padding_mask_shape) -> None:
        self.attention_weights(x_shape[-1])

    def call(self, x, padding_mask, training=False) -> keras.KerasTensor:
        return self.attend(x, padding_mask, training=training)

    def compute_output_shape(self, x_shape, padding_mask_shape) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class GlobalColumnAttention(NamedWeights):
    """Attention of one mean query to the sequences at each residue, for large alignments: algorithm 19.

    Arguments and results are those of ColumnAttention. All heads share keys and values.
    """

    PATHS = ColumnAttention.PATHS

    def __init__(self, num_heads, chunk=None, **kwargs):
        super().__init__(**kwargs)
        check_heads(num_heads)
        self.num_heads, self.chunk = num_heads, chunk

    def build(self, x_shape, padding_mask_shape) -> None:
        width = x_shape[-1]
        check_heads(self.num_heads, width)
        size = width // self.num_heads
        self.norm_weights("query_norm", width)
        self.weight("attention.query_w", (width, self.num_heads, size), "glorot")
        self.weight("attention.key_w", (width, size), "glorot")
        self.weight("attention.value_w", (width, size), "glorot")
        self.weight("attention.gating_w", (width, self.num_heads, size), "gate")
        self.weight("attention.gating_b", (self.num_heads, size), "ones")
        self.weight("attention.output_w", (self.num_heads, size, width), "final")
        self.weight("attention.output_b", (width,), "zeros")

    def call(self, x, padding_mask, training=False) -> keras.KerasTensor:
        floats = None if training else ops.shape(x)[1] * x.shape[-1]
        return by_chunks(self._attend, self.chunk, 2, x, padding_mask, floats=floats)

    def _attend(self, x, padding_mask):
        x = self.norm("query_norm", x)
        shape, width = ops.shape(x), x.shape[-1]
        num_heads, size = self.num_heads, width // self.num_heads
        weight = padding_mask[..., None]
        total, count = (ops.sum(ops.cast(each, "float32"), axis=1) for each in (x * weight, weight))
        mean = ops.cast(total / (count + 1e-10), x.dtype)  # batch, residues, width
        q = product(mean, ops.reshape(self.attention_query_w, (width, width))) * size**-0.5
        q = ops.reshape(q, (shape[0], shape[2], num_heads, size))
        k, v = (ops.swapaxes(product(x, w), 1, 2) for w in (self.attention_key_w, self.attention_value_w))
        logits = ops.matmul(q, ops.swapaxes(k, -1, -2))  # (batch, residues, heads, sequences)
        logits = logits + ops.swapaxes(penalty(padding_mask), 1, 2)[:, :, None, :]
        y = ops.reshape(ops.matmul(softmax(logits), v), (shape[0], 1, shape[2], width))
        gate = product(x, ops.reshape(self.attention_gating_w, (width, width)))
        y = y * ops.sigmoid(gate + ops.reshape(self.attention_gating_b, (width,)))
        return product(y, ops.reshape(self.attention_output_w, (width, width))) + self.attention_output_b

    def compute_output_shape(self, x_shape, padding_mask_shape) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class Transition(NamedWeights):
    """Two linear maps with a ReLU between them, at each place: algorithms 9 and 15.

    Args:
        factor: how many times as wide as its input it is between the two.
        chunk: how many rows at once; None for as many as are fast.

    Call argument: x (batch, rows, columns, width). Returns what is added to it.
    """

    PATHS = (
        "input_layer_norm.scale", "input_layer_norm.offset",
        "transition1.weights", "transition1.bias", "transition2.weights", "transition2.bias",
    )  # fmt: skip

    def __init__(self, factor=4, chunk=None, **kwargs):
        super().__init__(**kwargs)
        self.factor, self.chunk = factor, chunk

    def build(self, x_shape) -> None:
        width = x_shape[-1]
        self.norm_weights("input_layer_norm", width)
        self.linear_weights("transition1", width, self.factor * width, "relu")
        self.linear_weights("transition2", self.factor * width, width, "final")

    def call(self, x, training=False) -> keras.KerasTensor:
        def transition(x):
            return self.linear("transition2", ops.relu(self.linear("transition1", self.norm("input_layer_norm", x))))

        floats = None if training else ops.shape(x)[2] * self.factor * x.shape[-1]
        return by_chunks(transition, self.chunk, 1, x, floats=floats)

    def compute_output_shape(self, x_shape) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class OuterProductMean(NamedWeights):
    """What the sequences of an alignment tell of pairs of residues: algorithm 10.

    Args:
        outer_dim: width of each side of the outer product.
        pair_dim: width of the result.
        chunk: how many rows of pairs at once; None for as many as are fast.

    Call arguments: x (batch, sequences, residues, width) and padding_mask (batch, sequences, residues). Returns (batch,
    residues, residues, pair_dim), the mean over the sequences that are real at both residues.
    """

    PATHS = (
        "layer_norm_input.scale", "layer_norm_input.offset", "left_projection.weights", "left_projection.bias",
        "right_projection.weights", "right_projection.bias", "output_w", "output_b",
    )  # fmt: skip

    def __init__(self, outer_dim, pair_dim, chunk=None, **kwargs):
        super().__init__(**kwargs)
        self.outer_dim, self.pair_dim, self.chunk = outer_dim, pair_dim, chunk

    def build(self, x_shape, padding_mask_shape) -> None:
        self.norm_weights("layer_norm_input", x_shape[-1])
        self.linear_weights("left_projection", x_shape[-1], self.outer_dim)
        self.linear_weights("right_projection", x_shape[-1], self.outer_dim)
        self.weight("output_w", (self.outer_dim, self.outer_dim, self.pair_dim), "final")
        self.weight("output_b", (self.pair_dim,), "zeros")

    def call(self, x, padding_mask, training=False) -> keras.KerasTensor:
        x, weight = self.norm("layer_norm_input", x), padding_mask[..., None]
        left, right = self.linear("left_projection", x) * weight, self.linear("right_projection", x) * weight
        left, mask = ops.swapaxes(left, 1, 2), ops.swapaxes(ops.cast(padding_mask, "float32"), 1, 2)
        # Few sequences are cheaper to map before their products are added up than after.
        sequences = ops.shape(x)[1]
        few = sequences * self.pair_dim < self.outer_dim * (self.pair_dim - sequences)
        width = self.pair_dim if few is True else self.outer_dim**2

        def mean(left, rows):
            ways = [partial(way, left, right) for way in (self._few, self._many)]
            found = ways[not few]() if isinstance(few, bool) else ops.cond(few, *ways)
            found = found + self.output_b
            counts = ops.matmul(rows, ops.swapaxes(mask, 1, 2))[..., None]
            return found / ops.cast(counts + 1e-3, found.dtype)

        floats = None if training else ops.shape(x)[2] * width
        return by_chunks(mean, self.chunk, 1, left, mask, floats=floats)

    def _many(self, left, right):
        batch, rows, sequences, width = ops.shape(left)
        columns = ops.shape(right)[2]
        left = ops.reshape(ops.swapaxes(left, 2, 3), (batch, rows * width, sequences))
        outer = ops.matmul(left, ops.reshape(right, (batch, sequences, columns * width)))
        outer = ops.transpose(ops.reshape(outer, (batch, rows, width, columns, width)), (0, 1, 3, 2, 4))
        outer = ops.reshape(outer, (batch, rows, columns, self.outer_dim**2))
        return product(outer, ops.reshape(self.output_w, (self.outer_dim**2, self.pair_dim)))

    def _few(self, left, right):
        batch, rows, sequences, _ = ops.shape(left)
        columns = ops.shape(right)[2]
        mapped = product(left, ops.reshape(self.output_w, (self.outer_dim, self.outer_dim * self.pair_dim)))
        mapped = ops.reshape(mapped, (batch, rows, sequences * self.outer_dim, self.pair_dim))
        right = ops.reshape(ops.transpose(right, (0, 2, 1, 3)), (batch, 1, columns, sequences * self.outer_dim))
        return ops.matmul(right, mapped)

    def compute_output_shape(self, x_shape, padding_mask_shape) -> tuple:
        return (x_shape[0], x_shape[2], x_shape[2], self.pair_dim)

"""What is known of pairs of residues, made consistent along triangles: multiplication and attention over third ones."""

import keras
from keras import ops

from kzoo.layers.structure_prediction.chunks import by_chunks
from kzoo.layers.structure_prediction.evoformer import ATTENTION, AxialAttention
from kzoo.layers.structure_prediction.named_weights import NamedWeights, product


@keras.saving.register_keras_serializable("kzoo")
class TriangleMultiplication(NamedWeights):
    """Each pair from the two other sides of its triangles, over all third residues: algorithms 11 and 12.

    Args:
        incoming: whether the two other sides end at the pair's residues (algorithm 12), or begin there (11).
        chunk: how many rows at once before and after the product; None for as many as are fast.

    Call arguments: x (batch, residues, residues, width) and padding_mask (batch, residues, residues). Returns what is
    added.
    """

    PATHS = tuple(
        f"{name}.{leaf}"
        for names, leaves in (
            (("layer_norm_input", "center_layer_norm"), ("scale", "offset")),
            (
                ("left_projection", "right_projection", "left_gate", "right_gate", "output_projection",
                 "gating_linear"), ("weights", "bias"),
            ),
        )
        for name in names
        for leaf in leaves
    )  # fmt: skip

    def __init__(self, incoming=False, chunk=None, **kwargs):
        super().__init__(**kwargs)
        self.incoming, self.chunk = incoming, chunk

    def build(self, x_shape, padding_mask_shape) -> None:
        width = x_shape[-1]
        self.norm_weights("layer_norm_input", width)
        self.norm_weights("center_layer_norm", width)
        for name in ("left_projection", "right_projection"):
            self.linear_weights(name, width, width)
        for name in ("left_gate", "right_gate", "gating_linear"):
            self.linear_weights(name, width, width, "gate", "ones")
        self.linear_weights("output_projection", width, width, "final")

    def call(self, x, padding_mask, training=False) -> keras.KerasTensor:
        width = x.shape[-1]
        floats = None if training else ops.shape(x)[2] * 4 * width
        sides = by_chunks(self._sides, self.chunk, 1, x, padding_mask, floats=floats)
        left, right = ops.unstack(ops.transpose(sides, (3, 0, 4, 1, 2)), 2, axis=0)  # batch, width, from, to
        if self.incoming:
            sums = ops.matmul(ops.swapaxes(right, -1, -2), left)
        else:
            sums = ops.matmul(left, ops.swapaxes(right, -1, -2))
        return by_chunks(self._result, self.chunk, 1, x, ops.swapaxes(sums, 1, 2), floats=floats)

    def _sides(self, x, padding_mask):
        """What enters the product: (batch, rows, columns, 2, width)."""
        x, width = self.norm("layer_norm_input", x), x.shape[-1]
        names = ("left_projection", "right_projection", "left_gate", "right_gate")
        weights = ops.concatenate([getattr(self, f"{name}_weights") for name in names], axis=1)
        biases = ops.concatenate([getattr(self, f"{name}_bias") for name in names], axis=0)
        found = product(x, weights) + biases
        found = found[..., : 2 * width] * ops.sigmoid(found[..., 2 * width :]) * padding_mask[..., None]
        return ops.reshape(found, (*ops.shape(x)[:3], 2, width))

    def _result(self, x, sums):
        """What is added to x, from sums (batch, rows, width, columns)."""
        y = self.linear("output_projection", self.norm("center_layer_norm", ops.swapaxes(sums, 2, 3)))
        return y * ops.sigmoid(self.linear("gating_linear", self.norm("layer_norm_input", x)))

    def compute_output_shape(self, x_shape, padding_mask_shape) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class TriangleAttention(AxialAttention):
    """Attention of each pair to those that share a residue with it, biased by the third side: algorithms 13 and 14.

    Args:
        num_heads: divides the width.
        ending: whether they share the second residue (algorithm 14), or the first (13).
        chunk: how many residues' pairs at once; None for as many as are fast.

    Call arguments: x (batch, residues, residues, width) and padding_mask (batch, residues, residues). Returns what is
    added.
    """

    PATHS = ("query_norm.scale", "query_norm.offset", "feat_2d_weights", *(f"attention.{name}" for name in ATTENTION))

    def __init__(self, num_heads, ending=False, chunk=None, **kwargs):
        super().__init__(num_heads, 1 if ending else 2, chunk, **kwargs)
        self.ending = ending

    def build(self, x_shape, padding_mask_shape) -> None:
        self.attention_weights(x_shape[-1])
        start = {"class_name": "RandomNormal", "config": {"stddev": x_shape[-1] ** -0.5}}
        self.weight("feat_2d_weights", (x_shape[-1], self.num_heads), start)

    def call(self, x, padding_mask, training=False) -> keras.KerasTensor:
        bias = self.pair_bias("query_norm", x, training)
        return self.attend(
            x, padding_mask, ops.transpose(bias, (0, 3, 2, 1) if self.ending else (0, 3, 1, 2)), training
        )

    def compute_output_shape(self, x_shape, padding_mask_shape) -> tuple:
        return x_shape

"""What is known of pairs of residues, made consistent along triangles: multiplication and attention over third ones."""

import keras
from keras import ops

from kzoo.layers.structure_prediction.evoformer import ATTENTION, AxialAttention
from kzoo.layers.structure_prediction.named_weights import NamedWeights, product


@keras.saving.register_keras_serializable("kzoo")
class TriangleMultiplication(NamedWeights):
    """Each pair from the two other sides of its triangles, over all third residues: algorithms 11 and 12.

    Args:
        incoming: whether the two other sides end at the pair's residues (algorithm 12), or begin there (11).

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

    def __init__(self, incoming=False, **kwargs):
        super().__init__(**kwargs)
        self.incoming = incoming

    def build(self, x_shape, padding_mask_shape) -> None:
        width = x_shape[-1]
        self.norm_weights("layer_norm_input", width)
        self.norm_weights("center_layer_norm", width)
        for name in ("left_projection", "right_projection"):
            self.linear_weights(name, width, width)
        for name in ("left_gate", "right_gate", "gating_linear"):
            self.linear_weights(name, width, width, "gate", "ones")
        self.linear_weights("output_projection", width, width, "final")

    def call(self, x, padding_mask) -> keras.KerasTensor:
        x, weight = self.norm("layer_norm_input", x), padding_mask[..., None]
        left, right = (
            self.linear(f"{side}_projection", x) * ops.sigmoid(self.linear(f"{side}_gate", x)) * weight
            for side in ("left", "right")
        )
        left, right = (ops.transpose(side, (0, 3, 1, 2)) for side in (left, right))  # batch, width, from, to
        if self.incoming:
            sums = ops.matmul(ops.swapaxes(right, -1, -2), left)
        else:
            sums = ops.matmul(left, ops.swapaxes(right, -1, -2))
        y = self.norm("center_layer_norm", ops.transpose(sums, (0, 2, 3, 1)))
        return self.linear("output_projection", y) * ops.sigmoid(self.linear("gating_linear", x))

    def compute_output_shape(self, x_shape, padding_mask_shape) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class TriangleAttention(AxialAttention):
    """Attention of each pair to those that share a residue with it, biased by the third side: algorithms 13 and 14.

    Args:
        num_heads: divides the width.
        ending: whether they share the second residue (algorithm 14), or the first (13).
        chunk: how many residues' pairs at once; None for all.

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

    def call(self, x, padding_mask) -> keras.KerasTensor:
        x = self.norm("query_norm", x)
        bias = ops.transpose(product(x, self.feat_2d_weights), (0, 3, 2, 1) if self.ending else (0, 3, 1, 2))
        return self.attend(x, padding_mask, bias)

    def compute_output_shape(self, x_shape, padding_mask_shape) -> tuple:
        return x_shape

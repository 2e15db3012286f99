"""Invariant point attention, by which residues in space attend to one another."""

import keras
import numpy as np
from keras import ops

from kzoo.layers.structure_prediction.named_weights import NamedWeights, softmax
from kzoo.layers.structure_prediction.rigid_frames import rotation

FAR = 1e5  # what is taken from the logits of a masked pair


@keras.saving.register_keras_serializable("kzoo")
class InvariantPointAttention(NamedWeights):
    """Attention by scalars, by what is known of each pair and by distances of points in space: algorithm 22.

    The points turn and move with the residues' poses, so the result is the same however the whole is turned or moved.

    Args:
        num_heads: number of heads.
        scalar_dim: width of the scalar queries, keys and values of a head.
        num_query_points, num_value_points: points of a head in space.

    Call arguments: x (batch, residues, width), pair (batch, residues, residues, pair_dim), bias (batch, residues,
    residues, num_heads), what `attention_2d` makes of pair, padding_mask (batch, residues), and poses (batch, residues,
    7), in tens of angstroms. Returns what is added to x; no gradient flows back through the rotations.
    """

    PATHS = (
        *(f"{name}.{leaf}" for name in ("q_scalar", "kv_scalar", "q_point_local", "kv_point_local",
                                        "output_projection") for leaf in ("weights", "bias")),
        "trainable_point_weights",
    )  # fmt: skip

    def __init__(self, num_heads=12, scalar_dim=16, num_query_points=4, num_value_points=8, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.scalar_dim = num_heads, scalar_dim
        self.num_query_points, self.num_value_points = num_query_points, num_value_points

    def build(self, x_shape, pair_shape, bias_shape, padding_mask_shape, poses_shape) -> None:
        width, heads, values = x_shape[-1], self.num_heads, self.num_value_points
        self.linear_weights("q_scalar", width, heads * self.scalar_dim)
        self.linear_weights("kv_scalar", width, heads * 2 * self.scalar_dim)
        self.linear_weights("q_point_local", width, heads * 3 * self.num_query_points)
        self.linear_weights("kv_point_local", width, heads * 3 * (self.num_query_points + values))
        one = keras.initializers.Constant(float(np.log(np.e - 1)))  # softplus of it is 1
        self.weight("trainable_point_weights", (heads,), one)
        outputs = heads * (self.scalar_dim + 4 * values + pair_shape[-1])
        self.linear_weights("output_projection", outputs, width, "final")

    def call(self, x, pair, bias, padding_mask, poses) -> keras.KerasTensor:
        batch, length, _ = ops.shape(x)
        heads, size, points = self.num_heads, self.scalar_dim, self.num_query_points
        turns = rotation(ops.stop_gradient(poses[..., :4]))
        # Distances are the same from anywhere, and sharpest from the middle.
        weight = padding_mask[..., None]
        middle = ops.sum(poses[..., 4:] * weight, 1, keepdims=True) / ops.maximum(ops.sum(weight, 1, keepdims=True), 1)
        places = (poses[..., 4:] - middle)[:, :, :, None]

        def in_space(name):  # batch, residues, 3, heads, points
            local = ops.reshape(self.linear(name, x), (batch, length, 3, -1))
            return ops.reshape(ops.matmul(turns, local) + places, (batch, length, 3, heads, -1))

        q = ops.reshape(self.linear("q_scalar", x), (batch, length, heads, size))
        kv = ops.reshape(self.linear("kv_scalar", x), (batch, length, heads, 2 * size))
        q_points, kv_points = in_space("q_point_local"), in_space("kv_point_local")
        k_points, v_points = kv_points[..., :points], kv_points[..., points:]
        logits = self._logits(q, kv[..., :size], q_points, k_points)  # batch, heads, residues, residues
        logits = logits + ops.transpose(bias, (0, 3, 1, 2)) * 3**-0.5
        logits = logits - FAR * (1 - padding_mask[:, None, :, None] * padding_mask[:, None, None, :])
        scores = softmax(logits)

        # batch, heads, residues, size + 3 * values
        v_points = ops.reshape(ops.transpose(v_points, (0, 3, 1, 2, 4)), (batch, heads, length, -1))
        values = ops.concatenate([ops.transpose(kv[..., size:], (0, 2, 1, 3)), v_points], axis=-1)
        found = ops.transpose(ops.matmul(scores, values), (0, 2, 1, 3))
        scalars = ops.reshape(found[..., :size], (batch, length, heads * size))
        found = ops.reshape(found[..., size:], (batch, length, heads, 3, self.num_value_points))
        found = ops.reshape(ops.transpose(found, (0, 1, 3, 2, 4)), (batch, length, 3, -1))
        local = ops.matmul(ops.swapaxes(turns, -1, -2), found - places)  # batch, residues, 3, heads * values
        lengths = ops.sqrt(ops.sum(ops.square(local), axis=2) + 1e-8)
        pairs = ops.matmul(ops.transpose(scores, (0, 2, 1, 3)), pair)  # batch, residues, heads, pair_dim
        flat = [ops.reshape(part, (batch, length, -1)) for part in (local, lengths, pairs)]
        return self.linear("output_projection", ops.concatenate([scalars, *flat], axis=-1))

    def _logits(self, q, k, q_points, k_points):
        """Of scalars and of points, in one product: -|a - b|^2 / 2 = a b - |a|^2 / 2 - |b|^2 / 2."""
        q = q * (3 * self.scalar_dim) ** -0.5
        strength = ops.softplus(self.trainable_point_weights) * (3 * self.num_query_points * 4.5) ** -0.5
        strength = strength[:, None]

        def joined(points):  # batch, residues, heads, 3 * points
            points = ops.transpose(points, (0, 1, 3, 2, 4))
            return ops.reshape(points, (*ops.shape(points)[:3], -1))

        q_points, k_points = joined(q_points), joined(k_points)
        q_square, k_square = (
            ops.sum(ops.square(x), axis=-1, keepdims=True) * strength * -0.5 for x in (q_points, k_points)
        )
        one = ops.ones_like(q_square)
        queries = ops.concatenate([q, q_points * strength, q_square, one], axis=-1)
        keys = ops.concatenate([k, k_points, one, k_square], axis=-1)
        return ops.matmul(ops.transpose(queries, (0, 2, 1, 3)), ops.transpose(keys, (0, 2, 3, 1)))

    def compute_output_shape(self, x_shape, pair_shape, bias_shape, padding_mask_shape, poses_shape) -> tuple:
        return x_shape

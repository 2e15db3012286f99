"""What enters an Evoformer: places in the chain, distances, kinds of residues, and what is known of one as of pairs."""

import keras
import numpy as np
from keras import layers, ops

from kzoo.layers.structure_prediction.named_weights import INITIALIZERS
from kzoo.layers.structure_prediction.rigid_frames import pseudo_beta


def outer_product(x) -> keras.KerasTensor:
    """(..., residues) as (..., residues, residues), such as the mask of pairs from that of residues."""
    return x[..., :, None] * x[..., None, :]


def distogram(positions, num_bins, first, last) -> keras.KerasTensor:
    """Distances of positions (..., residues, 3) as bins (..., residues, residues, num_bins), 1 or 0.

    The bins begin at `first` ... `last`, evenly; the last one is open, and a distance below `first` is in none.
    """
    lower = np.square(np.linspace(first, last, num_bins, dtype="float32"))
    upper = np.append(lower[1:], np.float32(1e8))
    positions = ops.cast(positions, "float32")
    square = ops.sum(ops.square(positions[..., :, None, :] - positions[..., None, :, :]), axis=-1, keepdims=True)
    return ops.cast(ops.logical_and(square > lower, square < upper), "float32")


@keras.saving.register_keras_serializable("kzoo")
class PairMask(layers.Layer):
    """Which pairs are real: (batch, residues) to (batch, residues, residues)."""

    def call(self, padding_mask) -> keras.KerasTensor:
        return outer_product(padding_mask)

    def compute_output_shape(self, padding_mask_shape) -> tuple:
        return (*padding_mask_shape, padding_mask_shape[-1])


@keras.saving.register_keras_serializable("kzoo")
class OuterSum(layers.Layer):
    """Sums of what is known of each residue, (batch, residues, width) twice, for every pair of them: algorithm 3."""

    def call(self, left, right) -> keras.KerasTensor:
        return left[:, :, None] + right[:, None]

    def compute_output_shape(self, left_shape, right_shape) -> tuple:
        return (left_shape[0], left_shape[1], *right_shape[1:])


@keras.saving.register_keras_serializable("kzoo")
class AddedToRows(layers.Layer):
    """Adds to an alignment (batch, sequences, residues, width) what is known of each residue.

    Args:
        first_only: whether it is added to the first sequence alone (algorithm 32), or to all of them.
    """

    def __init__(self, first_only=False, **kwargs):
        super().__init__(**kwargs)
        self.first_only = first_only

    def call(self, x, row) -> keras.KerasTensor:
        if not self.first_only:
            return x + row[:, None]
        return ops.concatenate([x[:, :1] + row[:, None], x[:, 1:]], axis=1)

    def compute_output_shape(self, x_shape, row_shape) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class RelativePlaces(layers.Layer):
    """How far residues are apart in the chain, as a map of one-hot distances clipped at either end: algorithm 4.

    Args:
        width: of the result.
        farthest: the largest distance that is told from larger ones.

    Call argument: residue_index (batch, residues), their places. Returns (batch, residues, residues, width).
    """

    TENSORS = {"table": ("weights", "same"), "bias": ("bias", "same")}

    def __init__(self, width, farthest=32, **kwargs):
        super().__init__(**kwargs)
        self.width, self.farthest = width, farthest

    def build(self, index_shape) -> None:
        self.table = self.add_weight(
            shape=(2 * self.farthest + 1, self.width), initializer=INITIALIZERS["linear"], name="table"
        )
        self.bias = self.add_weight(shape=(self.width,), initializer="zeros", name="bias")

    def call(self, index) -> keras.KerasTensor:
        apart = ops.cast(index[:, :, None] - index[:, None, :], "int32")
        return ops.take(self.table + self.bias, ops.clip(apart + self.farthest, 0, 2 * self.farthest), axis=0)

    def compute_output_shape(self, index_shape) -> tuple:
        return (*index_shape, index_shape[-1], self.width)


@keras.saving.register_keras_serializable("kzoo")
class PreviousDistances(layers.Layer):
    """Distances between residues where a previous iteration put them: algorithm 32, lines 1 and 2.

    Call arguments: aatype (batch, residues) and positions (batch, residues, 37, 3). Returns bins (batch, residues,
    residues, 15).
    """

    NUM_BINS, FIRST, LAST = 15, 3.25, 20.75

    def call(self, aatype, positions) -> keras.KerasTensor:
        found = distogram(pseudo_beta(aatype, positions), self.NUM_BINS, self.FIRST, self.LAST)
        return ops.cast(found, self.compute_dtype)

    def compute_output_shape(self, aatype_shape, positions_shape) -> tuple:
        return (*aatype_shape, aatype_shape[-1], self.NUM_BINS)


@keras.saving.register_keras_serializable("kzoo")
class ExtraFeatures(layers.Layer):
    """Sequences that are no centres of clusters, with deletions before each residue: supplement 1.2.9.

    Call arguments: kinds (batch, sequences, residues) with gap and mask, whether there is a deletion, and how large it
    is, both of the same shape. Returns (batch, sequences, residues, 25).
    """

    def call(self, kinds, has_deletion, deletion_value) -> keras.KerasTensor:
        one_hot = ops.one_hot(kinds, 23, dtype=self.compute_dtype)
        return ops.concatenate([one_hot, has_deletion[..., None], deletion_value[..., None]], axis=-1)

    def compute_output_shape(self, kinds_shape, has_deletion_shape, deletion_value_shape) -> tuple:
        return (*kinds_shape, 25)


@keras.saving.register_keras_serializable("kzoo")
class FirstRow(layers.Layer):
    """The first sequence of an alignment: (batch, sequences, residues, width) to (batch, residues, width)."""

    def call(self, x) -> keras.KerasTensor:
        return x[:, 0]

    def compute_output_shape(self, x_shape) -> tuple:
        return (x_shape[0], *x_shape[2:])


@keras.saving.register_keras_serializable("kzoo")
class RowsOf(layers.Layer):
    """The first rows of x, as many as another alignment has."""

    def call(self, x, like) -> keras.KerasTensor:
        return x[:, : ops.shape(like)[1]]

    def compute_output_shape(self, x_shape, like_shape) -> tuple:
        return (*x_shape[:1], like_shape[1], *x_shape[2:])


@keras.saving.register_keras_serializable("kzoo")
class Symmetric(layers.Layer):
    """The sum of (batch, residues, residues, width) and itself with each pair the other way round."""

    def call(self, x) -> keras.KerasTensor:
        return x + ops.swapaxes(x, 1, 2)

    def compute_output_shape(self, x_shape) -> tuple:
        return x_shape

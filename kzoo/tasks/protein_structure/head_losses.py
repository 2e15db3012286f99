"""What the heads beside the structure are learned by: distances, hidden letters, and how far to trust it all.

Jumper et al. 2021, supplementary sections 1.9.6 to 1.9.10. Arrays are as in `ground_truth`; each function gives a value
for every example, (batch,), in float32.
"""

from typing import Any

import numpy as np
from keras import ops

from kzoo.layers.residues import ATOM37_MASK
from kzoo.tasks.protein_structure.ground_truth import CA, into, lookup
from kzoo.tasks.protein_structure.similarity import lddt

FIRST_BREAK, LAST_BREAK = 2.3125, 21.6875  # of the distogram, in angstroms
MOST_ERROR = 31.0  # the last break of predicted aligned errors, in angstroms


def distance_breaks(num_bins, first=FIRST_BREAK, last=LAST_BREAK) -> np.ndarray:
    """Where bins of distances end, all but the last, float32 (num_bins - 1,)."""
    return np.linspace(first, last, num_bins - 1).astype("float32")


def error_breaks(num_bins) -> np.ndarray:
    """Where bins of aligned errors end, all but the last, float32 (num_bins - 1,)."""
    return distance_breaks(num_bins, 0.0, MOST_ERROR)


def cross_entropy(bins, logits) -> Any:
    """Of the right bin, an int, for logits (..., bins)."""
    return ops.sparse_categorical_crossentropy(bins, ops.cast(logits, "float32"), from_logits=True)


def _mean(mask, values, epsilon):
    axes = tuple(range(1, len(values.shape)))
    return ops.sum(mask * values, axis=axes) / (epsilon + ops.sum(mask, axis=axes))


def _pairs(mask):
    return mask[:, :, None] * mask[:, None, :]


def distogram(logits, points, mask) -> Any:
    """Cross-entropy of the bin of each distance between C-betas.

    Args:
        logits: (batch, residues, residues, bins).
        points, mask: `pseudo_beta` and `pseudo_beta_mask`.
    """
    squared = ops.sum(ops.square(points[:, :, None] - points[:, None]), axis=-1, keepdims=True)
    bins = ops.sum(ops.cast(squared > np.square(distance_breaks(logits.shape[-1])), "int32"), axis=-1)
    return _mean(_pairs(mask), cross_entropy(bins, logits), 1e-6)


def masked_msa(logits, true_msa, bert_mask) -> Any:
    """Cross-entropy of the hidden letters, (batch, rows, residues, letters), where `bert_mask` is 1."""
    return _mean(bert_mask, cross_entropy(true_msa, logits), 1e-8)


def predicted_lddt(logits, positions, truth) -> Any:
    """Cross-entropy of the bin of each residue's lDDT of C-alphas, algorithm 29.

    Args:
        logits: (batch, residues, bins).
        positions: predicted (batch, residues, 37, 3).
    """
    known = truth["mask"][:, :, CA]
    scores = ops.stop_gradient(lddt(positions[:, :, CA], truth["positions"][:, :, CA], known, per_residue=True))
    num_bins = logits.shape[-1]
    bins = ops.minimum(ops.cast(ops.floor(scores * num_bins), "int32"), num_bins - 1)
    return _mean(known, cross_entropy(bins, logits), 1e-8)


def experimentally_resolved(logits, truth) -> Any:
    """Cross-entropy of which atoms of a residue an experiment sees, logits (batch, residues, 37)."""
    exists, logits = lookup(ATOM37_MASK, truth["aatype"]), ops.cast(logits, "float32")
    # sigmoid's, as DeepMind writes it
    seen = truth["mask"]
    errors = -seen * ops.log_sigmoid(logits) - (1 - seen) * ops.log_sigmoid(-logits)
    return _mean(exists, errors, 1e-8)


def aligned_error(logits, frames, truth) -> Any:
    """Cross-entropy of the bin of each C-alpha's error in each residue's frame, section 1.9.7.

    Args:
        logits: (batch, frames, residues, bins).
        frames: the predicted backbone, rotations (batch, residues, 3, 3) and origins (batch, residues, 3).
    """
    true_frames = tuple(x[:, :, 0] for x in truth["frames"])
    mask = truth["frames_mask"][:, :, 0]
    difference = into(frames, frames[1]) - into(true_frames, true_frames[1])
    squared = ops.stop_gradient(ops.sum(ops.square(difference), axis=-1, keepdims=True))
    bins = ops.sum(ops.cast(squared > np.square(error_breaks(logits.shape[-1])), "int32"), axis=-1)
    return _mean(_pairs(mask), cross_entropy(bins, logits), 1e-8)

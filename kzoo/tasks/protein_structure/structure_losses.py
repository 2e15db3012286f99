"""What predicted atoms and frames are learned by: errors in each other's frames, torsion angles, renamed atoms.

Jumper et al. 2021, supplementary sections 1.8.5 and 1.9.1 to 1.9.2. Arrays are as in `ground_truth`; each function
gives a value for every example, (batch,), in float32.
"""

from typing import Any

from keras import ops

from kzoo.layers.residues import CHI_PI_PERIODIC
from kzoo.tasks.protein_structure.ground_truth import into, lookup

UNIT = 10.0  # angstroms that an error of 1 is
CLAMP = 10.0  # angstroms beyond which an error counts no more
ANGLE_NORM = 0.01  # weight of how far unnormalised angles are from length 1, beside 0.5 of the angles
CHI = 0.5


def masked_mean(mask, values, axes, epsilon=1e-10) -> Any:
    """The mean over some axes of what a mask of the same rank, 1 wide where it is broadcast, keeps."""
    whole = ops.broadcast_to(mask, ops.shape(values))
    return ops.sum(whole * values, axis=axes) / (ops.sum(whole, axis=axes) + epsilon)


def frame_aligned_point_error(
    frames, true_frames, frames_mask, points, true_points, points_mask, clamp=CLAMP, epsilon=1e-4
) -> Any:
    """FAPE, algorithm 28: how far points are from the true ones as each frame sees them, in units of 10 angstroms.

    Args:
        frames, true_frames: pairs of rotations (..., frames, 3, 3) and origins (..., frames, 3).
        points, true_points: (..., points, 3).
        clamp: the error in angstroms that counts most; None for any.

    Returns the mean over pairs of a frame and a point, (...).
    """
    difference = into(frames, points) - into(true_frames, true_points)
    error = ops.sqrt(ops.sum(ops.square(difference), axis=-1) + epsilon)
    if clamp is not None:
        error = ops.minimum(error, clamp)
    total = ops.sum(error * frames_mask[..., None] * points_mask[..., None, :], axis=(-2, -1)) / UNIT
    return total / (epsilon + ops.sum(frames_mask, axis=-1) * ops.sum(points_mask, axis=-1))


def backbone_error(frames, truth, clamped=None) -> Any:
    """FAPE of C-alpha in the backbone's frames, of every layer, (batch, layers).

    Args:
        frames: the predicted backbone of each layer, rotations (batch, layers, residues, 3, 3) and origins.
        clamped: for each example the share of the clamped error, (batch,); section 1.11.5 has 1 for nine of ten.
    """
    rotations, origins = (x[:, None, :, 0] for x in truth["frames"])
    mask = truth["frames_mask"][:, None, :, 0]
    given = frames, (rotations, origins), mask, frames[1], origins, mask
    error = frame_aligned_point_error(*given)
    if clamped is None:
        return error
    share = ops.cast(clamped, "float32")[:, None]
    return share * error + (1 - share) * frame_aligned_point_error(*given, clamp=None)


def renamed(atom14, truth) -> dict:
    """The truth under that naming of like atoms which is nearer to the prediction, algorithm 26.

    Args:
        atom14: predicted (batch, residues, 14, 3).

    Returns `frames`, `atom14` and `atom14_mask` as in `ground_truth`, and `swapped` (batch, residues), 1 where the
    other naming is nearer.
    """
    rows = truth["atom14_mask"] * truth["ambiguous"]
    columns = each_atom(truth["atom14_mask"] * (1 - truth["ambiguous"]))
    predicted = distances(atom14)

    def error(positions):
        differences = ops.sqrt(1e-10 + ops.square(predicted - distances(positions)))
        by_atom = ops.reshape(ops.sum(differences * columns[:, None], axis=-1), ops.shape(rows))
        return ops.sum(rows * by_atom, axis=-1)

    own, other = (error(truth[name]) for name in ("atom14", "other_atom14"))
    swapped = ops.stop_gradient(ops.cast(other < own, "float32"))

    def chosen(own, other):
        share = ops.reshape(swapped, (*ops.shape(swapped), *[1] * (len(own.shape) - 2)))
        return (1 - share) * own + share * other

    return {
        "swapped": swapped,
        "atom14": chosen(truth["atom14"], truth["other_atom14"]),
        "atom14_mask": chosen(truth["atom14_mask"], truth["other_atom14_mask"]),
        "frames": (chosen(truth["frames"][0], truth["other_frames"][0]), truth["frames"][1]),
    }


def each_atom(x) -> Any:
    """(batch, residues, 14, ...) as (batch, atoms, ...)."""
    return ops.reshape(x, (ops.shape(x)[0], -1, *x.shape[3:]))


def distances(atom14) -> Any:
    """(batch, atoms, atoms) in angstroms."""
    points = each_atom(atom14)
    return ops.sqrt(1e-10 + ops.sum(ops.square(points[:, :, None] - points[:, None]), axis=-1))


def side_chain_error(frames, atom14, truth) -> Any:
    """FAPE of all atoms in the frames of all rigid groups, the truth renamed.

    Args:
        frames: predicted, rotations (batch, residues, 8, 3, 3) and origins (batch, residues, 8, 3).
        atom14: predicted (batch, residues, 14, 3).
    """
    best = renamed(atom14, truth)
    batch = ops.shape(atom14)[0]

    def flat(pair):
        return ops.reshape(pair[0], (batch, -1, 3, 3)), ops.reshape(pair[1], (batch, -1, 3))

    return frame_aligned_point_error(
        flat(frames), flat(best["frames"]), ops.reshape(truth["frames_mask"], (batch, -1)),
        ops.reshape(atom14, (batch, -1, 3)), ops.reshape(best["atom14"], (batch, -1, 3)),
        ops.reshape(best["atom14_mask"], (batch, -1)),
    )  # fmt: skip


def torsion_errors(angles, unnormalized, truth, seq_mask) -> tuple:
    """Squared errors of the chi angles, algorithm 27, and how far angles are from length 1 before that is mended.

    Args:
        angles, unnormalized: sines and cosines of each layer, (batch, layers, residues, 7, 2); those from 3 on are chi.
        seq_mask: (batch, residues).
    """
    true = truth["chi_sin_cos"][:, None]
    turned = (1 - 2 * lookup(CHI_PI_PERIODIC, truth["aatype"]))[:, None, ..., None] * true
    error, other = (ops.sum(ops.square(each - angles[..., 3:, :]), axis=-1) for each in (true, turned))
    chi = masked_mean(truth["chi_mask"][:, None], ops.minimum(error, other), (1, 2, 3))
    length = ops.sqrt(ops.sum(ops.square(unnormalized), axis=-1) + 1e-6)
    return chi, masked_mean(seq_mask[:, None, :, None], ops.abs(length - 1), (1, 2, 3))

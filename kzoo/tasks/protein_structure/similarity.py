"""How like two structures of one chain are: lDDT, the TM-score and GDT-TS."""

from typing import Any

import numpy as np
from keras import ops

FARTHEST = 15.0  # angstroms of the true distances that lDDT counts
TOLERANCES = (0.5, 1.0, 2.0, 4.0)
GDT_CUTOFFS = (1.0, 2.0, 4.0, 8.0)


def lddt(points, true_points, mask, per_residue=False, groups=None) -> Any:
    """The local distance difference test of Mariani et al. 2013, without its look at bonds, in [0, 1].

    Args:
        points, true_points: (batch, points, 3), one for each residue, or of all atoms with `groups`.
        mask: (batch, points), 1 for true points that are known.
        groups: int (batch, points), the residue of each; distances within one do not count.

    Returns (batch,), or (batch, points).
    """
    true, found = _distances(true_points), _distances(points)
    apart = (
        1 - ops.eye(ops.shape(true)[1])
        if groups is None
        else ops.cast(ops.not_equal(groups[:, :, None], groups[:, None, :]), "float32")
    )
    counted = ops.cast(true < FARTHEST, "float32") * mask[:, :, None] * mask[:, None, :] * apart
    error = ops.abs(true - found)
    score = sum(ops.cast(error < tolerance, "float32") for tolerance in TOLERANCES) / len(TOLERANCES)
    axes = (-1,) if per_residue else (-2, -1)
    return (1e-10 + ops.sum(counted * score, axis=axes)) / (1e-10 + ops.sum(counted, axis=axes))


def _distances(points):
    return ops.sqrt(1e-10 + ops.sum(ops.square(points[:, :, None] - points[:, None]), axis=-1))


def superposed(points, onto, weights=None) -> np.ndarray:
    """Points (n, 3) moved rigidly to where their weighted squared distance to `onto` is least, by Kabsch."""
    weights = np.ones(len(points)) if weights is None else np.asarray(weights, float)
    share = weights / weights.sum()
    mean, other = share @ points, share @ onto
    left, _, right = np.linalg.svd(((points - mean) * share[:, None]).T @ (onto - other))
    flip = np.diag([1, 1, np.sign(np.linalg.det(left @ right))])
    return (points - mean) @ left @ flip @ right + other


def tm_scale(length) -> float:
    """The distance in angstroms at which a residue counts half, by the length of the chain."""
    return 1.24 * (max(length, 19) - 15) ** (1 / 3) - 1.8


def tm_score(points, true_points) -> float:
    """The TM-score of Zhang & Skolnick 2004, in (0, 1]: residues (n, 3) whose partners are known.

    The best superposition is looked for as TM-align's program does: from fragments of several lengths, again and again
    on those residues that lie near.
    """
    scale = tm_scale(len(points))
    return max(_searched(points, true_points, scale, lambda squared: (1 / (1 + squared / scale**2)).mean()))


def gdt_ts(points, true_points) -> float:
    """GDT-TS of Zemla 2003, in [0, 1]: the mean share of residues within 1, 2, 4 and 8 angstroms, each at its best."""
    points, true_points = np.asarray(points, float), np.asarray(true_points, float)
    best = [
        max(_searched(points, true_points, cutoff, lambda squared, cutoff=cutoff: (squared <= cutoff**2).mean()))
        for cutoff in GDT_CUTOFFS
    ]
    return float(np.mean(best))


def _searched(points, true_points, cutoff, score):
    """Scores of superpositions that begin with fragments of the chain and go on with what is near."""
    points, true_points, total = np.asarray(points, float), np.asarray(true_points, float), len(points)
    lengths = sorted({max(4, total // 2**power) for power in range(6)} & {*range(3, total + 1)}) or [total]
    for length in lengths:
        for begin in range(0, total - length + 1, max(1, length // 2)):
            chosen = np.zeros(total, bool)
            chosen[begin : begin + length] = True
            for _ in range(20):
                moved = superposed(points, true_points, chosen)
                squared = np.square(moved - true_points).sum(axis=-1)
                yield float(score(squared))
                reach = cutoff
                near = squared < reach**2
                while near.sum() < min(3, total):
                    reach += 0.5
                    near = squared < reach**2
                if (near == chosen).all():
                    break
                chosen = near

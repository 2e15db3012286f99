"""What a structure says that a network should learn: frames, torsion angles, and either naming of like atoms.

Jumper et al. 2021, https://doi.org/10.1038/s41586-021-03819-2, supplementary sections 1.8.1 to 1.8.5. All arrays have
the batch first, positions are in angstroms, masks are 0 or 1 in float32. A frame is a pair of rotations (..., 3, 3),
whose columns are its axes, and origins (..., 3).
"""

from typing import Any

import numpy as np
from keras import ops

from kzoo.layers import residues

CA, CB = (residues.ATOM37.index(name) for name in ("CA", "CB"))
GLYCINE, PROLINE = (residues.NAMES.index(name) for name in ("GLY", "PRO"))
_AMBIGUOUS = (np.arange(14) != residues.ATOM14_SWAPPED).astype("float32")
# of each group: whether turning it by 180 degrees about x swaps the names of its atoms
_TURNS = np.concatenate([np.zeros((21, 4), "float32"), residues.CHI_PI_PERIODIC], axis=1)


def lookup(table, aatype) -> Any:
    """The rows of a table (21, ...) of kinds of residues."""
    return ops.take(ops.convert_to_tensor(table), ops.minimum(aatype, residues.UNKNOWN), axis=0)


def gather(x, places) -> Any:
    """`x` (batch, residues, atoms, ...) at places (batch, residues, others), as (batch, residues, others, ...)."""
    batch, length, count = ops.shape(x)[0], ops.shape(x)[1], x.shape[2]
    rows = ops.reshape(x, (-1, *x.shape[3:]))
    first = ops.reshape(ops.arange(batch * length, dtype="int32") * count, (batch, length, 1))
    return ops.take(rows, first + ops.cast(places, "int32"), axis=0)


def normalized(x, epsilon=1e-8) -> Any:
    """Vectors of length 1."""
    return x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + epsilon)


def frames_of(on_negative_x, origin, in_xy_plane) -> tuple:
    """Frames by three points each, algorithm 21."""
    x = normalized(origin - on_negative_x)
    y = in_xy_plane - origin
    y = normalized(y - ops.sum(x * y, axis=-1, keepdims=True) * x)
    return ops.stack([x, y, ops.cross(x, y)], axis=-1), origin


def into(frames, points) -> Any:
    """Points (..., points, 3) as each of the frames (..., frames) sees them: (..., frames, points, 3)."""
    rotations, origins = frames
    count = rotations.shape[-3] if rotations.shape[-3] is not None else ops.shape(rotations)[-3]
    flat = ops.reshape(ops.moveaxis(rotations, -3, -2), (*ops.shape(rotations)[:-3], 3, count * 3))
    turned = ops.reshape(ops.matmul(points, flat), (*ops.shape(points)[:-1], count, 3))
    own = ops.matmul(origins[..., None, :], rotations)  # (..., frames, 1, 3)
    return ops.swapaxes(turned, -2, -3) - own


def pseudo_beta(aatype, positions, mask) -> tuple:
    """The position of C-beta, in glycine of C-alpha, (batch, residues, 3), and where it is known (batch, residues)."""
    is_glycine = ops.equal(aatype, GLYCINE)
    points = ops.where(is_glycine[..., None], positions[:, :, CA], positions[:, :, CB])
    return points, ops.where(is_glycine, mask[:, :, CA], mask[:, :, CB])


def rigid_groups(aatype, positions, mask) -> dict:
    """The frames of the eight rigid groups of each residue: `frames`, `other_frames` and their `frames_mask`.

    `other_frames` are those of the other naming of like atoms; rotations are (batch, residues, 8, 3, 3).
    """
    places = lookup(residues.GROUP_ATOMS, aatype)  # (batch, residues, 8, 3)
    flat = ops.reshape(places, (*ops.shape(aatype), 24))
    points = ops.reshape(gather(positions, flat), (*ops.shape(aatype), 8, 3, 3))
    known = ops.min(ops.reshape(gather(mask, flat), (*ops.shape(aatype), 8, 3)), axis=-1)
    rotations, origins = frames_of(points[..., 0, :], points[..., 1, :], points[..., 2, :])
    # the backbone's frame looks the other way, along the chain
    mirror = np.ones((8, 1, 3), "float32")
    mirror[0, 0] = [-1, 1, -1]
    rotations = rotations * mirror
    turn = np.array([0, 1, 1], "float32") * _TURNS[:, :, None]
    other = rotations * (1 - 2 * lookup(turn, aatype)[..., None, :])
    frames_mask = known * lookup(residues.GROUP_MASK, aatype)
    return {"frames": (rotations, origins), "other_frames": (other, origins), "frames_mask": frames_mask}


def side_chain_angles(aatype, positions, mask) -> dict:
    """Sines and cosines of chi 1 to chi 4 (batch, residues, 4, 2), and where they are known (batch, residues, 4)."""
    places = ops.reshape(lookup(residues.CHI_ATOMS, aatype), (*ops.shape(aatype), 16))
    points = ops.reshape(gather(positions, places), (*ops.shape(aatype), 4, 4, 3))
    known = ops.prod(ops.reshape(gather(mask, places), (*ops.shape(aatype), 4, 4)), axis=-1)
    rotations, origins = frames_of(points[..., 1, :], points[..., 2, :], points[..., 0, :])
    last = ops.matmul((points[..., 3, :] - origins)[..., None, :], rotations)[..., 0, :]
    angles = normalized(ops.stack([last[..., 2], last[..., 1]], axis=-1))
    return {"chi_sin_cos": angles, "chi_mask": known * lookup(residues.CHI_MASK, aatype)}


def atoms(aatype, positions, mask) -> dict:
    """Atoms in the layout of 14 places, under both namings of those that symmetry makes alike.

    `atom14`, `other_atom14` (batch, residues, 14, 3) with `atom14_mask`, `other_atom14_mask`, `ambiguous` and `exists`,
    where there is such an atom at all, (batch, residues, 14).
    """
    exists = lookup(residues.ATOM14_MASK, aatype)
    places = lookup(residues.ATOM14_TO_ATOM37, aatype)
    swapped = lookup(residues.ATOM14_SWAPPED, aatype)
    atom14_mask = gather(mask, places) * exists
    atom14 = gather(positions, places) * atom14_mask[..., None]
    return {
        "atom14": atom14, "atom14_mask": atom14_mask, "exists": exists, "ambiguous": lookup(_AMBIGUOUS, aatype),
        "other_atom14": gather(atom14, swapped), "other_atom14_mask": gather(atom14_mask, swapped),
    }  # fmt: skip


def of_structure(aatype, positions, mask) -> dict:
    """All of these for residues (batch, residues) of kinds `aatype`, positions (…, 37, 3) and mask (…, 37)."""
    aatype, positions, mask = ops.cast(aatype, "int32"), ops.cast(positions, "float32"), ops.cast(mask, "float32")
    points, points_mask = pseudo_beta(aatype, positions, mask)
    return {
        "aatype": aatype, "positions": positions, "mask": mask, "pseudo_beta": points, "pseudo_beta_mask": points_mask,
        **rigid_groups(aatype, positions, mask), **side_chain_angles(aatype, positions, mask),
        **atoms(aatype, positions, mask),
    }  # fmt: skip

"""Rigid frames of residues and of their groups of atoms: quaternions, torsion angles and positions of atoms.

A frame is (..., 3, 4): a rotation, and in the last column the origin. A pose is (..., 7): a unit quaternion, real part
first, and the origin. Lengths are in angstroms but for poses inside the structure module, whose unit is ten of them.
All of it is computed in float32.
"""

import keras
import numpy as np
from keras import layers, ops

from kzoo.layers import residues

POSITION_SCALE = 10.0  # angstroms in a unit of length of the structure module


def rotation(quaternion) -> keras.KerasTensor:
    """Unit quaternions (..., 4) as matrices (..., 3, 3)."""
    w, x, y, z = ops.unstack(quaternion, 4, axis=-1)
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return ops.stack([ops.stack(row, axis=-1) for row in rows], axis=-2)


def frame(rotations, origins) -> keras.KerasTensor:
    """Rotations (..., 3, 3) and origins (..., 3) as frames (..., 3, 4)."""
    return ops.concatenate([rotations, origins[..., None]], axis=-1)


def composed(outer, inner) -> keras.KerasTensor:
    """The frame of `inner`, which is given in that of `outer`; axes before the last two may be broadcast."""
    turned = ops.matmul(outer[..., :3], inner)
    return ops.concatenate([turned[..., :3], turned[..., 3:] + outer[..., 3:]], axis=-1)


def applied(frames, points) -> keras.KerasTensor:
    """Points (..., 3) of frames (..., 3, 4), in the space that the frames are in."""
    return ops.matmul(frames[..., :3], points[..., None])[..., 0] + frames[..., 3]


def applied_inverse(frames, points) -> keras.KerasTensor:
    """Points (..., 3), in frames (..., 3, 4)."""
    return ops.matmul(ops.swapaxes(frames[..., :3], -1, -2), (points - frames[..., 3])[..., None])[..., 0]


def frame_of_points(negative_x, origin, xy_plane) -> keras.KerasTensor:
    """Frames of three points (..., 3) each, by Gram and Schmidt: algorithm 21."""
    x = _normalized(origin - negative_x)
    y = xy_plane - origin
    y = _normalized(y - ops.sum(x * y, axis=-1, keepdims=True) * x)
    return frame(ops.stack([x, y, _cross(x, y)], axis=-1), origin)


def _normalized(x):
    return x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-8)


def _cross(a, b):
    (ax, ay, az), (bx, by, bz) = (ops.unstack(x, 3, axis=-1) for x in (a, b))
    return ops.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def looked_up(table, kinds) -> keras.KerasTensor:
    """Rows of a table of `kzoo.layers.residues` for kinds of residues; any above the last is unknown."""
    return ops.take(ops.convert_to_tensor(table), ops.minimum(ops.cast(kinds, "int32"), len(table) - 1), axis=0)


def pseudo_beta(aatype, positions, mask=None) -> keras.KerasTensor | tuple:
    """Where each residue's side chain begins: C beta, or C alpha of glycine.

    Args:
        aatype: (..., residues) kinds of residues.
        positions: (..., residues, 37, 3).
        mask: (..., residues, 37), 1 where the position of an atom is known.

    Returns positions (..., residues, 3), and with a mask also which of them are known, (..., residues).
    """
    is_glycine = ops.equal(aatype, residues.LETTERS.index("G"))
    alpha, beta = (residues.ATOM37.index(name) for name in ("CA", "CB"))
    found = ops.where(is_glycine[..., None], positions[..., alpha, :], positions[..., beta, :])
    return found if mask is None else (found, ops.where(is_glycine, mask[..., alpha], mask[..., beta]))


def torsion_angles(aatype, positions, mask) -> tuple:
    """Sines and cosines of the torsion angles of residues in known positions.

    Args:
        aatype: (batch, residues) kinds of residues.
        positions: (batch, residues, 37, 3).
        mask: (batch, residues, 37), 1 where the position of an atom is known.

    Returns (batch, residues, 7, 2), sine and cosine of omega before the residue, phi, psi, chi 1 to chi 4, and (batch,
    residues, 7), 1 where an angle is known.
    """
    before, mask_before = (
        ops.concatenate([ops.zeros_like(x[:, :1]), x[:, :-1]], axis=1) for x in (positions, mask)
    )  # the residue before; the first one has none
    n, ca, c, o = (residues.ATOM37.index(name) for name in ("N", "CA", "C", "O"))
    atoms = [
        [(before, ca), (before, c), (positions, n), (positions, ca)],
        [(before, c), (positions, n), (positions, ca), (positions, c)],
        [(positions, n), (positions, ca), (positions, c), (positions, o)],
    ]
    backbone = ops.stack([ops.stack([x[:, :, atom] for x, atom in four], axis=2) for four in atoms], axis=2)
    masks = {id(before): mask_before, id(positions): mask}
    known = [ops.prod(ops.stack([masks[id(x)][:, :, atom] for x, atom in four], axis=2), axis=2) for four in atoms]
    chosen = ops.one_hot(looked_up(residues.CHI_ATOMS, aatype), 37, dtype=positions.dtype)  # ..., 4, 4, 37
    chis = ops.einsum("bncka,bnax->bnckx", chosen, positions)
    known_chis = ops.prod(ops.einsum("bncka,bna->bnck", chosen, mask), axis=-1) * looked_up(residues.CHI_MASK, aatype)
    four = ops.concatenate([backbone, chis], axis=2)  # batch, residues, 7, 4, 3
    frames = frame_of_points(four[..., 1, :], four[..., 2, :], four[..., 0, :])
    last = applied_inverse(frames, four[..., 3, :])
    angles = ops.stack([last[..., 2], last[..., 1]], axis=-1)
    angles = angles / ops.sqrt(ops.sum(ops.square(angles), axis=-1, keepdims=True) + 1e-8)
    # psi is measured from the oxygen, which is opposite to the next residue
    angles = angles * np.array([1, 1, -1, 1, 1, 1, 1], "float32")[:, None]
    # Along a line, as before the first residue, the reference makes angles of rounding errors; here they are zeros.
    sides = [four[..., 2, :] - four[..., end, :] for end in (0, 1)]
    bent, *lengths = (ops.sum(ops.square(x), axis=-1) for x in (_cross(*sides), *sides))
    angles = angles * ops.cast(bent > 1e-8 * lengths[0] * lengths[1], angles.dtype)[..., None]
    return angles, ops.concatenate([ops.stack(known, axis=2), known_chis], axis=2)


def frames_of_groups(aatype, backbone, angles) -> keras.KerasTensor:
    """Frames of the eight rigid groups of residues: algorithm 24, lines 1 to 10.

    Args:
        aatype: (batch, residues) kinds of residues.
        backbone: (batch, residues, 3, 4) frames of backbones, in angstroms.
        angles: (batch, residues, 7, 2) sines and cosines, as `torsion_angles` orders them.

    Returns (batch, residues, 8, 3, 4).
    """
    sines, cosines = angles[..., 0], angles[..., 1]
    zero, one = ops.zeros_like(sines[..., :1]), ops.ones_like(sines[..., :1])
    sines, cosines = ops.concatenate([zero, sines], axis=-1), ops.concatenate([one, cosines], axis=-1)
    default = looked_up(residues.GROUP_FRAMES[:, :, :3], aatype)  # batch, residues, 8, 3, 4
    x, y, z, origin = ops.unstack(default, 4, axis=-1)
    sines, cosines = sines[..., None], cosines[..., None]
    turned = ops.stack([x, y * cosines + z * sines, z * cosines - y * sines, origin], axis=-1)
    groups = [turned[:, :, index] for index in range(8)]
    for index in (5, 6, 7):  # of chi 2 to chi 4, each in the frame of the one before
        groups[index] = composed(groups[index - 1], groups[index])
    return composed(backbone[:, :, None], ops.stack(groups, axis=2))


def positions_of_atoms(aatype, frames) -> keras.KerasTensor:
    """Ideal atoms in frames of groups (batch, residues, 8, 3, 4), as atom14 (batch, residues, 14, 3): line 11."""
    group = ops.one_hot(looked_up(residues.ATOM14_GROUP, aatype), 8, dtype=frames.dtype)
    chosen = ops.reshape(frames, (*ops.shape(frames)[:3], 12))
    chosen = ops.reshape(ops.matmul(group, chosen), (*ops.shape(group)[:3], 3, 4))
    found = applied(chosen, looked_up(residues.ATOM14_POSITIONS, aatype))
    return found * looked_up(residues.ATOM14_MASK, aatype)[..., None]


@keras.saving.register_keras_serializable("kzoo")
class InitialPoses(layers.Layer):
    """All residues at the origin, unturned: algorithm 20, line 4.

    Call argument: padding_mask (batch, residues). Returns poses (batch, residues, 7).
    """

    def call(self, padding_mask) -> keras.KerasTensor:
        identity = ops.convert_to_tensor(np.array([1, 0, 0, 0, 0, 0, 0], self.compute_dtype))
        return ops.ones_like(padding_mask)[..., None] * identity

    def compute_output_shape(self, padding_mask_shape) -> tuple:
        return (*padding_mask_shape, 7)


@keras.saving.register_keras_serializable("kzoo")
class MovedPoses(layers.Layer):
    """Poses moved and turned by an update in their own frames: algorithm 23 and algorithm 20, line 10.

    Call arguments: poses (batch, residues, 7) and update (batch, residues, 6), the imaginary part of a quaternion whose
    real part is 1, and the motion. Returns poses; no gradient flows back through the rotations that came in.
    """

    def call(self, poses, update) -> keras.KerasTensor:
        quaternion = ops.stop_gradient(poses[..., :4])
        w, x, y, z = ops.unstack(quaternion, 4, axis=-1)
        a, b, c = ops.unstack(update[..., :3], 3, axis=-1)
        turn = ops.stack(
            [-x * a - y * b - z * c, w * a + y * c - z * b, w * b + z * a - x * c, w * c + x * b - y * a], axis=-1
        )
        turned = quaternion + turn
        turned = turned / ops.sqrt(ops.sum(ops.square(turned), axis=-1, keepdims=True))
        moved = poses[..., 4:] + ops.matmul(rotation(quaternion), update[..., 3:, None])[..., 0]
        return ops.concatenate([turned, moved], axis=-1)

    def compute_output_shape(self, poses_shape, update_shape) -> tuple:
        return poses_shape


@keras.saving.register_keras_serializable("kzoo")
class FramesOfPoses(layers.Layer):
    """Poses of several layers as frames in angstroms.

    Call argument: a list of poses (batch, residues, 7). Returns (batch, layers, residues, 3, 4).
    """

    def call(self, poses) -> keras.KerasTensor:
        poses = ops.stack(poses, axis=1)
        return frame(rotation(poses[..., :4]), poses[..., 4:] * POSITION_SCALE)

    def compute_output_shape(self, poses_shape) -> tuple:
        batch, length, _ = poses_shape[0]
        return (batch, len(poses_shape), length, 3, 4)


@keras.saving.register_keras_serializable("kzoo")
class StackedAngles(layers.Layer):
    """Torsion angles of several layers, a list of (batch, residues, 14), as (batch, layers, residues, 7, 2)."""

    def call(self, angles) -> keras.KerasTensor:
        angles = ops.stack(angles, axis=1)
        return ops.reshape(angles, (*ops.shape(angles)[:3], 7, 2))

    def compute_output_shape(self, angles_shape) -> tuple:
        batch, length, _ = angles_shape[0]
        return (batch, len(angles_shape), length, 7, 2)


@keras.saving.register_keras_serializable("kzoo")
class UnitVectors(layers.Layer):
    """The last axis at length 1, such as sines and cosines of angles; unlike Keras's, with a gradient at zero."""

    def call(self, x) -> keras.KerasTensor:
        return x / ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-12))

    def compute_output_shape(self, x_shape) -> tuple:
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class GroupFrames(layers.Layer):
    """`frames_of_groups` of the last of several layers.

    Call arguments: aatype (batch, residues), frames (batch, layers, residues, 3, 4) and angles (batch, layers,
    residues, 7, 2).
    """

    def call(self, aatype, frames, angles) -> keras.KerasTensor:
        return frames_of_groups(aatype, frames[:, -1], angles[:, -1])

    def compute_output_shape(self, aatype_shape, frames_shape, angles_shape) -> tuple:
        return (*aatype_shape, 8, 3, 4)


@keras.saving.register_keras_serializable("kzoo")
class AtomPositions(layers.Layer):
    """`positions_of_atoms`: (batch, residues, 14, 3), zeros where a residue has no such atom or is no real one.

    Call arguments: aatype (batch, residues), padding_mask (batch, residues) and frames (batch, residues, 8, 3, 4).
    """

    def call(self, aatype, padding_mask, frames) -> keras.KerasTensor:
        return positions_of_atoms(aatype, frames) * padding_mask[..., None, None]

    def compute_output_shape(self, aatype_shape, padding_mask_shape, frames_shape) -> tuple:
        return (*aatype_shape, 14, 3)


@keras.saving.register_keras_serializable("kzoo")
class AtomMask(layers.Layer):
    """Which of the 37 atoms each residue has: (batch, residues, 37).

    Call arguments: aatype (batch, residues) and padding_mask (batch, residues).
    """

    def call(self, aatype, padding_mask) -> keras.KerasTensor:
        return looked_up(residues.ATOM37_MASK, aatype) * padding_mask[..., None]

    def compute_output_shape(self, aatype_shape, padding_mask_shape) -> tuple:
        return (*aatype_shape, 37)


@keras.saving.register_keras_serializable("kzoo")
class Atom37(layers.Layer):
    """Positions of atom14 (batch, residues, 14, 3) in the layout of atom37 (batch, residues, 37, 3).

    Call arguments: aatype (batch, residues), atom_mask (batch, residues, 37), and positions.
    """

    def call(self, aatype, atom_mask, positions) -> keras.KerasTensor:
        index = looked_up(residues.ATOM37_TO_ATOM14, aatype)
        return ops.matmul(ops.one_hot(index, 14, dtype=positions.dtype), positions) * atom_mask[..., None]

    def compute_output_shape(self, aatype_shape, atom_mask_shape, positions_shape) -> tuple:
        return (*aatype_shape, 37, 3)

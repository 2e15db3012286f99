"""Where predicted atoms break what is known of bonds, angles and the room that atoms need.

Jumper et al. 2021, supplementary section 1.9.11, equations 44 to 47. Arrays are as in `ground_truth`.
"""

from typing import Any

import numpy as np
from keras import ops

from kzoo.layers.residues import ATOM14, ATOM14_MASK, NAMES, VAN_DER_WAALS
from kzoo.tasks.protein_structure.ground_truth import PROLINE, lookup
from kzoo.tasks.protein_structure.stereochemistry import distance_bounds
from kzoo.tasks.protein_structure.structure_losses import distances, each_atom

OVERLAP = 1.5  # angstroms that atoms may come into each other
DEVIATIONS = 12.0  # standard deviations that bonds and angles may differ
# of the bond from C to the next residue's N, and to that of proline: length and deviation in angstroms
BOND = (1.329, 0.014), (1.341, 0.016)
# cosines and their deviations of the angles CA-C-N and C-N-CA about that bond
ANGLES = (-0.4473, 0.0311), (-0.5203, 0.0353)
_N, _CA, _C = range(3)  # in the layout of 14 places
_RADII = np.array([[VAN_DER_WAALS[atom[0]] if atom else 0 for atom in atoms] for atoms in ATOM14], "float32")
_SULPHUR = ATOM14[NAMES.index("CYS")].index("SG")


def _length(x):
    return ops.sqrt(1e-6 + ops.sum(ops.square(x), axis=-1))


def _beyond(found, wanted, deviation, mask):
    """Mean of the errors beyond what is allowed, and where they are."""
    error = ops.sqrt(1e-6 + ops.square(found - wanted))
    over = ops.relu(error - DEVIATIONS * deviation)
    return ops.sum(mask * over, axis=-1) / (ops.sum(mask, axis=-1) + 1e-6), mask * ops.cast(over > 0, "float32")


def between_neighbours(atom14, truth, residue_index) -> tuple:
    """Errors of the peptide bonds and of the two angles about each, each (batch,), and which residues they are of."""
    exists, aatype = truth["exists"], truth["aatype"]
    follows = ops.cast(ops.equal(residue_index[:, 1:] - residue_index[:, :-1], 1), "float32")
    ca, c, n, next_ca = atom14[:, :-1, _CA], atom14[:, :-1, _C], atom14[:, 1:, _N], atom14[:, 1:, _CA]
    has_ca, has_c, has_n, has_next = exists[:, :-1, _CA], exists[:, :-1, _C], exists[:, 1:, _N], exists[:, 1:, _CA]
    proline = ops.cast(ops.equal(aatype[:, 1:], PROLINE), "float32")
    usual, of_proline = BOND
    mean, deviation = ((1 - proline) * one + proline * other for one, other in zip(usual, of_proline, strict=True))
    bond = _length(n - c)
    to_ca, to_n = (ca - c) / _length(ca - c)[..., None], (n - c) / bond[..., None]
    onward = (next_ca - n) / _length(next_ca - n)[..., None]
    found = (
        _beyond(bond, mean, deviation, has_c * has_n * follows),
        _beyond(ops.sum(to_ca * to_n, axis=-1), *ANGLES[0], has_ca * has_c * has_n * follows),
        _beyond(ops.sum(-to_n * onward, axis=-1), *ANGLES[1], has_c * has_n * has_next * follows),
    )
    errors, places = zip(*found, strict=True)
    worst = ops.max(ops.stack(places), axis=0)
    of_residues = ops.maximum(ops.pad(worst, ((0, 0), (0, 1))), ops.pad(worst, ((0, 0), (1, 0))))
    return errors, of_residues


def clashes(atom14, truth, residue_index) -> tuple:
    """How far atoms of different residues come into each other, summed for each atom, and which residues do so.

    Neither the peptide bond nor a bridge of two sulphurs is a clash. Returns (batch, residues, 14), (batch, residues).
    """
    exists, radii = each_atom(truth["exists"]), each_atom(lookup(_RADII, truth["aatype"]))
    place = ops.repeat(residue_index, 14, axis=1)
    kinds = np.eye(14, dtype="float32")
    is_c, is_n = (ops.tile(kinds[atom][None], (1, ops.shape(residue_index)[1])) for atom in (_C, _N))
    is_sulphur = ops.tile(kinds[_SULPHUR][None], (1, ops.shape(residue_index)[1]))

    def pairs(one, other):
        return one[:, :, None] * other[:, None]

    follows = ops.cast(ops.equal(place[:, :, None] + 1, place[:, None]), "float32")
    mask = pairs(exists, exists) * ops.cast(place[:, :, None] < place[:, None], "float32")
    mask = mask * (1 - follows * pairs(is_c, is_n)) * (1 - pairs(is_sulphur, is_sulphur))
    least = radii[:, :, None] + radii[:, None] - OVERLAP
    short = mask * ops.relu(least - distances(atom14))
    each = ops.reshape(ops.sum(short, axis=1) + ops.sum(short, axis=2), ops.shape(truth["exists"]))
    return each, ops.cast(ops.max(each, axis=-1) > 0, "float32")


def within_residues(atom14, truth) -> tuple:
    """How far distances within each residue are beyond their bounds, summed for each atom, and which residues do so."""
    lower, upper = (lookup(table, truth["aatype"]) for table in distance_bounds(OVERLAP, DEVIATIONS))
    exists = truth["exists"]
    mask = exists[..., :, None] * exists[..., None, :] * (1 - np.eye(14, dtype="float32"))
    found = ops.sqrt(1e-10 + ops.sum(ops.square(atom14[:, :, :, None] - atom14[:, :, None]), axis=-1))
    beyond = mask * (ops.relu(lower - found) + ops.relu(found - upper))
    each = ops.sum(beyond, axis=-2) + ops.sum(beyond, axis=-1)
    return each, ops.cast(ops.max(each, axis=-1) > 0, "float32")


def violation_loss(atom14, truth, residue_index) -> Any:
    """All of these in one number for each example, (batch,).

    Args:
        atom14: predicted (batch, residues, 14, 3).
        residue_index: (batch, residues).
    """
    errors, _ = between_neighbours(atom14, truth, residue_index)
    each = clashes(atom14, truth, residue_index)[0] + within_residues(atom14, truth)[0]
    return sum(errors) + ops.sum(each, axis=(1, 2)) / (1e-6 + ops.sum(truth["exists"], axis=(1, 2)))


def violating(atom14, truth, residue_index) -> Any:
    """Which residues break anything, (batch, residues), 1 or 0."""
    found = (
        between_neighbours(atom14, truth, residue_index)[1], clashes(atom14, truth, residue_index)[1],
        within_residues(atom14, truth)[1],
    )  # fmt: skip
    return ops.max(ops.stack(found), axis=0)


def padded_exists(truth, seq_mask) -> dict:
    """The truth, in which what is padded has no atoms."""
    return {**truth, "exists": lookup(ATOM14_MASK, truth["aatype"]) * seq_mask[..., None]}

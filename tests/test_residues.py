"""Tables of amino acids and atoms, against digests of DeepMind's (scripts/golden/residues.py)."""

import hashlib
import json

import numpy as np
import pytest
from golden_files import GOLDEN

from kzoo.layers import residues

WANTED = json.loads((GOLDEN / "residues.json").read_text())


@pytest.mark.parametrize("table", WANTED)
def test_tables_are_deepminds(table):
    array = getattr(residues, table)
    array = np.round(array, 5) if table == "GROUP_FRAMES" else array
    assert hashlib.sha256((array + np.zeros((), array.dtype)).tobytes()).hexdigest() == WANTED[table]


def test_letters_names_and_layouts_agree():
    assert residues.LETTERS == "ARNDCQEGHILKMFPSTWYVX-"
    assert residues.NAMES[:3] == ("ALA", "ARG", "ASN") and residues.NAMES[residues.UNKNOWN] == "UNK"
    assert residues.LETTERS[residues.GAP] == "-" and len(residues.ATOM37) == 37
    there, back = residues.ATOM14_TO_ATOM37, residues.ATOM37_TO_ATOM14
    kinds, places = np.nonzero(residues.ATOM14_MASK)
    np.testing.assert_array_equal(back[kinds, there[kinds, places]], places)
    assert residues.ATOM14_MASK.sum() == residues.ATOM37_MASK.sum() == 167


def test_atoms_that_symmetry_swaps_turn_by_pi():
    tyrosine = residues.NAMES.index("TYR")
    atoms = residues.ATOM14[tyrosine]
    swapped = [atoms[place] for place in residues.ATOM14_SWAPPED[tyrosine]]
    assert [pair for pair in zip(atoms, swapped, strict=True) if pair[0] != pair[1]] == [
        ("CD1", "CD2"), ("CD2", "CD1"), ("CE1", "CE2"), ("CE2", "CE1")
    ]  # fmt: skip
    np.testing.assert_array_equal(
        (np.arange(14) != residues.ATOM14_SWAPPED).any(axis=1), residues.CHI_PI_PERIODIC.any(axis=1)
    )


def test_frames_of_groups_are_rotations_and_origins():
    frames = residues.GROUP_FRAMES[:20][residues.GROUP_MASK[:20] > 0].astype(float)
    rotations = frames[:, :3, :3]
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3) + 0 * rotations, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-6)

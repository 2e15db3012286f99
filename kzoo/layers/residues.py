"""Tables of amino acids and their atoms, as networks that predict structures of proteins number them.

Kinds of residues are numbered in the order of `LETTERS`: the 20 amino acids by their three-letter names (`NAMES`), then
X for an unknown one, and in alignments a gap. Rows of the tables below are those 20 and the unknown one, which has no
atoms. Heavy atoms stand in one of two layouts: `atom37` has a place for every name that an atom has in some residue
(`ATOM37`), `atom14` the atoms of this residue alone, in an order of its own (`ATOM14`).

A residue is eight rigid groups (Jumper et al. 2021, supplement, table 2): 0 the backbone, 1 and 2 those that turn with
omega and phi and hold no heavy atom, 3 the oxygen that turns with psi, 4 to 7 those that turn with chi 1 to chi 4. In a
group's own frame the atom at the end of the axis it turns about is the origin and that axis is x. `residues.json` has
each atom's group and ideal position, in angstroms: the numbers are those of AlphaFold's residue_constants, Copyright
2021 DeepMind Technologies Limited, Apache License 2.0, after Engh & Huber's geometry. All else is computed from them.
"""

import json
import pathlib

import numpy as np

_DATA = json.loads(pathlib.Path(__file__).with_name("residues.json").read_text())
_RESIDUES = _DATA["residues"]

# names and numbers of the 20 amino acids, X and the gap
LETTERS = "".join(row["letter"] for row in _RESIDUES.values()) + "X-"
NAMES = (*_RESIDUES, "UNK")
UNKNOWN, GAP, MASKED = 20, 21, 22
# the numbers here of what HHblits numbers alphabetically, ACDEFGHIKLMNPQRSTVWYX-
FROM_HHBLITS = np.array([LETTERS.index(letter) for letter in [*sorted(LETTERS[:20]), "X", "-"]], "int32")

ATOM37 = tuple(_DATA["atom37"].split())
ATOM14 = tuple((*row["atoms"], *[""] * (14 - len(row["atoms"]))) for row in (*_RESIDUES.values(), {"atoms": {}}))
# pairs of atoms that symmetry makes alike, so that either may have the other's name: {residue: {atom: atom}}
SWAPS = {name: row["swaps"] for name, row in _RESIDUES.items() if row["swaps"]}
VAN_DER_WAALS = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}  # angstroms, by the first letter of an atom's name

# (21, 14) the place in atom37 of each atom of atom14, 0 without one; (21, 37) the other way; where there are atoms
ATOM14_TO_ATOM37 = np.array([[ATOM37.index(a) if a else 0 for a in atoms] for atoms in ATOM14], "int32")
ATOM37_TO_ATOM14 = np.array([[atoms.index(a) if a in atoms else 0 for a in ATOM37] for atoms in ATOM14], "int32")
ATOM14_MASK = np.array([[bool(a) for a in atoms] for atoms in ATOM14], "float32")
ATOM37_MASK = np.array([[a in atoms for a in ATOM37] for atoms in ATOM14], "float32")


def _chis(name):
    """The four atoms of each chi angle: every run of four along the side chain."""
    chain = _RESIDUES[name]["chain"].split() if name in _RESIDUES else []
    return [chain[i : i + 4] for i in range(len(chain) - 3)]


# (21, 4, 4) the places in atom37 of the atoms of each chi angle, 0 without one; (21, 4) where there is one
CHI_ATOMS = np.zeros((21, 4, 4), "int32")
CHI_MASK = np.zeros((21, 4), "float32")
# (21, 4) where turning by pi gives the same residue: the last chi of those with atoms to swap
CHI_PI_PERIODIC = np.zeros((21, 4), "float32")
# (21, 14) the atom of atom14 that has the same name after a swap, itself for most
ATOM14_SWAPPED = np.tile(np.arange(14, dtype="int32"), (21, 1))
# (21, 14) each atom's group, and (21, 14, 3) its position there
ATOM14_GROUP = np.zeros((21, 14), "int32")
ATOM14_POSITIONS = np.zeros((21, 14, 3), "float32")
# (21, 8) where there is such a group, and (21, 8, 3) the places in atom37 of the atoms that its frame is built from:
# on the negative x axis, at the origin, and in the xy plane
GROUP_MASK = np.zeros((21, 8), "float32")
GROUP_ATOMS = np.zeros((21, 8, 3), "int32")
GROUP_MASK[:, [0, 3]] = 1
GROUP_ATOMS[:, [0, 3]] = [[ATOM37.index(a) for a in atoms] for atoms in (("C", "CA", "N"), ("CA", "C", "O"))]
# (21, 8, 4, 4) the frame of each group, all angles zero, in that of the group it hangs on, which is the backbone up to
# chi 1 and the chi before after that; zeros without a group
GROUP_FRAMES = np.zeros((21, 8, 4, 4), "float32")


def _frame(x, y, origin):
    """A frame (4, 4) whose x axis points along `x` and whose xy plane holds `y`."""
    x = x / np.linalg.norm(x)
    y = y - np.dot(y, x) * x
    y = y / np.linalg.norm(y)
    return np.block([[np.stack([x, y, np.cross(x, y), origin], axis=1)], [np.array([0.0, 0, 0, 1])]])


def _fill(kind, name):
    atoms = _RESIDUES[name]["atoms"]
    place = {atom: np.array(where) for atom, (_, *where) in atoms.items()}
    for index, (group, *where) in enumerate(atoms.values()):
        ATOM14_GROUP[kind, index], ATOM14_POSITIONS[kind, index] = group, where
    n, ca, c = (place[atom] for atom in ("N", "CA", "C"))
    GROUP_FRAMES[kind, :2] = np.eye(4)
    GROUP_FRAMES[kind, 2] = _frame(n - ca, np.array([1.0, 0, 0]), n)
    GROUP_FRAMES[kind, 3] = _frame(c - ca, ca - n, c)
    for index, chi in enumerate(_chis(name)):
        CHI_MASK[kind, index] = GROUP_MASK[kind, 4 + index] = 1
        CHI_ATOMS[kind, index] = [ATOM37.index(atom) for atom in chi]
        GROUP_ATOMS[kind, 4 + index] = CHI_ATOMS[kind, index, 1:]
        before, begin, end = (place[atom] for atom in chi[:3])
        # every further axis begins at the origin of the group it hangs on
        x, y = (end - begin, before - begin) if index == 0 else (end, np.array([-1.0, 0, 0]))
        GROUP_FRAMES[kind, 4 + index] = _frame(x, y, end)
    for one, other in SWAPS.get(name, {}).items():
        pair = [ATOM14[kind].index(atom) for atom in (one, other)]
        ATOM14_SWAPPED[kind, pair] = pair[::-1]
        CHI_PI_PERIODIC[kind, len(_chis(name)) - 1] = 1


for _kind, _name in enumerate(_RESIDUES):
    _fill(_kind, _name)

"""Makes kzoo/layers/residues.json from DeepMind's residue_constants, and tests/golden/residues.json to check it by.

With DeepMind's `alphafold` 2.0.0 as deepmind.py says: `python scripts/golden/residues.py`.
"""

import hashlib
import json
import pathlib

import deepmind  # noqa: F401  it comes before the package
import numpy as np
from alphafold.common import residue_constants as there
from alphafold.model import all_atom

ROOT = pathlib.Path(__file__).parents[2]


def table():
    residues = {}
    for letter in there.restypes:
        name = there.restype_1to3[letter]
        atoms = {atom: [group, *(float(x) + 0.0 for x in place)]
                 for atom, group, place in there.rigid_group_atom_positions[name]}  # fmt: skip
        order = [atom for atom in there.restype_name_to_atom14_names[name] if atom]
        chis = there.chi_angles_atoms[name]
        chain = [*chis[0], *(chi[3] for chi in chis[1:])] if chis else []
        assert [chain[i : i + 4] for i in range(len(chis))] == chis
        swaps = there.residue_atom_renaming_swaps.get(name, {})
        residues[name] = {"letter": letter, "chain": " ".join(chain), "swaps": swaps,
                          "atoms": {atom: atoms[atom] for atom in order}}  # fmt: skip
    lines = ",\n".join(f'    "{name}": {json.dumps(row)}' for name, row in residues.items())
    source = (
        "Atoms of each rigid group and their ideal positions in angstroms, from residue_constants.py of AlphaFold "
        "2.0.0. Copyright 2021 DeepMind Technologies Limited. Licensed under the Apache License, Version 2.0, "
        "http://www.apache.org/licenses/LICENSE-2.0; distributed on an AS IS basis, without warranties of any kind. "
        "Changed from Python to JSON, atoms in the order of atom14."
    )
    head = f'{{\n  "source": {json.dumps(source)},\n  "atom37": {json.dumps(" ".join(there.atom_types))},\n'
    return f'{head}  "residues": {{\n{lines}\n  }}\n}}\n'


def digest(array, dtype):
    """A sha256 of an array's values; -0.0 is 0.0."""
    return hashlib.sha256((np.asarray(array).astype(dtype) + np.zeros((), dtype)).tobytes()).hexdigest()


def answers():
    unknown = [[0.0] * 4]
    to_atom37 = np.array([[there.atom_order[atom] if atom else 0 for atom in atoms]
                          for atoms in there.restype_name_to_atom14_names.values()])  # fmt: skip
    to_atom14 = np.array([[max(atoms.index(atom), 0) if atom in atoms else 0 for atom in there.atom_types]
                          for atoms in there.restype_name_to_atom14_names.values()])  # fmt: skip
    return {
        "ATOM37_MASK": digest(there.restype_atom37_mask, "float32"),
        "ATOM14_MASK": digest(there.restype_atom14_mask, "float32"),
        "ATOM14_TO_ATOM37": digest(to_atom37, "int32"),
        "ATOM37_TO_ATOM14": digest(to_atom14, "int32"),
        "ATOM14_GROUP": digest(there.restype_atom14_to_rigid_group, "int32"),
        "ATOM14_POSITIONS": digest(there.restype_atom14_rigid_group_positions, "float32"),
        "GROUP_FRAMES": digest(np.round(there.restype_rigid_group_default_frame, 5), "float32"),
        "CHI_ATOMS": digest(all_atom.get_chi_atom_indices(), "int32"),
        "CHI_MASK": digest([*there.chi_angles_mask, *unknown], "float32"),
        "CHI_PI_PERIODIC": digest(there.chi_pi_periodic, "float32"),
        "FROM_HHBLITS": digest(there.MAP_HHBLITS_AATYPE_TO_OUR_AATYPE, "int32"),
    }


if __name__ == "__main__":
    (ROOT / "kzoo" / "layers" / "residues.json").write_text(table())
    (ROOT / "tests" / "golden" / "residues.json").write_text(json.dumps(answers(), indent=2) + "\n")

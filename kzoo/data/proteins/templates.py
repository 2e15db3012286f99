"""Known structures of relatives of a chain as features, at the residues of the chain that they stand for."""

import numpy as np

from kzoo.data.proteins import protein_sequences
from kzoo.layers.residues import ATOM37, GAP

_CA, _CB, _GLYCINE = ATOM37.index("CA"), ATOM37.index("CB"), protein_sequences.KNOWN.index("G")
MOST = 4  # templates that a network was trained with


def features(protein, found) -> dict:
    """Features by DeepMind's names of a chain and of templates, pairs (Structure, place of each residue of the chain).

    Args:
        found: for each template its `Structure` and int (residues,), the place there of what stands for each residue
            of the chain, or -1.
    """
    length, count = len(protein.sequence), len(found)
    kinds = np.full((count, length), GAP, np.int32)
    positions = np.zeros((count, length, 37, 3), np.float32)
    masks = np.zeros((count, length, 37), np.float32)
    for row, (structure, places) in enumerate(found):
        there = places >= 0
        ids = protein_sequences.make(structure.name, structure.sequence).ids
        kinds[row, there] = ids[places[there]]
        positions[row, there], masks[row, there] = structure.positions[places[there]], structure.mask[places[there]]
    is_glycine = kinds == _GLYCINE
    beta = np.where(is_glycine[..., None], positions[:, :, _CA], positions[:, :, _CB])
    return {
        "template_aatype": kinds, "template_all_atom_positions": positions, "template_all_atom_masks": masks,
        "template_mask": np.ones(count, np.float32), "template_pseudo_beta": beta,
        "template_pseudo_beta_mask": np.where(is_glycine, masks[..., _CA], masks[..., _CB]),
    }  # fmt: skip


def aligned(protein, structure) -> np.ndarray:
    """The place in a structure of what stands for each residue of a chain, int (residues,), -1 where nothing does.

    By a global alignment of both sequences with the scores of BLOSUM62, as gemmi makes it.
    """
    import gemmi

    names = [[gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) or "UNK" for letter in each.sequence]
             for each in (protein, structure)]  # fmt: skip
    found = gemmi.align_string_sequences(*names, [], gemmi.AlignmentScoring("b"))
    places, one, other = np.full(len(protein.sequence), -1), 0, 0
    rows = (found.add_gaps(each.sequence, row) for row, each in enumerate((protein, structure), 1))
    for left, right in zip(*rows, strict=True):
        if left != "-" and right != "-":
            places[one] = other
        one, other = one + (left != "-"), other + (right != "-")
    return places

"""Chains whose structures are known: how near predictions come to them."""

import keras
import numpy as np

from kzoo.generation import recycling
from kzoo.tasks.protein_structure import head_losses, learning, similarity
from kzoo.tasks.protein_structure.confidence import plddt
from kzoo.tasks.protein_structure.ground_truth import CA
from kzoo.tasks.reading import first_batch

LIKENESS = ("tm_score", "gdt_ts", "lddt_all_atoms")


def measured(model, split) -> dict:
    """Means over the chains of a split, each folded with as many recycles as are usual.

    `loss` and `distogram_loss`, `lddt` of C-alphas and of all atoms that are known, TM-score and GDT-TS of C-alphas.
    """
    found = []
    for x, y in split.as_it_is().dataset:
        outputs = _outputs(model, x)
        parts = learning.parts(outputs, x, y)
        losses = keras.ops.convert_to_numpy(learning.total(parts))
        distances = keras.ops.convert_to_numpy(
            head_losses.distogram(outputs["distogram"], y["pseudo_beta"], y["pseudo_beta_mask"])
        )
        for row, loss, distance in zip(_rows(outputs, x, y), losses, distances, strict=True):
            found.append({"loss": loss, "distogram_loss": distance, **row})
    names = ("loss", "lddt", "distogram_loss", *LIKENESS)
    return {name: float(np.mean([row[name] for row in found])) for name in names}


def _outputs(model, x):
    given = {name: values for name, values in x.items() if name != "num_recycles"}
    return recycling.recycled(model, lambda index: given, recycling.RECYCLES)[0]


def _rows(outputs, x, y):
    """A row of numbers for each chain of a batch."""
    near = keras.ops.convert_to_numpy(learning.lddt_of(outputs, y))
    x, y, outputs = (keras.tree.map_structure(keras.ops.convert_to_numpy, part) for part in (x, y, outputs))
    rows = []
    for place, mask in enumerate(y["mask"]):
        predicted, true = outputs["final_atom_positions"][place], y["positions"][place]
        known, atoms = mask[:, CA] > 0, (mask * outputs["final_atom_mask"][place]) > 0
        pair, residue = (predicted[known, CA], true[known, CA]), np.nonzero(atoms)[0]
        all_atoms = similarity.lddt(
            predicted[atoms][None], true[atoms][None], np.ones((1, len(residue)), "float32"), groups=residue[None]
        )
        length = int(x["seq_mask"][place].sum())
        rows.append({
            "residues": length, "lddt": float(near[place]), "lddt_all_atoms": float(all_atoms[0]),
            "tm_score": similarity.tm_score(*pair), "gdt_ts": similarity.gdt_ts(*pair),
            "plddt": float(plddt(outputs["predicted_lddt"][place, :length]).mean()),
        })  # fmt: skip
    return rows


def rows(model, data, split, limit) -> list:
    """A row for each of the first chains of a split, with how near its prediction is."""
    x, y, _ = first_batch(data, split, limit)
    source = getattr(data, split)
    names = [source.finish.structures[place].name for place in np.asarray(source.rows[0])[:limit]]
    found = _rows(_outputs(model, x), x, y)
    return [{"example": index, "name": name, **row} for index, (name, row) in enumerate(zip(names, found, strict=True))]

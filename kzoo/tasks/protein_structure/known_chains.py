"""Chains whose structures are known: how near predictions come to them."""

import keras
import numpy as np

from kzoo.layers.residues import ATOM37
from kzoo.tasks.protein_structure import similarity
from kzoo.tasks.protein_structure.confidence import plddt
from kzoo.tasks.protein_structure.learning import lddt_of
from kzoo.tasks.reading import first_batch

_CA = ATOM37.index("CA")


def scores(trainee, split) -> dict:
    """Means over the chains of a split: `tm_score`, `gdt_ts` and `lddt_all_atoms`."""
    found = []
    for x, y in split.as_it_is().dataset:
        found += _of_batch(_outputs(trainee, x), x, y)
    return {name: float(np.mean([row[name] for row in found])) for name in ("tm_score", "gdt_ts", "lddt_all_atoms")}


def _outputs(trainee, x):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, trainee.runner.predict_on_batch(x))


def _of_batch(outputs, x, y):
    """A row of numbers for each chain of a batch."""
    x, y = (keras.tree.map_structure(np.asarray, part) for part in (x, y))
    near = keras.ops.convert_to_numpy(lddt_of(outputs, y))
    rows = []
    for place, mask in enumerate(y["mask"]):
        predicted, true = outputs["final_atom_positions"][place], y["positions"][place]
        known, atoms = mask[:, _CA] > 0, (mask * outputs["final_atom_mask"][place]) > 0
        pair, residue = (predicted[known, _CA], true[known, _CA]), np.nonzero(atoms)[0]
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


def rows(trainee, data, split, limit) -> list:
    """A row for each of the first chains of a split, with how near its prediction is."""
    x, y, _ = first_batch(data, split, limit)
    source = getattr(data, split)
    names = [source.finish.structures[place].name for place in np.asarray(source.rows[0])[:limit]]
    found = _of_batch(_outputs(trainee, x), x, y)
    return [{"example": index, "name": name, **row} for index, (name, row) in enumerate(zip(names, found, strict=True))]

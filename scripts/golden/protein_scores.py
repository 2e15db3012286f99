"""Makes tests/golden/protein_scores.safetensors: biotite's lDDT, TM-score and RMSD of a bent structure, and DeepMind's
confidence of random logits.

In the environment of protein_features.py with `pip install biotite`, DeepMind's repository on PYTHONPATH; the structure
is 2RBG of its test data (Protein Data Bank, CC0), a part of chain A.
"""

import pathlib

import alphafold.common
import biotite.structure as struc
import numpy as np
from alphafold.common import confidence, protein
from writing import write

LENGTH = 48


def atoms_of(positions, mask):
    """An AtomArray of all atoms that are known."""
    residue, atom = np.nonzero(mask)
    found = struc.AtomArray(len(residue))
    found.coord, found.res_id = positions[residue, atom].astype("float32"), residue + 1
    found.chain_id[:] = "A"
    found.res_name[:], found.element[:] = "ALA", "C"
    found.atom_name = np.array(protein.residue_constants.atom_types)[atom]
    return found


def main():
    random = np.random.default_rng(0)
    folder = pathlib.Path(alphafold.common.__path__[0]) / "testdata"
    whole = protein.from_pdb_string((folder / "2rbg.pdb").read_text(), "A")
    true, mask = whole.atom_positions[:LENGTH], whole.atom_mask[:LENGTH]
    # a bend in the middle, and noise that grows along the chain
    bend = np.deg2rad(35)
    turn = np.array([[np.cos(bend), -np.sin(bend), 0], [np.sin(bend), np.cos(bend), 0], [0, 0, 1]])
    hinge = true[LENGTH // 2, 1]
    predicted = true + np.linspace(0.1, 1.5, LENGTH)[:, None, None] * random.standard_normal(true.shape)
    predicted[LENGTH // 2 :] = (predicted[LENGTH // 2 :] - hinge) @ turn.T + hinge
    predicted *= mask[..., None]
    one, other = atoms_of(true, mask), atoms_of(predicted, mask)
    ca = one.atom_name == "CA"
    indices = np.arange(ca.sum())
    best = 0.0
    for begin in range(0, LENGTH - 6, 2):  # the best of many superpositions, as TM-align looks for it
        for length in (6, 12, 24, LENGTH):
            chosen = np.zeros(len(indices), bool)
            chosen[begin : begin + length] = True
            for _ in range(30):
                _, how = struc.superimpose(one[ca][chosen], other[ca][chosen])
                moved = how.apply(other[ca])
                best = max(best, struc.tm_score(one[ca], moved, indices, indices))
                near = struc.distance(one[ca], moved) < 3
                if near.sum() < 3 or (near == chosen).all():
                    break
                chosen = near
    fitted, _ = struc.superimpose(one[ca], other[ca])
    plddt, pae = random.standard_normal((6, 50)) * 2, random.standard_normal((12, 12, 64)) * 2
    breaks = np.linspace(0.0, 31.0, 63)
    errors = confidence.compute_predicted_aligned_error(pae, breaks)["predicted_aligned_error"]
    tensors = {
        "true": true, "predicted": predicted, "mask": mask, "lddt_ca": [struc.lddt(one[ca], other[ca])],
        "lddt_all": [struc.lddt(one, other)], "tm_score": [best], "rmsd": [struc.rmsd(one[ca], fitted)],
        "plddt_logits": plddt, "plddt": confidence.compute_plddt(plddt.astype("float32")), "pae_logits": pae,
        "pae": errors, "ptm": [confidence.predicted_tm_score(pae, breaks)],
    }  # fmt: skip
    write("protein_scores", {name: np.asarray(x, "float32") for name, x in tensors.items()})


if __name__ == "__main__":
    main()

"""Protein structure: where the atoms of a chain are, from its sequence and those of its relatives."""

import copy
from typing import Any

from kzoo.tasks import base

RECIPE = {
    "optimizer": "adam", "learning_rate": 1e-3, "beta_2": 0.999, "epsilon": 1e-6, "warmup_steps": 200, "clip_norm": 0.1,
    "ema": 0.999, "epochs": 20, "batch_size": 4,
}  # fmt: skip

SYNTHETIC_SIZES = {"train": 64, "validation": 2, "test": 2}


class ProteinStructure(base.Task):
    """Structures of chains, with how far each residue and each pair of them is to be trusted."""

    name = "protein_structure"
    default_data = "protein_backbone"
    recipe = RECIPE
    results = "structure"
    needs_targets = False
    how = None

    def check_suits(self, model) -> None:
        from kzoo.tasks.protein_structure.folding import check_network

        check_network(model)

    def takes(self, builder) -> bool:
        return {"sequence", "coords", "mask", "residue_index"} <= {*builder.info.features}

    def target(self, model) -> Any:
        from kzoo.tasks.protein_structure.chains import KnownStructure

        return KnownStructure()

    def trainee(self, model) -> Any:
        from kzoo.tasks.protein_structure.learning import FoldingTrainee

        return FoldingTrainee(model, self)

    def metrics(self, model) -> list:
        return []

    def width_of(self, name, model, how) -> None:
        return None

    def batches(self, name, model, how) -> Any:
        from kzoo.tasks.protein_structure import chains

        return chains.load(self, name, model, how)

    def synthetic(self, name, model, how) -> Any:
        from kzoo.tasks.protein_structure import chains

        return chains.synthetic(name, model, SYNTHETIC_SIZES, how)

    def random_targets(self, model, x, random, length) -> tuple:
        """Where the atoms of random chains are, for as many as `x` has."""
        from kzoo.tasks.protein_structure import chains

        return chains.random_targets(x, random), None

    def arrays(self, name, parts, model, options, class_names=None) -> None:
        raise ValueError(
            f"from_arrays takes arrays; {model.name} learns from structures: name a folder of .cif or .pdb files, or a "
            "prepared data set of backbones"
        )

    def loss(self, model, label_smoothing=0.0) -> None:
        raise ValueError(f"{model.name} is learned by several losses together: kzoo.fit, or kzoo train")

    def measured(self, model, split) -> dict:
        """The loss, lDDT, TM-score and GDT-TS, as means over chains."""
        from kzoo.tasks.protein_structure import known_chains

        return known_chains.measured(model, split)

    def folding_by(self, **how) -> base.Task:
        from kzoo.tasks.protein_structure.folding import How

        task = copy.copy(self)
        task.how = How(**how)
        return task

    def read(self, model, outputs) -> Any:
        return outputs

    def predict(self, model, x, batch_size=64) -> list:
        raise ValueError(f'x: {model.name} folds sequences: kzoo.predict(model, ["MKV..."])')

    def predict_texts(self, model, texts, batch_size=64) -> list:
        """A `Prediction` for each sequence."""
        from kzoo.data.proteins import protein_sequences
        from kzoo.tasks.protein_structure import folding

        if not all(isinstance(text, str) for text in texts):
            raise ValueError("x: a sequence is one text; pass a list of them")
        proteins = [protein_sequences.make(f"sequence_{place}", text) for place, text in enumerate(texts, 1)]
        return [folding.fold(model, protein, self.how) for protein in proteins]

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> list:
        from kzoo.tasks.protein_structure import requests

        return requests.rows_of_files(model, paths, self.how, skip_bad)

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        from kzoo.tasks.protein_structure import known_chains

        return known_chains.rows(model, data, split, limit)

    def line(self, row) -> str:
        name = row.get("file", row.get("example"))
        numbers = ", ".join(
            f"{words} {row[key]:.{digits}f}" for key, words, digits in NUMBERS if row.get(key) is not None
        )
        written = f"; wrote {', '.join(row['files'])}" if "files" in row else ""
        return f"{name}: {row['name']}, {row['residues']} residues, {numbers}{written}"

    def decide(self, results) -> None:
        raise ValueError("data: a structure is neither right nor wrong; kzoo.evaluate gives lDDT and TM-score")

    def num_results(self, model) -> int:
        return 3

    def endpoints(self, model) -> dict:
        from kzoo.tasks.protein_structure import serving_structures

        return serving_structures.endpoints(model)

    def output_words(self, model) -> dict:
        logits = {name: f"logits of {name.replace('_', ' ')}" for name in base.keyed(model.output)}
        return {name: WORDS.get(name, words) for name, words in logits.items()}


NUMBERS = (("plddt", "mean pLDDT", 1), ("predicted_tm", "pTM", 2), ("lddt", "lDDT", 3), ("tm_score", "TM-score", 3))
WORDS = {
    "final_atom_positions": "angstroms, of the 37 kinds of atoms", "final_atom_mask": "1 where there is such an atom",
    "final_atom14_positions": "angstroms, of up to 14 atoms of a residue",
    "frames": "rotations and C-alphas of residues after every layer", "sidechain_frames": "frames of rigid groups",
    "angles": "sines and cosines of torsion angles", "unnormalized_angles": "the same before they have length 1",
    "msa_first_row": "to be fed back as prev_msa_first_row", "pair": "to be fed back as prev_pair",
    "single": "what is known of each residue",
}  # fmt: skip
TASK = ProteinStructure()

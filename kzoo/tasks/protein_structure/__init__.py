"""Protein structure: where the atoms of a chain are, from its sequence and those of its relatives."""

from typing import Any

from kzoo.data import columns
from kzoo.tasks import base

RECIPE = {
    "optimizer": "adam", "learning_rate": 1e-3, "beta_2": 0.999, "epsilon": 1e-6, "warmup_steps": 200, "clip_norm": 0.1,
    "ema": 0.999, "epochs": 20, "batch_size": 4,
}  # fmt: skip


class ProteinStructure(base.Task):
    """Structures of chains, with how far each residue and each pair of them is to be trusted."""

    name = "protein_structure"
    default_data = "protein_backbone"
    recipe = RECIPE
    results = "structure"

    def check_suits(self, model) -> None:
        needed = {"aatype", "msa_feat", "prev_pair"}
        if missing := sorted(needed - {*columns.inputs_of(model)}):
            raise ValueError(f"{model.name} lacks the inputs {', '.join(missing)}; wanted a network such as alphafold")

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

    def measured(self, model, split) -> dict:
        return self.trainee(model).measured(split)


TASK = ProteinStructure()

"""The column of what a network reads of a protein: its residues, its alignment, known structures of its relatives."""

import functools

import numpy as np

from kzoo.data import checks
from kzoo.data.columns.numbers import Numbers


@functools.cache
def kinds_of_residues() -> dict:
    """How many ids the features of kinds of residues hold."""
    from kzoo.layers.residues import LETTERS, MASKED  # imports Keras, which whoever has a model has

    return {"aatype": len(LETTERS) - 1, "template_aatype": len(LETTERS), "extra_msa": MASKED + 1}


class ProteinFeature(Numbers):
    """One feature of proteins by DeepMind's name, such as `msa_feat` (rows, residues, 49)."""

    kind = "protein"
    words = "a feature of proteins, by DeepMind's name"
    suffixes = (".fasta", ".fa", ".faa", ".fas")

    def holds_pixels(self, x) -> bool:
        return False

    def _check_values(self, x):
        if "int" not in self.dtype:
            return checks.check_finite(self.label, x).astype(np.float32)
        limit = kinds_of_residues().get(self.name)
        return checks.check_token_ids(self.label, x, limit)

    def limits(self, preprocessing) -> list | None:
        return [0, kinds_of_residues()[self.name] - 1] if self.name in kinds_of_residues() else None

    def draw(self, random, batch_size, length) -> np.ndarray:
        """Random kinds of residues, numbers in order, masks of ones, and else small numbers."""
        shape = self._drawn_shape(batch_size, length)
        if self.name == "residue_index":
            return np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape).copy()
        if "int" in self.dtype:
            return random.integers(0, kinds_of_residues().get(self.name, 2), shape, dtype=np.int32)
        if self.name.endswith(("mask", "masks")):
            return np.ones(shape, np.float32)
        return random.standard_normal(shape, dtype=np.float32)

    def read(self, path) -> None:
        raise ValueError(f"{self.label} follows from a sequence; pass a FASTA file, and an alignment as msa (--msa)")

"""The column of letters: DNA, RNA and proteins, a letter for each nucleotide or amino acid."""

import glob
import os

import numpy as np

from kzoo import catalog
from kzoo.data.columns.numbers import Numbers
from kzoo.data.genomes.genome_files import FASTA


class Letters(Numbers):
    """Ids of the letters of a sequence, (length,), int32: the places of its letters in the alphabet, 0 for any other.

    Attributes:
        letters: the alphabet, the `letters` that the model was built with; "ACGT" makes 1 of A and 4 of T.
    """

    kind = "letters"
    suffixes = (*FASTA, ".npy")

    def __init__(self, model, tensor):
        super().__init__(model, tensor)
        self.letters = catalog.arguments(model)["letters"]

    @property
    def words(self) -> str:
        return (
            f"ids of letters, {', '.join(f'{place} {one}' for place, one in enumerate(self.letters, 1))}, 0 any other"
        )

    def is_file(self, path) -> bool:
        """Whether an argument names a file or folder of sequences; else it is a sequence itself, or a list of them."""
        return os.path.isdir(path) or glob.has_magic(path) or path.lower().endswith(self.suffixes)

    def _check_values(self, x):
        count = len(self.letters)
        if x.dtype.kind not in "iu" or x.min() < 0 or x.max() > count:
            raise ValueError(
                f"{self.label} has dtype {x.dtype} and values from {x.min()} to {x.max()}; wanted ints of 0 to "
                f"{count}, the places of the letters in {self.letters!r} and 0 for any other, or sequences as texts"
            )
        return x.astype(np.int32)

    def draw(self, random, batch_size, length) -> np.ndarray:
        return random.integers(1, len(self.letters) + 1, self._drawn_shape(batch_size, length), dtype=np.int32)

    def holds_pixels(self, x) -> bool:
        return False

    def limits(self, preprocessing) -> list:
        return [0, len(self.letters)]

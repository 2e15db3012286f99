"""The letters around a place of a genome, as a network takes them, and its results for them."""

import dataclasses
from typing import Any

import keras
import numpy as np

from kzoo import graph
from kzoo.data import columns
from kzoo.data.genomes import alphabet
from kzoo.rewrites import trimming
from kzoo.tasks import of_or_guess

MOST_LETTERS = 1 << 17  # of the windows that are read at once


@dataclasses.dataclass
class Reader:
    """A network that reads windows of letters.

    Attributes:
        column: of its letters.
        length: how many it takes; None for any number.
        by_letter: whether each letter has a result.
        reach: letters on either side that its results depend on, and that windows therefore have beside them.
    """

    model: Any
    run: Any
    column: Any
    length: int | None
    by_letter: bool
    reach: int

    @property
    def names(self) -> list:
        """What its results are called: the names of its classes, or their numbers."""
        return self.model.kzoo.class_names or [str(index) for index in range(self.model.outputs[0].shape[-1])]

    def results(self, texts) -> list:
        """The probabilities of each window, (num_results,), or (letters, num_results) without the flanks."""
        task, found = of_or_guess(self.model), [None] * len(texts)
        by_length = {}
        for place, text in enumerate(texts):
            by_length.setdefault(len(text), []).append(place)
        for length, places in by_length.items():
            step = max(1, MOST_LETTERS // length)
            for begin in range(0, len(places), step):
                part = places[begin : begin + step]
                ids = np.stack([alphabet.encode("the genome", texts[place], self.column.letters)[0] for place in part])
                outputs = self.run.predict_on_batch(ids.astype(np.int32))
                for place, one in zip(part, keras.ops.convert_to_numpy(task.read(self.model, outputs)), strict=True):
                    found[place] = one
        return found


def reader_of(model) -> Reader:
    """How a network reads windows; ValueError for one that reads no letters of DNA."""
    column = columns.lettered(model)
    if column is None or not alphabet.is_nucleic(column.letters) or len(model.inputs) != 1:
        raise ValueError(
            f"{model.name} takes {', '.join(columns.inputs_of(model))}; genomes are read by networks of letters of "
            "DNA, such as spliceai, deepsea or danq"
        )
    reach = 0

    def make(step):
        nonlocal reach
        if not isinstance(step.layer, keras.layers.ZeroPadding1D):
            return step.layer
        reach += step.layer.padding[0]
        return keras.layers.ZeroPadding1D(0, name=step.layer.name)

    # What lies beyond a window is known here, and need not be taken for unknown.
    run = trimming.trim_flanks(graph.replace_layers(model, make))
    return Reader(model, run, column, column.shape[0], len(model.outputs[0].shape) == 3, reach)

"""Transcripts for a server: `transcribe`, from waveforms to ids of letters."""

import numpy as np

from kzoo.data import columns
from kzoo.tasks.endpoints import Endpoint
from kzoo.tasks.speech_recognition import greedy

STEPS = 16  # of 20 ms, in which an export is compared


def endpoints(model) -> dict:
    """The likeliest label of every frame, repeats merged and blanks dropped."""
    wanted = columns.inputs_of(model)
    names = list(wanted)

    def make(call):
        def transcribe(*values):
            ids, lengths = greedy.decode(call(dict(zip(names, values, strict=True))))
            return {"label_ids": ids, "lengths": lengths}

        return transcribe

    def draw(random, batch_size):
        return [np.asarray(column.draw(random, batch_size, STEPS)) for column in wanted.values()]

    specs = {name: ((None, *column.shape), column.dtype) for name, column in wanted.items()}
    return {"transcribe": Endpoint(
        make, specs,
        {name: f"{dtype} {shape}: {wanted[name].words}" for name, (shape, dtype) in specs.items()},
        {"label_ids": "int32 (None, frames), 0 after the end", "lengths": "int32 (None,)"},
        draw, "label_ids", exact=True,
    )}  # fmt: skip

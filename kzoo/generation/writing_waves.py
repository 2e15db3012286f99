"""Sound from a model of samples: one after another, each layer with a queue of what it heard, in one compiled program.

What no sample changes runs once for a clip: the speaker's vector, the mel frames brought to the rate of the samples.
What follows place by place from conditions alone, such as each layer's view of them, runs once for a chunk of samples.
The rest, the network over the samples themselves, runs on one sample after another.
"""

import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo import graph
from kzoo.generation.decoder import Decoder
from kzoo.generation.programs import compiled
from kzoo.layers.waves import Alongside

CHUNK = 1024  # samples that a program writes between two looks at the clock
WRITERS = weakref.WeakKeyDictionary()  # model -> SampleWriter


class SampleWriter(Decoder):
    """A model of samples, cut into what runs once for a clip, for a chunk and for a sample.

    Args:
        model: from `waveform` (batch, samples), possibly with conditions, to the distribution of the next sample.
    """

    def __init__(self, model):
        super().__init__(model)
        written, conditioned, late, steps = {id(self.inputs[self.token_name])}, set(), [], []
        for step in self.steps:
            heard = any(id(tensor) in written for tensor in step.inputs)
            if isinstance(step.layer, Alongside) or (not heard and not self.memories[id(step)].kept(step, 1)):
                late.append(step)
                conditioned.update(id(tensor) for tensor in keras.tree.flatten(step.outputs))
            else:
                steps.append(step)
                written.update(id(tensor) for tensor in keras.tree.flatten(step.outputs))
        self.steps = steps
        self.covers = [step.inputs[0] for step in late if isinstance(step.layer, Alongside)]
        self.alongside = [step.outputs for step in late if isinstance(step.layer, Alongside)]
        self.late = [step for step in late if not isinstance(step.layer, Alongside)]
        needed = {id(tensor): tensor for step in steps for tensor in step.inputs if id(tensor) not in written}
        self.by_sample = [tensor for key, tensor in needed.items() if key in conditioned]
        needed |= {id(tensor): tensor for step in self.late for tensor in step.inputs}
        cut = conditioned | {id(tensor) for tensor in self.covers}
        self.by_clip = [tensor for key, tensor in needed.items() if key not in cut]
        self.context = self.by_clip + self.by_sample
        self.functions = {}

    def read(self, sources) -> tuple:
        """What holds for a clip: tensors (batch, ...), and those with a row for each sample (batch, samples, channels).

        Args:
            sources: dict of arrays for the inputs other than the waveform.
        """
        values = {id(self.inputs[name]): ops.convert_to_tensor(x) for name, x in sources.items()}
        graph.replay(self.once, values)
        return tuple([values[id(tensor)] for tensor in tensors] for tensors in (self.by_clip, self.covers))

    def first_state(self, batch_size) -> tuple:
        """The sample before the first, which is silence, and queues of zeros."""
        kept = self.remembering(1)
        caches = [self.memories[id(step)].first(step, rows, batch_size, {}) for step, rows in kept]
        return ops.zeros((batch_size,), "float32"), caches

    def write(self, kind, by_clip, rows, place, limit, uniform, temperature, last, caches) -> tuple:
        """A chunk of samples (batch, CHUNK), of which `limit` are written, and the state after it.

        Args:
            kind: the distribution of the outputs, whose `draw(outputs, uniform, temperature)` gives samples (batch,)
                by `num_draws` numbers each; equal ones share a program.
            rows: of the conditions with a row for each sample, those of the chunk, (batch, CHUNK, channels).
            place: of the first sample in the clip.
            uniform: (batch, CHUNK, draws) in [0, 1).
        """
        batch_size, length, num_draws = ops.shape(uniform)
        values = {id(symbol): value for symbol, value in zip(self.by_clip, by_clip, strict=True)}
        values |= {id(symbol): value for symbol, value in zip(self.alongside, rows, strict=True)}
        graph.replay(self.late, values)
        seen = [values[id(tensor)] for tensor in self.by_sample]
        no_pads = ops.zeros((batch_size,), "int32")

        def at(x, index):
            return ops.slice(x, (0, index, 0), (batch_size, 1, x.shape[-1]))

        # The place goes round with the rest: XLA compiles anew for each value of what stays and adds to an index.
        def body(index, place, samples, last, caches):
            context = [*by_clip, *(at(x, index) for x in seen)]
            outputs, caches = self.step(last[:, None], place, no_pads, context, caches)
            last = kind.draw(outputs, at(uniform, index)[:, 0], temperature)
            return index + 1, place + 1, ops.slice_update(samples, (0, index), last[:, None]), last, caches

        start = ops.zeros((), "int32"), place, ops.zeros((batch_size, length), "float32"), last, caches
        _, _, samples, *after = ops.while_loop(lambda index, *_: index < limit, body, start)
        # The structure of what came in, or the next chunk would be compiled anew.
        return samples, *keras.tree.pack_sequence_as((last, caches), keras.tree.flatten(after))

    def program(self, kind, xla) -> Any:
        """`write` compiled, once for each distribution and each number of clips."""
        if (kind, xla) not in self.functions:
            variables = self.variables(self.late + self.steps)
            self.functions[kind, xla] = compiled(lambda *given: self.write(kind, *given), variables, xla)
        return self.functions[kind, xla]


def writer_of(model) -> SampleWriter:
    """The model's writer, kept as long as the model lives; ValueError for a model that writes no samples."""
    if model not in WRITERS:
        WRITERS[model] = SampleWriter(model)
    return WRITERS[model]


def written(model, sources, num_samples, kind, temperature, seed, progress=None, xla=True) -> np.ndarray:
    """Samples (batch, num_samples), float32 in [-1, 1], for checked conditions.

    Args:
        sources: dict of arrays (batch, ...) for the inputs other than the waveform, or the number of clips if there are
            none.
        kind: as `SampleWriter.write` takes it.
        progress: a function that is called with the number of samples written so far.
    """
    writer, random = writer_of(model), np.random.default_rng(seed)
    batch_size = sources if isinstance(sources, int) else len(next(iter(sources.values())))
    by_clip, covers = writer.read({} if isinstance(sources, int) else sources)
    write, state, found = writer.program(kind, xla), writer.first_state(batch_size), []
    for place in range(0, num_samples, CHUNK):
        limit = min(CHUNK, num_samples - place)
        uniform = random.random((limit, batch_size, kind.num_draws), "float32").transpose(1, 0, 2)
        uniform = np.pad(uniform, ((0, 0), (0, CHUNK - limit), (0, 0)))
        rows = [ops.pad(x[:, place : place + limit], ((0, 0), (0, CHUNK - limit), (0, 0))) for x in covers]
        given = (ops.convert_to_tensor(x) for x in (np.int32(place), np.int32(limit), uniform, np.float32(temperature)))
        samples, *state = write(by_clip, rows, *given, *state)
        found.append(ops.convert_to_numpy(samples)[:, :limit])
        if progress:
            progress(place + limit)
    return np.concatenate(found, axis=1)


def to_int16(samples) -> Any:
    """Samples in [-1, 1] as 16-bit PCM, which `Waveform` reads back by dividing by 32,768."""
    return ops.cast(ops.clip(ops.round(samples * 32768.0), -32768, 32767), "int16")

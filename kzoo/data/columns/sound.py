"""The columns of sound: samples of a waveform, and how many of them each clip has."""

import math
from typing import Any

import numpy as np

from kzoo import catalog
from kzoo.data import checks
from kzoo.data.columns.numbers import Numbers

SOUNDS = (".wav", ".flac", ".ogg")
STEPS_PER_SECOND = 50  # of a random batch: one step of a length is 20 ms
LOUDEST = 2.0  # beyond this, floats are no samples in [-1, 1], however they were resampled


class _Heard(Numbers):
    def __init__(self, model, tensor):
        super().__init__(model, tensor)
        self.sample_rate = catalog.arguments(model)["sample_rate"]
        self.trims = catalog.card_of(model).trims_silence

    def holds_pixels(self, x) -> bool:
        return False

    def steps(self, num_samples) -> int:
        """The `length` of `draw` that gives about so many samples."""
        return max(1, num_samples * STEPS_PER_SECOND // self.sample_rate)

    def _samples(self, length):
        return max(1, length * self.sample_rate // STEPS_PER_SECOND)


class Waveform(_Heard):
    """Samples of sound (samples,), float32 in [-1, 1], zeros after the end of a clip.

    Attributes:
        sample_rate: in Hz, the `sample_rate` that the model was built with.
    """

    kind = "waveform"
    suffixes = (*SOUNDS, ".npy")

    @property
    def words(self) -> str:
        cut = ", silence cut from both ends" if self.trims else ""
        return f"sound, mono, {self.sample_rate:,} samples a second in [-1, 1], zeros after the end{cut}"

    def _check_values(self, x):
        """Whole numbers are taken as PCM of their own width."""
        if x.dtype.kind in "iu":
            return as_floats(self.label, x)
        x = checks.check_finite(self.label, x).astype(np.float32)
        if x.size and np.abs(x).max() > LOUDEST:
            raise ValueError(
                f"{self.label}: samples reach {np.abs(x).max():g} in {x.dtype}; wanted int16, or floats in [-1, 1] "
                "(divide by 32768)"
            )
        return x

    def clip(self, samples) -> np.ndarray:
        """One clip (num_samples,) of any length as a batch holds it; ValueError for what is no sound."""
        samples = checks.check_array(self.label, np.asarray(samples))
        if samples.ndim != 1 or not samples.size:
            raise ValueError(f"{self.label}: a clip has shape {samples.shape}; wanted (samples,), at least one")
        return self._check_values(samples)

    def draw(self, random, batch_size, length) -> np.ndarray:
        shape = (batch_size, self.shape[0] or self._samples(length))
        return np.clip(0.1 * random.standard_normal(shape, dtype=np.float32), -1, 1)

    def limits(self, preprocessing) -> list:
        return [-1, 1]

    def read(self, path) -> Any:
        """A file of sound as a batch of one, mono and at the model's rate."""
        if str(path).lower().endswith(".npy"):
            return super().read(path)
        from kzoo.data.sounds import sound_files

        return sound_files.read(path, self.sample_rate, self.trims).samples[None]


class NumSamples(_Heard):
    """How many samples each clip of a padded batch has, int32 (examples,)."""

    kind = "num_samples"
    words = "how many samples each clip has"
    suffixes = ()

    def _check_values(self, x):
        if x.dtype.kind not in "iu" or x.min() < 1:
            raise ValueError(f"{self.label} has dtype {x.dtype} and values from {x.min()}; wanted ints of at least 1")
        return x.astype(np.int32)

    def draw(self, random, batch_size, length) -> np.ndarray:
        longest = self._samples(length)
        return random.integers(max(1, longest // 2), longest + 1, (batch_size,), dtype=np.int32)

    def limits(self, preprocessing) -> list:
        return [1, None]

    def read(self, path) -> None:
        raise ValueError(f"{self.label} follows from the sound; pass files of sound")


class MelFrames(_Heard):
    """Mel frames of sound (frames, num_mels), float32, as the model was trained on them.

    In random batches they are as many as the waveform beside them needs, by the `upsample_scales` and `context_frames`
    that the model was built with.
    """

    kind = "mel"
    words = "mel frames"

    def __init__(self, model, tensor):
        super().__init__(model, tensor)
        given = catalog.arguments(model)
        self.hop, self.context = math.prod(given["upsample_scales"]), given["context_frames"]

    def length_beside(self, length) -> int:
        """The frames beside a waveform of so many samples."""
        return -(-length // self.hop) + 2 * self.context

    def draw(self, random, batch_size, length) -> np.ndarray:
        frames = self.length_beside(self._samples(length))
        return random.standard_normal((batch_size, frames, self.shape[-1]), dtype=np.float32)


def as_floats(label, x) -> np.ndarray:
    """PCM as float32 in [-1, 1): int16 or int32, or uint8, whose silence is 128; ValueError for another width."""
    if x.dtype == np.uint8:
        return (x.astype(np.float32) - 128) / 128
    if x.dtype not in (np.int16, np.int32):
        raise ValueError(f"{label} has dtype {x.dtype}; wanted uint8, int16 or int32 samples, or floats in [-1, 1]")
    return (x / np.float64(-np.iinfo(x.dtype).min)).astype(np.float32)


def completed(wanted, x) -> Any:
    """Inputs of a model that hears, where clips alone were passed: padded to one length, with the number of each.

    Args:
        wanted: the columns of the model's inputs.
        x: as it was passed: an array (batch, samples), or a list of clips, for a model of a waveform; else as it is.
    """
    heard = [column for column in wanted.values() if isinstance(column, Waveform)]
    if len(heard) != 1 or (isinstance(x, dict) and set(x) == set(wanted)):
        return x
    column, others = heard[0], [one for one in wanted.values() if not isinstance(one, Waveform)]
    if isinstance(x, dict):
        if set(x) != {column.name} or not all(isinstance(one, NumSamples) for one in others):
            return x
        x = x[column.name]
    elif not all(isinstance(one, NumSamples) for one in others):
        return x
    if isinstance(x, list | tuple) and x and all(np.ndim(one) == 1 for one in x):
        lengths = [len(one) for one in x]
        clips = [column.clip(one) for one in x]
        x = np.zeros((len(clips), max(*lengths, column.shape[0] or 0)), np.float32)
        for row, clip in zip(x, clips, strict=True):
            row[: len(clip)] = clip
    else:
        lengths = [np.shape(x)[1]] * len(x) if np.ndim(x) == 2 else []
    if not others:
        return x
    return {column.name: x, **{one.name: np.array(lengths, np.int32) for one in others}}

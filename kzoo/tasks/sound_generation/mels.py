"""Mel frames of a recording, as a vocoder is conditioned on them."""

import math
from typing import Any

import numpy as np
from keras import ops

from kzoo import catalog
from kzoo.layers.spectra import LogMelSpectrogram

LOW, HIGH = 125.0, 7600.0  # Hz, as Shen et al. 2017, section 2.1, and r9y9's recipes have them
OFFSET = 1e-5  # of power: quieter than a bit of 16
CENTRE, SCALE = -4.0, 4.0  # of the logarithms of speech, roughly


class Mels:
    """Mel frames for a model with the input `mel`.

    Frame f is of four hops of sound around sample f * hop, 125 to 7600 Hz, (log(power + 1e-5) + 4) / 4. Where a model
    comes from elsewhere, its own frames are what it must be given.

    Attributes:
        hop: samples that each frame stands for.
        context: frames that the model takes more at each end; they repeat the first and the last one.
    """

    def __init__(self, model):
        given = catalog.arguments(model)
        self.hop, self.context = math.prod(given["upsample_scales"]), given["context_frames"]
        rate = given["sample_rate"]
        self.layer = LogMelSpectrogram(
            rate, 4 * self.hop, self.hop, given["num_mels"], LOW, min(HIGH, rate / 2), offset=OFFSET, name="mel_frames"
        )

    def num_samples(self, num_frames) -> int:
        """How many samples so many frames cover."""
        return (num_frames - 2 * self.context) * self.hop

    def __call__(self, waveform) -> Any:
        """Waveform (batch, samples) to frames (batch, samples // hop + 1 + 2 * context, num_mels)."""
        frames = (self.layer(waveform) - CENTRE) / SCALE
        return ops.concatenate([frames[:, :1]] * self.context + [frames] + [frames[:, -1:]] * self.context, axis=1)

    def of_clip(self, samples) -> np.ndarray:
        """The frames of one clip (samples,), a batch of one, that cover all of it and less than a hop more."""
        padded = np.pad(samples, (0, -len(samples) % self.hop))
        return ops.convert_to_numpy(self(padded[None]))[:, : len(padded) // self.hop + 2 * self.context]

"""The columns of diffusion: a noisy picture or its latents, how far its diffusion has gone, and what it depends on."""

import numpy as np

from kzoo.data import checks
from kzoo.data.columns.numbers import Numbers

USUAL_STEPS = 1000  # of a random batch


class Sample(Numbers):
    """A picture in [-1, 1], latents, or either with noise, (height, width, channels), as floats of any size."""

    kind = "sample"
    words = "pictures in [-1, 1], or latents, with noise"
    suffixes = (".npy",)

    def holds_pixels(self, x) -> bool:
        return False

    def _check_values(self, x):
        if x.dtype.kind != "f":
            raise ValueError(f"{self.label} has dtype {x.dtype}; wanted floats, of a picture in [-1, 1]: x / 127.5 - 1")
        return checks.check_finite(self.label, x).astype(np.float32)

    def draw(self, random, batch_size, length) -> np.ndarray:
        return random.standard_normal(self._drawn_shape(batch_size, length), dtype=np.float32)


class HiddenStates(Sample):
    """What another network says of each token of a text, (length, width)."""

    kind = "hidden_states"
    words = "hidden states of a text encoder"


class Timestep(Numbers):
    """How far diffusion has gone, (): 0 for the picture itself, up to the steps of training; fractions are allowed."""

    kind = "timestep"
    words = "steps of diffusion, from 0"
    suffixes = (".npy",)

    def holds_pixels(self, x) -> bool:
        return False

    def _check_values(self, x):
        x = checks.check_finite(self.label, x)
        if x.min() < 0:
            raise ValueError(f"{self.label} holds {x.min():g}; wanted steps of diffusion, from 0")
        return x.astype(np.float32)

    def draw(self, random, batch_size, length) -> np.ndarray:
        return random.integers(0, USUAL_STEPS, (batch_size,)).astype(np.float32)

    def limits(self, preprocessing) -> list:
        return [0, None]

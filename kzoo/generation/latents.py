"""Pictures to latents and back, by the two halves of an autoencoder, each compiled once for any number of pictures."""

import weakref
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kzoo import catalog
from kzoo.generation.programs import compiled

BYTES_AT_ONCE = 1 << 22  # of pictures that an autoencoder takes at a time
LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -30.0, 20.0  # Rombach et al. 2022, the authors' code
PROGRAMS = weakref.WeakKeyDictionary()  # network -> {input: the program from it to what depends on it}


def half(autoencoder, name) -> keras.Model:
    """The part of an autoencoder that reads `image` or `latents`, with the same layers."""
    outputs = autoencoder.output
    key = "decoded" if name == "latents" else next(key for key in outputs if key != "decoded")
    return keras.Model(autoencoder.input[name], outputs[key])


def program(model, name="") -> Callable:
    """A compiled function of arrays, for as many examples as there are: of a model, or of a half of an autoencoder."""
    programs = PROGRAMS.setdefault(model, {})
    if name not in programs:
        # Of the same layers, since a program would keep the model itself alive.
        part = half(model, name) if name else keras.Model(model.input, model.output)
        function = compiled(lambda x: part(x, training=False), part.variables, xla=False, symbol=part.input)
        programs[name] = lambda x: ops.convert_to_numpy(function(ops.convert_to_tensor(x, part.input.dtype)))
    return programs[name]


def scale_of(autoencoder) -> float:
    """The factor of latents, by which they have about the variance of noise."""
    return catalog.arguments(autoencoder)["scaling_factor"]


def encode(autoencoder, pictures, random=None) -> np.ndarray:
    """Latents, scaled, of pictures float32 (batch, height, width, channels) in [-1, 1].

    Args:
        random: a generator that draws latents from their distribution; without it, their mean is taken.
    """
    found = _in_parts(autoencoder, "image", pictures)
    if "moments" in autoencoder.output:
        found, log_variance = np.split(found, 2, axis=-1)
        if random is not None:
            deviation = np.exp(0.5 * np.clip(log_variance, LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE))
            found = found + deviation * random.standard_normal(found.shape, np.float32)
    return found * np.float32(scale_of(autoencoder))


def decode(autoencoder, latents) -> np.ndarray:
    """Pictures in about [-1, 1] of scaled latents."""
    return _in_parts(autoencoder, "latents", latents / np.float32(scale_of(autoencoder)))


def _in_parts(autoencoder, name, x):
    """What a half gives, for as many examples at a time as memory is meant for."""
    count = max(BYTES_AT_ONCE // (4 * int(np.prod(autoencoder.input["image"].shape[1:]))), 1)
    run = program(autoencoder, name)
    return np.concatenate([run(x[begin : begin + count]) for begin in range(0, len(x), count)])

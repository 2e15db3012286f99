"""From what networks give to pixels: pictures that a network writes from noise, and pictures that one has read."""

from typing import Any

import numpy as np
from keras import ops

from kzoo.catalog import card_of
from kzoo.data import checks

BATCH = 64  # pictures that are written at once


def to_uint8(images, preprocessing) -> Any:
    """Images (..., channels) as a network reads or writes them, to uint8 pixels, by the card's mean and std."""
    mean, std = (np.array(values, np.float32) for values in preprocessing.constants(images.shape[-1]))
    scaled = ops.cast(images, "float32") * std + mean
    return ops.cast(ops.round(ops.clip(scaled, 0.0, 1.0) * 255), "uint8")


def noise_of(model, num_images, seed) -> np.ndarray:
    """Standard normal noise float32 (num_images, latent_dim); the first rows of a seed are the same for any number."""
    num_images = checks.check_count("num_images (--count)", num_images)
    checks.check_count("seed", seed, minimum=0)
    return np.random.default_rng(seed).standard_normal((num_images, model.inputs[0].shape[-1]), "float32")


def written(model, num_images, seed) -> np.ndarray:
    """Pictures uint8 (num_images, height, width, channels) that a network makes of noise alone."""
    noise, how = noise_of(model, num_images, seed), card_of(model).preprocessing
    batches = (noise[start : start + BATCH] for start in range(0, num_images, BATCH))
    found = [ops.convert_to_numpy(to_uint8(ops.convert_to_tensor(call(model, part)), how)) for part in batches]
    return np.concatenate(found)


def call(model, noise) -> np.ndarray:
    """The outputs of a batch of at most BATCH rows, which is filled up so that one program serves all."""
    full = np.concatenate([noise, np.zeros((BATCH - len(noise), noise.shape[-1]), "float32")])
    return model.predict_on_batch(full)[: len(noise)]

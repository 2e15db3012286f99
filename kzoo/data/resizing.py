"""Fitting images to a model's input: of rank 3 an image, of rank 2 its rows as time steps, of rank 1 its pixels in one
row; any other numbers must already have the input's shape.

The deterministic part runs once, when data is loaded (`resize`); the cheap part runs for every batch (`to_input`), so
that images that need no resizing stay uint8 in memory.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.catalog.preprocessing import Preprocessing

DEFAULT = Preprocessing()
KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic", "lanczos": "lanczos3"}
TENSORFLOW_METHODS = {"lanczos": "lanczos3"}


def image_shape(source, wanted) -> tuple:
    """The (height, width, channels) to which images of shape `source` are fitted for an input of shape `wanted`.

    Both are without the batch axis; sizes of `source` may be None. Raises ValueError if they cannot be fitted.
    """
    if len(source) != 3 or source[2] not in (1, 3):
        raise ValueError(f"images have shape {source}; wanted (height, width, 1 or 3 channels)")
    if len(wanted) == 3:
        if wanted[2] not in (1, 3):
            raise ValueError(f"images have 1 or 3 channels, but the model's input {wanted} wants {wanted[2]}")
        return tuple(want or size for want, size in zip(wanted, source, strict=True))
    if len(wanted) == 2:
        return wanted[0] or source[0], wanted[1], 1
    for channels in {source[2], 1}:
        if None not in source and source[0] * source[1] * channels == wanted[0]:
            return source[0], source[1], channels
    raise ValueError(
        f"images of shape {source} have {math.prod(size or 0 for size in source)} pixel values, but the model's input "
        f"takes {wanted[0]}; build the model for them, or bring images of that size"
    )


def resize(images, shape, preprocessing=DEFAULT) -> Any:
    """Resizes images (..., height, width, channels) to `shape`, antialiased, and crops them if `preprocessing` says so.

    Sizes that are None stay. Images that need no resizing keep their dtype; others become float32 (`to_float`).
    Grey images keep their one channel here even if `shape` has three: `to_input` repeats it.
    """
    if images.shape[-1] == 3 and shape[2] == 1:
        images = tf.image.rgb_to_grayscale(images)
    size = [want or images.shape[axis] or tf.shape(images)[axis] for axis, want in ((-3, shape[0]), (-2, shape[1]))]
    if preprocessing.crop is None and (images.shape[-3], images.shape[-2]) == tuple(size):
        return images
    images = to_float(images)
    # Bicubic and Lanczos overshoot at edges; Pillow cuts to the range of a byte.
    low, high = tf.minimum(tf.reduce_min(images), 0), tf.maximum(tf.reduce_max(images), 1)
    if preprocessing.crop is not None:
        return tf.clip_by_value(_centre(images, size, shape, preprocessing), low, high)
    method = TENSORFLOW_METHODS.get(preprocessing.interpolation, preprocessing.interpolation)
    return tf.clip_by_value(tf.image.resize(images, size, method, antialias=True), low, high)


def _centre(images, size, shape, preprocessing):
    """What lies in the middle of images that are scaled so that `crop` of their tighter side is seen.

    Sizes are rounded as torchvision's Resize and CenterCrop round them. Only what is kept is ever computed: a long
    thin image, scaled as a whole, could take any memory.
    """
    sides = [tf.cast(side, tf.float64) for side in (tf.shape(images)[-3], tf.shape(images)[-2])]
    wanted = [tf.cast(side, tf.float64) for side in size]
    by_height = wanted[0] * sides[1] >= wanted[1] * sides[0]
    tight, want = (tf.where(by_height, *pair) for pair in (sides, wanted))
    scaled_tight = tf.floor(want / preprocessing.crop + 1e-6)
    scaled = [tf.floor(side * scaled_tight / tight) for side in sides]  # of the tighter side exactly `scaled_tight`
    begins = [tf.round((side - want) / 2) for side, want in zip(scaled, wanted, strict=True)]
    if preprocessing.interpolation == "nearest":
        for axis, parts in zip((-3, -2), zip(sides, wanted, scaled, begins, strict=True), strict=True):
            side, want, whole, begin = parts
            places = tf.floor((begin + tf.range(want) + 0.5) * side / whole)
            images = tf.gather(images, tf.cast(places, tf.int32), axis=axis)
    else:
        images = tf.raw_ops.ScaleAndTranslate(
            images=images if len(images.shape) == 4 else images[None],
            size=tf.cast(tf.stack(wanted), tf.int32),
            scale=tf.cast(tf.stack([whole / side for whole, side in zip(scaled, sides, strict=True)]), tf.float32),
            translation=-tf.cast(tf.stack(begins), tf.float32),
            kernel_type=KERNELS[preprocessing.interpolation],
            antialias=True,
        )[(...,) if len(images.shape) == 4 else 0]
    return tf.ensure_shape(images, (*images.shape[:-3], *shape[:2], images.shape[-1]))


def to_float(images) -> Any:
    """Converts uint8 and uint16 images to float32 in [0, 1]; other numbers keep their values."""
    images = tf.convert_to_tensor(images)
    if images.dtype in (tf.uint8, tf.uint16):
        return tf.cast(images, tf.float32) / images.dtype.max
    return tf.cast(images, tf.float32)


def to_input(images, shape, preprocessing=DEFAULT) -> Any:
    """A batch of float32 images (batch, height, width, channels), normalised, in a model's input shape (no batch)."""
    if len(shape) == 3 and shape[2] == 3 and images.shape[-1] == 1:
        images = tf.repeat(images, 3, axis=-1)
    mean, std = (tf.constant(values, tf.float32) for values in preprocessing.constants(images.shape[-1]))
    if preprocessing.normalises:
        images = (images - mean) / std
    if len(shape) == 2:
        return tf.squeeze(images, -1)
    return tf.reshape(images, (-1, shape[0])) if len(shape) == 1 else images


def fit_images(images, shape, wanted, preprocessing=DEFAULT) -> np.ndarray:
    """Images (batch, height, width, channels), brought to `shape`, as an array for an input of shape `wanted`."""
    fitted = to_float(resize(tf.convert_to_tensor(images), shape, preprocessing))
    return to_input(fitted, wanted, preprocessing).numpy()

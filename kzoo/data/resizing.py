"""Fitting images to a model's input: of rank 3 an image, of rank 2 its rows as time steps, of rank 1 its pixels in one
row; any other numbers must already have the input's shape.

The deterministic part runs once, when data is loaded (`resize`); the cheap part runs for every batch (`to_input`), so
that images that need no resizing stay uint8 in memory.
"""

import math
import pathlib

import numpy as np
import tensorflow as tf

from kzoo.catalog.preprocessing import Preprocessing

DEFAULT = Preprocessing()


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


def resize(images, shape, preprocessing=DEFAULT):
    """Resizes images (..., height, width, channels) to `shape`, antialiased, and crops them if `preprocessing` says so.

    Sizes that are None stay. Images that need no resizing keep their dtype; others become float32 (`to_float`).
    Grey images keep their one channel here even if `shape` has three: `to_input` repeats it.
    """
    if images.shape[-1] == 3 and shape[2] == 1:
        images = tf.image.rgb_to_grayscale(images)
    size = [want or images.shape[axis] or tf.shape(images)[axis] for axis, want in ((-3, shape[0]), (-2, shape[1]))]
    if preprocessing.crop is None and (images.shape[-3], images.shape[-2]) == tuple(size):
        return images
    images, method = to_float(images), preprocessing.interpolation
    if preprocessing.crop is None:
        return tf.image.resize(images, size, method, antialias=True)
    height, width = tf.shape(images)[-3], tf.shape(images)[-2]
    factor = tf.cast(tf.maximum(size[0] / height, size[1] / width), tf.float32) / preprocessing.crop
    scaled = [tf.cast(tf.round(tf.cast(side, tf.float32) * factor), tf.int32) for side in (height, width)]
    images = tf.image.resize(images, scaled, method, antialias=True)
    top, left = ((side - want) // 2 for side, want in zip(scaled, size, strict=True))
    cropped = images[..., top : top + size[0], left : left + size[1], :]
    return tf.ensure_shape(cropped, (*cropped.shape[:-3], *shape[:2], cropped.shape[-1]))


def to_float(images):
    """Converts uint8 and uint16 images to float32 in [0, 1]; other numbers keep their values."""
    images = tf.convert_to_tensor(images)
    if images.dtype in (tf.uint8, tf.uint16):
        return tf.cast(images, tf.float32) / images.dtype.max
    return tf.cast(images, tf.float32)


def to_input(images, shape, preprocessing=DEFAULT):
    """A batch of float32 images (batch, height, width, channels), normalised, in a model's input shape (no batch)."""
    if len(shape) == 3 and shape[2] == 3 and images.shape[-1] == 1:
        images = tf.repeat(images, 3, axis=-1)
    mean, std = (tf.constant(values, tf.float32) for values in preprocessing.constants(images.shape[-1]))
    if (preprocessing.mean, preprocessing.std) != (DEFAULT.mean, DEFAULT.std):
        images = (images - mean) / std
    if len(shape) == 2:
        return tf.squeeze(images, -1)
    return tf.reshape(images, (-1, shape[0])) if len(shape) == 1 else images


def read_image(path) -> np.ndarray:
    """The pixels of an image file, uint8 (height, width, 1 or 3), without alpha; ValueError that names a bad file."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    try:
        pixels = tf.io.decode_image(path.read_bytes(), expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{path} is not an image (PNG, JPEG, GIF, BMP) or is damaged") from error
    return pixels.numpy()[..., : 3 if pixels.shape[-1] in (3, 4) else 1]


def in_colour(pixels) -> np.ndarray:
    """The pixels (..., 3) of an image with one channel or three."""
    return pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels


def fit_image(pixels, shape, preprocessing=DEFAULT) -> np.ndarray:
    """One image (height, width, channels) as a batch of one for an input of `shape`, as an array."""
    fitted = resize(pixels, image_shape(tuple(pixels.shape), shape), preprocessing)
    return to_input(to_float(fitted)[None], shape, preprocessing).numpy()

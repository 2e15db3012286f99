"""Pictures alone, of one size and in memory, as bytes: of TFDS, of folders, and of arrays."""

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.catalog.preprocessing import Preprocessing
from kzoo.data import resizing
from kzoo.data.columns.numbers import are_images
from kzoo.data.pictures import MEMORY_LIMIT
from kzoo.data.sources import folders, prepared

PLAIN = Preprocessing()


@dataclasses.dataclass
class Held:
    """Pictures uint8 (examples, height, width, channels) by split."""

    parts: dict
    identity: dict
    notes: list


def read(task, name, shape, how) -> Held:
    """The pictures of a folder, with or without folders inside, or of a prepared data set with one image.

    Args:
        shape: (height, width, channels) to which they are brought.

    Raises ValueError where there are none, several to an example, or more than memory is meant for.
    """
    folder = folders.find(name, has_classes=False)
    if folder is not None:
        return _from_folder(name, folder, shape, how)
    builder = task.prepared(name, how)
    keys = [key for key, one in builder.info.features.items() if len(one.shape or ()) == 3 and one.np_dtype == np.uint8]
    if len(keys) != 1:
        told = ", ".join(builder.info.features)
        raise ValueError(f"data set {name!r} has {len(keys)} features that are pictures (of {told}); wanted one")
    sizes, parts = prepared.sizes(builder), {}
    _check_size(name, int(np.prod(shape)) * max(sizes.values()))
    for split in sizes:
        with prepared.damage_named(builder):
            rows = prepared.records(builder, split, keys).map(lambda row: _fit(row[keys[0]], shape)).batch(256)
            parts[split] = np.concatenate(list(rows.as_numpy_iterator()))
    return Held(parts, prepared.identity(name, builder), [])


def _fit(image, shape):
    """One picture as bytes in that shape."""
    image = resizing.to_float(resizing.resize(image, resizing.image_shape(image.shape, shape)))
    image = tf.repeat(image, shape[2] // image.shape[-1], axis=-1)
    return tf.cast(tf.round(tf.clip_by_value(image, 0, 1) * 255), tf.uint8)


def in_bytes(images) -> np.ndarray:
    """Pictures in [0, 1] as uint8: a quarter of the memory."""
    return np.round(np.clip(np.asarray(images), 0, 1) * 255).astype(np.uint8)


def _from_folder(name, folder, shape, how):
    parts = folders.survey_without_classes(folder)
    _check_size(name, 4 * int(np.prod(shape)) * sum(map(len, parts.values())))
    fits = dict.fromkeys(prepared.SPLITS, functools.partial(folders.fit, shape=shape, preprocessing=PLAIN))
    loaded, digest, notes = folders.load(folder, parts, how.options.validation_fraction, fits, how.skip_bad)
    pictures = {split: in_bytes(images) for split, (images, _) in loaded.items()}
    return Held(pictures, {"name": name, "content": digest}, notes)


def _check_size(name, num_bytes):
    if num_bytes > MEMORY_LIMIT:
        raise ValueError(
            f"{name} takes {num_bytes / 1e9:.1f} GB at the network's size, and pictures without labels stay in memory "
            f"up to {MEMORY_LIMIT / 1e9:.1f} GB; build the network with a smaller input_shape"
        )


def from_arrays(name, parts, shape) -> Held:
    """The pictures of `{split: (pictures, whatever, weight or None)}`: uint8, or floats in [0, 1]."""
    found = {}
    for split, (x, _, weight) in parts.items():
        if weight is not None or np.ndim(x) != 4 or not are_images(np.asarray(x)):
            raise ValueError(f"{name} {split}: wanted pictures (examples, height, width, channels) without weights")
        fitted = resizing.fit_images(np.asarray(x), resizing.image_shape(np.shape(x)[1:], shape), shape)
        found[split] = in_bytes(fitted)
    return Held(found, {"name": name}, [])


def synthetic(name, sizes, shape) -> Held:
    """Random pictures, for tests and benchmarks."""
    parts = {
        split: np.random.default_rng(index).integers(0, 256, (size, *shape), np.uint8)
        for index, (split, size) in enumerate(sizes.items())
    }
    return Held(parts, {"name": name}, [])


def refuse_changes(options) -> None:
    """ValueError for options that would change pictures which a network is to make."""
    if options.augment:
        raise ValueError(f"augment={options.asked!r}: a network that makes pictures would make such ones; leave it")
    if options.preprocessing.normalises:
        raise ValueError(f"preprocessing={options.preprocessing}: such pictures are brought to [-1, 1]")


def to_signed(images) -> Any:
    """Bytes of a batch as float32 in [-1, 1]."""
    return tf.cast(images, tf.float32) / 127.5 - 1

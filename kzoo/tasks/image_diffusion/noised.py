"""Pictures with noise: what a network of diffusion learns from, made anew in every epoch."""

from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset, resizing
from kzoo.data.columns.numbers import are_images
from kzoo.data.pictures import MEMORY_LIMIT
from kzoo.data.sources import folders, prepared
from kzoo.data.splits import Split
from kzoo.generation import noise_schedules, samplers


class Denoised(columns.Values):
    """What the network should answer, float32 (examples, height, width, channels)."""

    def __init__(self, shape):
        super().__init__(shape[-1])
        self.shape = shape

    def check(self, label, y, x) -> None:
        raise ValueError(f"{label}: what a network of diffusion learns follows from the pictures; pass none")


class Noising:
    """From pictures to `(x, y)`: the picture at a random step of its diffusion, and what a network should answer.

    Ho et al. 2020, algorithm 1. Steps and noise of an example depend on seed, epoch and example alone; without random
    numbers, as in a plain look at a split, on its place in the batch.
    """

    def __init__(self, noise, to_input):
        settings = noise_schedules.settings_of(noise, samplers.SAMPLERS)
        left = noise_schedules.remaining(settings)
        self.alphas, self.sigmas = (tf.constant(np.sqrt(each), tf.float32) for each in (left, 1 - left))
        self.prediction, self.to_input = settings["prediction_type"], to_input

    @staticmethod
    def draw(key, count) -> dict:
        """The random numbers of an epoch: where in diffusion each example is, and the seed of its noise."""
        seeds = tf.random.stateless_uniform([count, 2], key, minval=None, maxval=None, dtype=tf.int32)
        return {"time": tf.random.stateless_uniform([count], key), "seed": seeds}

    def __call__(self, rows, random) -> tuple:
        clean = self.to_input(rows[0])
        count, num_steps = tf.shape(clean)[0], len(self.alphas)
        if random is None:
            place = tf.range(count)
            random = {"time": tf.cast(place, tf.float32) / tf.cast(count, tf.float32), "seed": tf.stack([place] * 2, 1)}
        noise = tf.map_fn(
            lambda seed: tf.random.stateless_normal(tf.shape(clean)[1:], seed), random["seed"],
            fn_output_signature=tf.TensorSpec(clean.shape[1:], tf.float32),
        )  # fmt: skip
        timestep = tf.minimum(tf.cast(random["time"] * num_steps, tf.int32), num_steps - 1)
        alpha, sigma = (tf.gather(table, timestep)[:, None, None, None] for table in (self.alphas, self.sigmas))
        x = {"sample": alpha * clean + sigma * noise, "timestep": tf.cast(timestep, tf.float32)}
        return x, noise_schedules.target_of(self.prediction, alpha, sigma, clean, noise)


def load(task, name, model, how, noise) -> Any:
    """The `Data` of a folder of pictures, with or without folders inside, or of a prepared data set with an image."""
    shape = tuple(columns.inputs_of(model)["sample"].shape)
    folder = folders.find(name, has_classes=False)
    if folder is not None:
        return _from_folder(name, folder, shape, how, noise)
    builder = task.prepared(name, how)
    keys = [key for key, one in builder.info.features.items() if len(one.shape or ()) == 3 and one.np_dtype == np.uint8]
    if len(keys) != 1:
        told = ", ".join(builder.info.features)
        raise ValueError(f"data set {name!r} has {len(keys)} features that are pictures (of {told}); wanted one")
    feature, sizes = builder.info.features[keys[0]], prepared.sizes(builder)
    fitted = resizing.image_shape(feature.shape, shape)
    _check_size(name, 4 * int(np.prod(shape)) * max(sizes.values()))
    parts = {}
    for split in sizes:
        pieces = [
            np.asarray(resizing.resize(batch[keys[0]], fitted, how.options.preprocessing))
            for batch in _decoded(builder, split).batch(1024)
        ]
        parts[split] = np.concatenate(pieces)
    return _batches(name, prepared.identity(name, builder), parts, shape, how.options, noise)


def _decoded(builder, split):
    options = tf.data.Options()
    options.autotune.enabled = False
    return builder.as_dataset(split=split, shuffle_files=False).with_options(options)


def _from_folder(name, folder, shape, how, noise):
    parts = folders.survey_without_classes(folder)
    _check_size(name, 4 * int(np.prod(shape)) * sum(map(len, parts.values())))
    fits = dict.fromkeys(
        prepared.SPLITS, lambda contents: folders.fit(contents, shape=shape, preprocessing=how.options.preprocessing)
    )
    loaded, digest, notes = folders.load(folder, parts, how.options.validation_fraction, fits, how.skip_bad)
    pictures = {split: images for split, (images, _) in loaded.items()}
    return _batches(name, {"name": name, "content": digest}, pictures, shape, how.options, noise, notes)


def _check_size(name, num_bytes):
    if num_bytes > MEMORY_LIMIT:
        raise ValueError(
            f"{name} takes {num_bytes / 1e9:.1f} GB at the network's size, and pictures of diffusion stay in memory "
            f"up to {MEMORY_LIMIT / 1e9:.1f} GB; build the network with a smaller input_shape"
        )


def from_arrays(name, parts, model, options, noise) -> Any:
    """The `Data` of `{split: (pictures, whatever, weight or None)}`: uint8, or floats in [0, 1]."""
    shape, found = tuple(columns.inputs_of(model)["sample"].shape), {}
    for split, (x, _, weight) in parts.items():
        if weight is not None or not are_images(np.asarray(x)) or np.ndim(x) != 4:
            raise ValueError(f"{name} {split}: wanted pictures (examples, height, width, channels) without weights")
        x = np.asarray(x)
        found[split] = np.asarray(resizing.resize(x, resizing.image_shape(x.shape[1:], shape), options.preprocessing))
    return _batches(name, {"name": name, "content": dataset.digest_of(found["train"])}, found, shape, options, noise)


def synthetic(name, model, sizes, options, noise) -> Any:
    """Random pictures, for tests and benchmarks."""
    shape = tuple(columns.inputs_of(model)["sample"].shape)
    parts = {
        split: np.random.default_rng(index).integers(0, 256, (size, *shape), np.uint8)
        for index, (split, size) in enumerate(sizes.items())
    }
    return _batches(name, {"name": name}, parts, shape, options, noise)


def _batches(name, identity, parts, shape, options, noise, notes=()):
    if options.augment:
        raise ValueError(
            f"augment={options.asked!r}: a network that makes pictures would make what it changes; leave it"
        )
    if options.preprocessing.normalises:
        raise ValueError(
            f"preprocessing={options.preprocessing}: pictures of diffusion are brought to [-1, 1], not this"
        )
    rows = {split: (x,) for split, x in parts.items()}
    for split, (x,) in rows.items():
        dataset.check_examples(f"{name} {split}", x, x)
    notes = [*notes, *dataset.carve(name, rows, [rows["train"][0]], options)]
    noising = Noising(noise, lambda x: resizing.to_input(resizing.to_float(x), shape) * 2 - 1)
    splits = {
        split: Split(arrays, noising, **{**options.of_split(split), "draw": noising.draw})
        for split, arrays in rows.items()
    }
    return dataset.make_data(name, {**identity, "noise": noise}, splits, options, None, notes=notes)


def pixels(split, num_images=None) -> np.ndarray:
    """The first pictures of a split, uint8, all of them by default."""
    stored = np.asarray(split.rows[0][:num_images])
    return stored if stored.dtype == np.uint8 else np.round(stored * 255).astype(np.uint8)

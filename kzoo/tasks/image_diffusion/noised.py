"""What a network of diffusion learns from: pictures or latents with noise, made anew in every epoch."""

from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.catalog import card_of
from kzoo.data import columns, dataset, token_rows
from kzoo.data.splits import Split, fold
from kzoo.generation import denoising, noise_schedules, samplers
from kzoo.tasks.feeding import captioned, held_pictures
from kzoo.tasks.image_diffusion.networks import networks_of

UNSAID = 0.1  # share of the examples whose text is left out, for guidance: Ho and Salimans 2021, section 3.1
TOKENS = "subwords"  # that are learned where there is no tokenizer


class Denoised(columns.Values):
    """What the network should answer, float32 (examples, height, width, channels)."""

    def __init__(self, shape):
        super().__init__(shape[-1])
        self.shape = shape

    def check(self, label, y, x) -> None:
        raise ValueError(f"{label}: what a network of diffusion learns follows from the pictures; pass none")


class Noising:
    """From what diffuses to `(x, y)`: it at a random step of its diffusion, and what a network should answer.

    Ho et al. 2020, algorithm 1. Steps and noise of an example depend on seed, epoch and example alone; without random
    numbers, as in a plain look at a split, on its place in the batch.

    Args:
        noise: the schedule of noise, as `scheduler_config.json` holds it.
        unsaid: the token ids of no text, which replace those of UNSAID of the examples; None to replace none.
    """

    def __init__(self, noise, unsaid=None):
        settings = noise_schedules.settings_of(noise, samplers.SAMPLERS)
        left = noise_schedules.remaining(settings)
        self.alphas, self.sigmas = (tf.constant(np.sqrt(each), tf.float32) for each in (left, 1 - left))
        self.prediction, self.unsaid = settings["prediction_type"], unsaid

    @staticmethod
    def draw(key, count) -> dict:
        """The random numbers of an epoch: where in diffusion each example is, the seed of its noise, what is unsaid."""
        seeds = tf.random.stateless_uniform([count, 2], key, minval=None, maxval=None, dtype=tf.int32)
        numbers = tf.random.stateless_uniform([count, 2], fold(key, 1))
        return {"time": numbers[:, 0], "seed": seeds, "said": numbers[:, 1] >= UNSAID}

    def __call__(self, rows, random) -> tuple:
        clean = rows[0] if rows[0].dtype == tf.float32 else held_pictures.to_signed(rows[0])
        count, num_steps = tf.shape(clean)[0], len(self.alphas)
        if random is None:
            place = tf.range(count)
            time = tf.cast(place, tf.float32) / tf.cast(count, tf.float32)
            random = {"time": time, "seed": tf.stack([place] * 2, 1), "said": tf.ones([count], tf.bool)}
        noise = tf.map_fn(
            lambda seed: tf.random.stateless_normal(tf.shape(clean)[1:], seed), random["seed"],
            fn_output_signature=tf.TensorSpec(clean.shape[1:], tf.float32),
        )  # fmt: skip
        timestep = tf.minimum(tf.cast(random["time"] * num_steps, tf.int32), num_steps - 1)
        alpha, sigma = (tf.gather(table, timestep)[:, None, None, None] for table in (self.alphas, self.sigmas))
        x = {"sample": alpha * clean + sigma * noise, "timestep": tf.cast(timestep, tf.float32)}
        if len(rows) > 1:
            x["token_ids"] = rows[1]
            if self.unsaid is not None:
                x["token_ids"] = tf.where(random["said"][:, None], rows[1], self.unsaid)
        return x, noise_schedules.target_of(self.prediction, alpha, sigma, clean, noise)


def load(task, name, model, how, noise) -> Any:
    """The `Data` of a folder of pictures, with or without folders inside, or of a prepared data set with an image.

    A model that reads texts learns from a table `path,caption`, or from prepared data sets with a picture and a
    caption, whose names may be joined by `+`.
    """
    networks = networks_of(model)
    shape = networks.picture_shape
    if networks.text_encoder is not None:
        found = captioned.read(task, name, model, shape, how)
        parts = {
            split: (held_pictures.in_bytes(x), np.array(texts, object)) for split, (x, texts) in found.parts.items()
        }
        return _batches(name, found.identity, parts, networks, how, noise, found.notes)
    return _from_held(name, held_pictures.read(task, name, shape, how), networks, how, noise)


def _from_held(name, held, networks, how, noise):
    parts = {split: (pictures,) for split, pictures in held.parts.items()}
    return _batches(name, held.identity, parts, networks, how, noise, held.notes)


def from_arrays(name, parts, model, options, noise) -> Any:
    """The `Data` of `{split: (pictures, whatever, weight or None)}`: uint8, or floats in [0, 1]."""
    networks = networks_of(model)
    if networks.text_encoder is not None:
        raise ValueError(f"{model.name} learns from pictures and captions; pass a table path,caption or a data set")
    held = held_pictures.from_arrays(name, parts, networks.picture_shape)
    return _from_held(name, held, networks, dataset.How(options, None), noise)


def synthetic(name, model, sizes, how, noise) -> Any:
    """Random pictures and words, for tests and benchmarks."""
    networks = networks_of(model)
    parts = {split: (x,) for split, x in held_pictures.synthetic(name, sizes, networks.picture_shape).parts.items()}
    if networks.text_encoder is not None:
        texts = np.array(["a cat", "a dog", "two birds"], object)
        parts = {split: (x, np.resize(texts, len(x))) for split, (x,) in parts.items()}
    return _batches(name, {"name": name}, parts, networks, how, noise)


def _batches(name, identity, parts, networks, how, noise, notes=()):
    options = how.options
    held_pictures.refuse_changes(options)
    rows, tokenizer, unsaid, notes = dict(parts), None, None, list(notes)
    for split, part in rows.items():
        dataset.check_examples(f"{name} {split}", part, part)
    notes += dataset.carve(name, rows, list(rows["train"])[-1:], options)  # equal captions stay together
    if networks.text_encoder is not None:
        tokenizer = how.texts.tokenizer or card_of(networks.text_encoder).tokenizer
        texts = rows["train"][1].tolist()
        tokenizer = token_rows.make_tokenizer(tokenizer, texts, networks.text_encoder, TOKENS)
        unsaid = networks.ids([""], tokenizer)
        rows = {split: (x, networks.ids(texts.tolist(), tokenizer)) for split, (x, texts) in rows.items()}
        identity = {**identity, **how.texts.fingerprint(networks.length, tokenizer)}
    if networks.autoencoder is not None:
        rows = {split: (networks.encode(x / np.float32(127.5) - 1), *more) for split, (x, *more) in rows.items()}
        notes.append(f"{name}: latents of all pictures were made once by {networks.autoencoder.name}, without noise")
        identity = {**identity, "latents": dataset.digest_of([rows["train"][0]])}
    splits = {
        split: Split(part, Noising(noise, unsaid if split == "train" else None),
                     **{**options.of_split(split), "draw": Noising.draw})
        for split, part in rows.items()
    }  # fmt: skip
    identity = {"content": dataset.digest_of(rows["train"]), **identity, "noise": noise}
    return dataset.make_data(name, identity, splits, options, None, tokenizer, notes)


def pixels(split, networks, num_images=None) -> np.ndarray:
    """The first pictures of a split, uint8, all of them by default; from latents, as the autoencoder shows them."""
    stored = np.asarray(split.rows[0][:num_images])
    if stored.dtype == np.uint8:
        return stored
    return np.asarray(denoising.to_uint8(networks.decode(stored)))

"""Recordings as batches of a fixed length, cut at random, with their voice or mel frames as the condition."""

from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset
from kzoo.data.sounds import recordings, sound_batches
from kzoo.data.sources import folders, table_files
from kzoo.tasks.sound_generation.mels import Mels

SAMPLES = 4096  # of a training crop, where none are asked for


class NextSamples(columns.Values):
    """The next sample at each place, float32 (examples, samples) in [-1, 1]."""

    def check(self, label, y, x) -> None:
        raise ValueError(f"{label}: the next samples follow from the recordings; name a data set or a folder")


def following(waveform) -> np.ndarray:
    """What comes after each sample (batch, samples): the next one, and silence after the last."""
    return np.concatenate([waveform[:, 1:], np.zeros_like(waveform[:, :1])], axis=1)


def load(task, name, model, how) -> Any:
    """The `Data` of class folders of recordings, a table of paths and classes, or a prepared data set with a sound."""
    wanted = _inputs(model)
    rate = wanted["waveform"].sample_rate
    files, folder = table_files.find(name), folders.find(name)
    if files is not None:
        found = recordings.from_table(files, rate, how.columns, trim=how.trim, skip_bad=how.skip_bad)
        found.class_names = sorted({each for part in found.targets.values() for each in part})
        places = {each: place for place, each in enumerate(found.class_names)}
        found.targets = {split: [places[each] for each in part] for split, part in found.targets.items()}
    elif folder is not None:
        found = recordings.from_classes(folder, rate, trim=how.trim, skip_bad=how.skip_bad)
    else:
        builder = task.prepared(name, how)
        found = recordings.from_tfds(name, builder, rate, _condition(name, builder, model, wanted), how.trim)
    return _batches(name, found, model, wanted, how)


def synthetic(name, model, sizes, how) -> Any:
    """Noise, for tests and benchmarks."""
    wanted, found = _inputs(model), recordings.Recordings({}, {}, {}, {"name": name}, [])
    for index, (split, size) in enumerate(sizes.items()):
        random = np.random.default_rng(index)
        limit = wanted["speaker"].limit if "speaker" in wanted else 1
        clips = wanted["waveform"].draw(random, size, 32)
        recordings.hold(found, split, list(clips), random.integers(0, limit, size).tolist())
    return _batches(name, found, model, wanted, how)


def _inputs(model):
    """The columns of a model's inputs; ValueError for others than a waveform, a speaker and mel frames."""
    wanted = columns.inputs_of(model)
    if "waveform" not in wanted or set(wanted) - {"waveform", "speaker", "mel"}:
        raise ValueError(f"{model.name} takes {', '.join(wanted)}; recordings give waveform, speaker and mel")
    return wanted


def _condition(name, builder, model, wanted):
    """The feature of a data set that a model is conditioned on: the one with as many classes as it has speakers."""
    features = builder.info.features
    sizes = {key: one.num_classes for key, one in features.items() if hasattr(one, "num_classes")}
    if "speaker" not in wanted:
        key = next(iter(sizes), None) or next((key for key, one in features.items() if one.shape == ()), None)
        if key is None:
            raise ValueError(f"data set {name!r} has only {', '.join(features)}; wanted a sound and one thing more")
        return key
    fitting = [key for key, size in sizes.items() if size == wanted["speaker"].limit]
    if len(fitting) != 1:
        told = ", ".join(f"{key} ({size})" for key, size in sizes.items()) or "none"
        raise ValueError(
            f"{model.name} is conditioned on one of {wanted['speaker'].limit}; the classes of data set {name!r} are "
            f"{told}: build the model with num_speakers= the number of those that are meant"
        )
    return fitting[0]


def _batches(name, found, model, wanted, how):
    options = how.options
    if options.augment:
        raise ValueError(f"augment={options.asked!r}: a model that writes sound would write what it changes; leave it")
    if "speaker" in wanted:
        for split, ids in found.targets.items():
            if max(ids) >= wanted["speaker"].limit:
                raise ValueError(
                    f"{name} {split} has a class {max(ids)}, and {model.name} knows {wanted['speaker'].limit}: build "
                    f"it with num_speakers={max(ids) + 1}"
                )
    if any(isinstance(clips[0], str) for clips in found.clips.values()):
        raise ValueError(f"{name} holds more sound than fits into memory; split it, or lower the sample rate")
    places, notes = sound_batches.carve(name, found, found.keys, options)
    crop = Crop(model, wanted, how.texts.max_length)
    rows = {}
    for split, (chosen, source) in places.items():
        clips, ids = found.clips[source][chosen], np.array(found.targets[source], np.int32)[chosen]
        dataset.check_examples(f"{name} {split}", clips, clips)
        stored = dataset.ragged([np.asarray(clip, np.float32) for clip in clips])
        rows[split] = stored, ids
        minutes = len(stored.values) / wanted["waveform"].sample_rate / 60
        notes.append(f"{name}: {split} {len(clips):,} clips, {minutes:,.1f} minutes")
    identity = {**found.identity, "name": name, "class_names": found.class_names, "crop": crop.length}
    if "content" not in identity:
        identity["content"] = dataset.digest_of([(clips.values, clips.row_splits) for clips, _ in rows.values()])
    splits = dataset.make_splits(rows, crop, options, draw=lambda key, count: tf.random.stateless_uniform([count], key))
    data = dataset.make_data(name, identity, splits, options, found.class_names, None, [*found.notes, *notes])
    data.sample_rate = wanted["waveform"].sample_rate
    return data


class Crop:
    """Inputs and targets of clips: a silent sample before each, and what follows each place.

    In training a crop of `length` samples begins anywhere in a clip that is longer, and what lies beyond its end is
    silence to be learned. Elsewhere whole clips are padded to the longest, and padding counts nowhere.
    """

    def __init__(self, model, wanted, length):
        self.mels = Mels(model) if "mel" in wanted else None
        self.hop = self.mels.hop if self.mels else 1
        self.takes_speaker, self.length = "speaker" in wanted, -(-(length or SAMPLES) // self.hop) * self.hop

    def __call__(self, rows, random) -> tuple:
        """`(x, y)` or `(x, y, weight)` of (ragged clips, ids) and a number in [0, 1) for each, or None."""
        clips, ids = rows
        sizes = tf.cast(clips.row_lengths(), tf.int32)
        if random is None:
            length = -(-tf.reduce_max(sizes) // self.hop) * self.hop
            start = tf.zeros_like(sizes)
        else:
            length = self.length
            spare = tf.maximum(sizes - length, 0) // self.hop + 1
            start = tf.cast(random * tf.cast(spare, tf.float32), tf.int32) * self.hop
        whole = clips.to_tensor(0.0)
        whole = tf.pad(whole, [[0, 0], [0, tf.maximum(length - tf.shape(whole)[1], 0)]])
        places = start[:, None] + tf.range(length + 1)
        cut = tf.gather(tf.pad(whole, [[0, 0], [1, length]]), places, batch_dims=1)
        x = {"waveform": cut[:, :-1]}
        if self.takes_speaker:
            x["speaker"] = tf.cast(ids, tf.int32)
        if self.mels:
            count = length // self.hop + 2 * self.mels.context
            frames = tf.pad(self.mels(whole), [[0, 0], [0, count], [0, 0]])
            x["mel"] = tf.gather(frames, start[:, None] // self.hop + tf.range(count), batch_dims=1)
        x = x if len(x) > 1 else x["waveform"]
        if random is not None:
            return x, cut[:, 1:]
        return x, cut[:, 1:], tf.cast(tf.range(length) < sizes[:, None], tf.float32)

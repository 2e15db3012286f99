"""Recordings as batches: padded to the longest of a batch, with the number of samples of each, or cut to one length."""

from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset
from kzoo.data.augmentation import RECIPES
from kzoo.data.sounds import sound_files
from kzoo.data.sounds.sound_augmentation import SoundAugmentation

STEPS_PER_SECOND = 10  # batches are padded to a multiple of this part of a second


class SoundInputs:
    """Makes a model's inputs of clips: `waveform`, and `num_samples` for a model that takes it.

    Args:
        model: one with an input of kind `waveform`; ValueError for any other.

    Attributes:
        sample_rate: in Hz.
        length: how many samples the model takes; None for any number.
    """

    def __init__(self, model):
        wanted = columns.inputs_of(model)
        self.names = {column.kind: name for name, column in wanted.items()}
        if "waveform" not in self.names or set(self.names) - {"waveform", "num_samples"}:
            raise ValueError(f"{model.name} takes {', '.join(wanted)}; sounds give a waveform and its num_samples")
        column = wanted[self.names["waveform"]]
        self.sample_rate, self.length, self.model_name = column.sample_rate, column.shape[0], model.name

    def of_clips(self, clips) -> Any:
        """A list of clips, float32 (num_samples,) each, as the model's inputs in NumPy."""
        inputs = self(*_padded(tf.ragged.stack([np.asarray(clip, np.float32) for clip in clips])))
        return tf.nest.map_structure(lambda array: array.numpy(), inputs)

    def __call__(self, waveform, num_samples):
        """From clips (batch, samples) with zeros after their end, and their lengths (batch,)."""
        step = self.sample_rate // STEPS_PER_SECOND
        length = self.length or -(-tf.shape(waveform)[1] // step) * step
        waveform = tf.pad(waveform[:, :length], [[0, 0], [0, tf.maximum(length - tf.shape(waveform)[1], 0)]])
        waveform = tf.ensure_shape(waveform, (None, self.length))
        if "num_samples" not in self.names:
            return waveform
        num_samples = tf.minimum(tf.cast(num_samples, tf.int32), length)
        return {self.names["waveform"]: waveform, self.names["num_samples"]: num_samples}

    def note_cut(self, name, lengths) -> list:
        """A note about clips that are longer than the model's input."""
        cut = sum(int((part > self.length).sum()) for part in lengths.values()) if self.length else 0
        seconds = (self.length or 0) / self.sample_rate
        return [f"{name}: {cut:,} clips are longer than {seconds:g} s and lose their end"] if cut else []


def sound_options(options, usual) -> dataset.Options:
    """The options of a data set of sounds, whose augmentation is the recipe `usual` where none is named."""
    if options.asked is True and not isinstance(options.augment, SoundAugmentation):
        options.augment = RECIPES[usual]
    options.require(SoundAugmentation)
    return options


def carve(name, recordings, keys, options) -> tuple:
    """`({split: (places in the split they came from, split it came from)}, notes)` after examples were set aside.

    Args:
        keys: `{split: list}`: examples of the same key stay on one side.
    """
    first = "all" if "all" in recordings.clips else "train"
    rows = {"train": (np.arange(len(keys[first])),)}
    notes, held = [], {split: split for split in recordings.clips if split != first}
    if first == "all":
        whole = dataset.Options(validation_fraction=options.validation_fraction)
        notes += dataset.carve(name, rows, [_hashable(keys[first])], whole, "test")
    left = [_hashable([keys[first][place] for place in rows["train"][0]])]
    rows |= {split: (np.arange(len(keys[split])),) for split in held}
    notes += dataset.carve(name, rows, left, options)
    return {split: (places, held.get(split, first)) for split, (places,) in rows.items()}, notes


def _hashable(keys):
    return np.array([str(key) for key in keys], object)


def from_recordings(
    name, recordings, rows, targets, to_target, model, options, class_names=None, tokenizer=None
) -> Any:
    """The `Data` of recordings.

    Args:
        rows: what `carve` gave: `{split: (places, split they came from)}`.
        targets: `{split: stored targets}` of these rows, arrays or ragged tensors.
        to_target: `to_target(targets)` gives a batch of them as the loss takes it.
    """
    inputs = SoundInputs(model)
    stored, lengths = {}, {}
    for split, (places, source) in rows.items():
        clips, lengths[split] = recordings.clips[source][places], recordings.lengths[source][places]
        dataset.check_examples(f"{name} {split}", clips, clips)
        in_memory = not isinstance(clips[0], str)
        stored[split] = ((_ragged(clips) if in_memory else clips.astype(str)), targets[split])

    def finish(batch, random):
        clips, target = batch
        if not isinstance(clips, tf.RaggedTensor):
            clips = _read(clips, inputs.sample_rate, recordings.identity["trim"])
        waveform, num_samples = _padded(clips)
        if random is not None:
            waveform, num_samples = options.augment.apply(waveform, num_samples, random, inputs.sample_rate)
        return inputs(waveform, num_samples), to_target(target)

    draw = options.augment.draw if options.augment else None
    splits = dataset.make_splits(stored, finish, options, draw, lengths["train"])
    notes = [*recordings.notes, *inputs.note_cut(name, lengths)]
    hours = {split: part.sum() / inputs.sample_rate / 60 for split, part in lengths.items()}
    notes.append(f"{name}: " + ", ".join(f"{split} {minutes:,.1f} minutes" for split, minutes in hours.items()))
    identity = {**recordings.identity, "name": name, "class_names": class_names}
    if "content" not in identity:
        identity["content"] = dataset.digest_of([(clips.values, clips.row_splits) for clips, _ in stored.values()])
    data = dataset.make_data(name, identity, splits, options, class_names, tokenizer, notes)
    data.sample_rate, data.trims_silence = inputs.sample_rate, bool(recordings.identity.get("trim"))
    return data


def _ragged(clips):
    return dataset.ragged([np.asarray(clip, np.float32) for clip in clips])


def _padded(clips):
    return clips.to_tensor(0.0), tf.cast(clips.row_lengths(), tf.int32)


def _read(paths, sample_rate, trim):
    """The sounds of the files of a batch."""

    def one(path):
        return sound_files.read(path.decode(), sample_rate, trim).samples

    return tf.map_fn(
        lambda path: tf.ensure_shape(tf.numpy_function(one, [path], tf.float32), (None,)),
        paths,
        fn_output_signature=tf.RaggedTensorSpec((None,), tf.float32, ragged_rank=0),
    )

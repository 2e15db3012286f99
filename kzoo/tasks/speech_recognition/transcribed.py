"""Recordings with their transcripts as batches, and how many words and letters a model gets wrong in them."""

from typing import Any

import keras
import numpy as np

from kzoo.data import checks, columns, dataset, token_rows
from kzoo.data.sounds import recordings, sound_batches
from kzoo.data.sources import table_files
from kzoo.data.tokenizing import alphabets
from kzoo.data.tokenizing.tokenizers import Tokenizer
from kzoo.tasks.speech_recognition import ctc, error_rates, transcripts

TRANSCRIPTS = ("transcript", "transcription", "text_normalized", "text", "sentence")
RECIPE = "speech"  # of augmentation
FEWEST = 20  # different transcripts, so that those that are set aside can be different ones


def has_transcripts(builder) -> bool:
    """Whether the examples of a TFDS data set have a sound and a text."""
    features = builder.info.features
    return any(hasattr(one, "sample_rate") for one in features.values()) and _text_key(builder) is not None


def _text_key(builder):
    features = builder.info.features
    texts = [key for key, one in features.items() if one.shape == () and np.dtype(one.np_dtype).kind in "OSU"]
    return next((key for key in TRANSCRIPTS if key in texts), None)


def load(task, name, model, how) -> Any:
    """The `Data` of a table of paths and transcripts, a folder as LibriSpeech has it, or a prepared data set."""
    sample_rate = sound_batches.SoundInputs(model).sample_rate
    files, folder = table_files.find(name), recordings.find_spoken(name)
    if folder is not None:
        found = recordings.from_transcripts(folder, sample_rate, trim=how.trim, skip_bad=how.skip_bad)
    elif files is not None:
        found = recordings.from_table(files, sample_rate, how.columns, trim=how.trim, skip_bad=how.skip_bad)
    else:
        builder = task.prepared(name, how)
        key = _text_key(builder)
        if key is None:
            raise ValueError(
                f"data set {name!r} has no transcripts (its features: {', '.join(builder.info.features)}); "
                f"{model.name} learns from one of {', '.join(TRANSCRIPTS)}"
            )
        found = recordings.from_tfds(name, builder, sample_rate, key, how.trim)
    return _batches(name, found, model, how.options, how.texts.tokenizer, how.skip_bad)


def from_arrays(name, parts, model, options) -> Any:
    """The `Data` of clips in memory, lists of arrays or padded ones, with texts or ids of letters."""
    found = recordings.Recordings({}, {}, {}, {"name": name}, [])
    heard = columns.heard(model)
    ids = {}
    for split, (x, y, _) in parts.items():
        x = columns.completed(columns.inputs_of(model), x)
        lengths = np.asarray(x["num_samples"])
        clips = [row[:length] for row, length in zip(heard.check(x["waveform"]), lengths, strict=True)]
        dataset.check_examples(f"{name} {split}", checks.objects(clips), checks.objects(y))
        recordings.hold(found, split, clips, list(y))
        if not isinstance(found.targets[split][0], str):
            checked, _ = transcripts.Transcript(model.outputs[0].shape[-1]).check(f"{name} {split}", np.asarray(y), x)
            ids[split] = [row[row > 0].tolist() for row in checked]
    return _batches(name, found, model, options, None, False, ids)


def synthetic(name, model, sizes, options) -> Any:
    """Random sounds with random transcripts, for tests and benchmarks."""
    from kzoo.data.synthetic import synthetic_inputs

    parts = {}
    for index, (split, size) in enumerate(sizes.items()):
        random = np.random.default_rng(index)
        x = synthetic_inputs(model, size, random, 32)
        parts[split] = (x, transcripts.Transcript(model.outputs[0].shape[-1]).draw(random, size, 32)[0], None)
    return from_arrays(name, parts, model, options)


def _batches(name, found, model, options, tokenizer, skip_bad, ids=None):
    options = sound_batches.sound_options(options, RECIPE)
    tokenizer = _tokenizer(tokenizer or model.kzoo.tokenizer, model) if not ids else model.kzoo.tokenizer
    notes = []
    for split in found.clips:
        names = [f"{name} {split}, clip {place}" for place in range(len(found.targets[split]))]
        if ids:
            rows, keep = ids[split], np.ones(len(names), bool)
        else:
            keep, told = alphabets.check_transcripts(tokenizer, found.targets[split], names, skip_bad)
            rows = [[] for _ in names]
            spelled = tokenizer.encode([found.targets[split][place] for place in np.flatnonzero(keep)])
            for place, row in zip(np.flatnonzero(keep), spelled, strict=True):
                rows[place] = row
            notes += told
        frames = transcripts.frame_counter(model)(_shortest(found.lengths[split], split, options))
        fits, told = ctc.check_alignments(rows, frames, names, skip_bad)
        notes += told
        keep = np.flatnonzero(keep & fits)
        found.clips[split], found.lengths[split] = found.clips[split][keep], found.lengths[split][keep]
        found.targets[split] = [rows[place] for place in keep]
        found.keys[split] = [found.keys[split][place] for place in keep]
        empty = sum(not row for row in found.targets[split])
        notes += [f"{name} {split}: {empty:,} transcripts are empty"] if empty else []
    first = "all" if "all" in found.clips else "train"
    few = len({tuple(row) for row in found.targets[first]}) < FEWEST
    places, told = sound_batches.carve(name, found, found.keys if few else found.targets, options)
    targets = {
        split: token_rows.ragged([found.targets[source][place] for place in chosen])
        for split, (chosen, source) in places.items()
    }
    found.notes += notes + told
    if tokenizer is not None:
        found.identity["tokenizer"] = tokenizer.digest
    return sound_batches.from_recordings(
        name, found, places, targets, lambda rows: rows.to_tensor(0), model, options, tokenizer=tokenizer
    )


def _shortest(lengths, split, options):
    """Numbers of samples after the fastest change of speed that training clips may get."""
    faster = 1 + options.augment.speed if options.augment and split in ("train", "all") else 1
    return (lengths / faster).astype(np.int64)


def _tokenizer(tokenizer, model):
    """The alphabet asked for, else DeepSpeech's; ValueError unless the model has one output for each of its letters."""
    if tokenizer is None:
        tokenizer = alphabets.make_alphabet()
    elif not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer.load(tokenizer)
    size = model.outputs[0].shape[-1]
    if tokenizer.vocabulary_size != size or tokenizer.pad_id != 0:
        raise ValueError(
            f"the alphabet has {tokenizer.vocabulary_size} labels, its blank is {tokenizer.pad_id}, and {model.name} "
            f"gives {size}, the blank 0: build it with num_labels={tokenizer.vocabulary_size}, or pass the tokenizer "
            "of kzoo.data.make_alphabet(letters)"
        )
    return tokenizer


def score(task, model, data, split) -> dict:
    """`word_error_rate` and `character_error_rate` of a split: errors over all words, or letters, of its transcripts.

    Empty where the letters have no names.
    """
    tokenizer = data.tokenizer or model.kzoo.tokenizer
    if tokenizer is None:
        return {}
    said, heard = [], []
    for x, y in split.as_it_is().dataset:
        x = keras.tree.map_structure(np.asarray, x)
        said += tokenizer.decode(np.asarray(y))
        heard += task.transcribe(model, x, tokenizer)
    return error_rates.error_rates(said, heard)

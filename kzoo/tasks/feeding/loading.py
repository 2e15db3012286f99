"""From a name, arrays or texts to training, validation and test batches in a model's input structure."""

import dataclasses
import os
from typing import TYPE_CHECKING

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.tasks import every, of_or_guess
from kzoo.tasks.base import takes_sounds

if TYPE_CHECKING:
    from kzoo.data import Data


def load(
    name, model, batch_size=64, seed=0, augment=False, data_dir=None, manual_dir=None, validation_fraction=0.1,
    tokenizer=None, download=False, num_examples=None, preprocessing=None, max_length=None, drop_remainder=False,
    skip_bad=False, whole_words=False, length_buckets=True, columns=None, trim=False,
) -> "Data":  # fmt: skip
    """Loads a data set by name, fitted to a model.

    Images up to 1 GB live in memory; larger sets are streamed and shuffled in blocks. Order and augmentation depend on
    (seed, epoch, example) only. Images are float32 in [0, 1]; labels are int32 (batch,), or float32 (batch, 1) for
    binary classification.

    Args:
        name: `digits`, `digits/zero_one`, `moving_digits`, `reverse_digits`, `synthetic`, or any data set of
            tensorflow-datasets that is prepared, can be prepared from `manual_dir`, or may be downloaded; a folder of
            class folders of images or videos (`folders`); a table (.csv, .tsv, .jsonl, .parquet), a folder of tables
            called train, validation and test, or parallel texts, "train.en,train.de". Translation takes a pair of
            texts, classification of texts one or two texts and a label, a language model or pre-training a feature
            `text`, a .txt file or a folder of them.
        model: a model of `kzoo.build`, or a Keras classifier; its task, inputs and outputs say what is wanted.
        augment: a name of `kzoo.data.RECIPES` or an `Augmentation` changes training images at random; True is "digits".
        data_dir: folder of prepared data; `TFDS_DATA_DIR`, else `~/tensorflow_datasets` by default.
        manual_dir: folder with the files as their authors publish them.
        validation_fraction: how much of train becomes validation if the data set has none; the choice depends on the
            examples only, and equal examples stay together.
        tokenizer: a `Tokenizer`, a path, or the kind to train on the training texts: characters, words, subwords, bytes
            or wordpieces. The model's own by default, else one is trained.
        num_examples: train on so many examples only; of a language model, whole texts.
        preprocessing: how images become the input, a `kzoo.Preprocessing`; the model's own by default.
        max_length: tokens a text is cut to, or a row of a language model has; 128 by default, or the model's own limit.
            How many texts were cut is in `notes`.
        drop_remainder: leave out a last training batch that is not full.
        skip_bad: leave out the files of a folder that are no images, and bad rows of a table; `notes` counts them.
        whole_words: mask words with all their tokens (masked language modelling).
        length_buckets: put texts of like length into a training batch.
        columns: those of a table that are meant, by name or by number from 0: `"text,label"`, the last one to be
            learned, or `"width,height:price,rent"`. By default guessed, as `notes` say.
        trim: cut silence, 40 dB below the loudest sample, from both ends of every sound.

    Raises ValueError that names what was passed, what is wanted and the fix.
    """
    from kzoo.data import dataset, token_rows
    from kzoo.data.sources import table_files

    name = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a data set's name, got {name!r}; for arrays there is kzoo.data.from_arrays")
    task = of_or_guess(model)
    model = task.fed(model)
    card = card_of(model)
    _refuse_made_for_others(name, model, task)
    options = dataset.Options(
        batch_size, seed, augment, validation_fraction, num_examples, preprocessing or card.preprocessing,
        drop_remainder,
    )  # fmt: skip
    texts = token_rows.TextOptions(tokenizer or card.tokenizer, max_length, whole_words, length_buckets)
    how = dataset.How(options, texts, data_dir, manual_dir, download, skip_bad, columns, trim or card.trims_silence)
    if columns and table_files.find(name) is None:
        raise ValueError(f"columns={columns!r} (--columns) is for tables, and {name!r} is none")
    if trim and not takes_sounds(model):
        raise ValueError(f"trim={trim!r} (--trim) is for sounds, and {model.name} takes none")
    return _noting_ids((task.synthetic if name == "synthetic" else task.batches)(name, model, how), model)


def width_of(
    name, model, data_dir=None, manual_dir=None, download=False, skip_bad=False, columns=None, trim=False, **_
) -> int | None:
    """The `num_classes` that a data set asks of a model, int, or None where that is open; keywords are those of `load`.

    Raises ValueError as `load` does for a name without data.
    """
    from kzoo.data import dataset

    name = os.fspath(name) if isinstance(name, os.PathLike) else name
    how = dataset.How(None, None, data_dir, manual_dir, download, skip_bad, columns, trim)
    task = of_or_guess(model)
    _refuse_made_for_others(name, model, task)
    return task.width_of(name, model, how)


def _refuse_made_for_others(name, model, task):
    others = [other.words for other in every() if name in other.generated_data and other is not task]
    if others:
        raise ValueError(f"data set {name!r} is for {' or '.join(others)}; {model.name} is for {task.words}")


def _noting_ids(data, model):
    """The data, saying which ids they may hold: those of their tokenizer, else those of the model."""
    known = data.tokenizer.vocabulary_size if data.tokenizer else None
    wanted = columns.inputs_of(model)
    size = max(columns.id_limits(wanted).values(), default=0)
    if known and 1000 < size > 2 * known:
        data.notes.append(f"the tokenizer has {known:,} tokens and {model.name} a table of {size:,} (vocabulary_size)")
    data.id_limits = {
        name: limit if isinstance(wanted[name], columns.Segments) else min(limit, known or limit)
        for name, limit in columns.id_limits(wanted).items()
    }
    return data


def from_arrays(x, y, model, validation=None, test=None, class_names=None, name="arrays", **options) -> "Data":
    """The same as `load` for NumPy arrays: `x` (examples, ...), `y` class indices or names (examples,).

    uint8 images of any size are fitted to the model and divided by 255; other numbers must have the input's shape. A
    model with several inputs takes a dict of arrays, one with named outputs a dict of labels. Where every token has a
    label, `y` is (examples, length): token ids, or tags; -100 counts nowhere, nor does what a padding mask leaves out.
    For regression `y` is numbers (examples,) or (examples, num_classes); where several labels hold, rows of zeros and
    ones (examples, num_classes) or lists of names.

    Args:
        validation, test: pairs (x, y), or None; without `validation`, a part of the training examples is set aside.
        **options: batch_size, seed, augment, validation_fraction, num_examples, preprocessing and drop_remainder of
            `load`.
    """
    from kzoo.data import dataset

    known = [field.name for field in dataclasses.fields(dataset.Options)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"from_arrays: unknown keyword {', '.join(unknown)}; known: {', '.join(known)}")
    model = of_or_guess(model).fed(model)
    parts, class_names = _encoded({"train": (x, y), "validation": validation, "test": test}, model, class_names, name)
    parts = {split: (*pair, None) for split, pair in parts.items()}
    options["preprocessing"] = options.get("preprocessing") or card_of(model).preprocessing
    task = of_or_guess(model)
    return _noting_ids(task.arrays(name, parts, model, dataset.Options(**options), class_names), model)


def _encoded(parts, model, class_names, name):
    """`({split: (x, y)}, class names)` with words in place of labels as the places of their classes."""
    target, encoded = of_or_guess(model).target(model), {}
    for split, pair in parts.items():
        if pair is None:
            continue
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"{split} must be a pair (x, y), got {type(pair).__name__}")
        x, y = pair[0], _array(pair[1])
        if not isinstance(target, dict):
            known = class_names or card_of(model).class_names
            y, named = target.encode(f"{name} {split} labels", y, known)
            class_names = class_names or (named if named is not known else None)
        encoded[split] = (x, y)
    return encoded, class_names


def _array(y):
    """A list of numbers, or of equal rows of them, as an array; anything else as it is."""
    if not isinstance(y, list) or not y or isinstance(y[0], str):
        return y
    widths = {np.shape(row) for row in y}
    are_numbers = len(widths) == 1 and widths != {(0,)} and np.asarray(y).dtype.kind in "biuf"
    return np.asarray(y) if are_numbers else y


def from_texts(
    texts, labels, model, validation=None, test=None, class_names=None, name="texts", tokenizer=None, max_length=None,
    length_buckets=True, **options,
) -> "Data":  # fmt: skip
    """The same as `load` for the classification of one's own texts.

    Args:
        texts: a list of strings, or a pair of lists for pairs of texts.
        labels: class indices or names (examples,), or what the model's task learns in their place.
        validation, test: pairs (texts, labels), or None; without `validation`, a part of the training texts is.
        class_names: names of the labels, for predictions.
        **options: batch_size, seed, validation_fraction, num_examples and drop_remainder of `load`.
    """
    from kzoo.data import dataset, labelled_texts, token_rows

    parts = {"train": (texts, labels), "validation": validation, "test": test}
    parts, class_names = _encoded(parts, model, class_names, name)
    parts = {split: (x if isinstance(x, tuple) else (x,), y) for split, (x, y) in parts.items()}
    how = token_rows.TextOptions(tokenizer or card_of(model).tokenizer, max_length, length_buckets=length_buckets)
    data = labelled_texts.from_parts(
        name, {"name": name}, parts, model, of_or_guess(model).target(model), dataset.Options(**options), how,
        class_names,
    )  # fmt: skip
    return _noting_ids(data, model)

"""From a name or arrays to training, validation and test batches in a model's input structure."""

import dataclasses
import functools
import inspect

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import checks, labelled_texts, language, pictures, sentence_pairs, synthetic, text
from kzoo.data.dataset import Options
from kzoo.data.sources import corpora, folders, prepared
from kzoo.tasks.detection import boxed_images

LANGUAGE = {
    "language_modeling": language.from_texts,
    "masked_language_modeling": language.from_texts,
    sentence_pairs.TASK: sentence_pairs.from_texts,
}
SYNTHETIC_SIZES = {"train": 1024, "validation": 128, "test": 128}


def _noting_ids(function):
    """Has a loader's data say which ids they may hold: those of their tokenizer, else those of the model."""

    @functools.wraps(function)
    def load_and_note(*args, **options):
        data = function(*args, **options)
        limits = checks.id_limits(inspect.signature(function).bind(*args, **options).arguments["model"])
        known = data.tokenizer.vocabulary_size if data.tokenizer else None
        data.id_limits = {
            name: limit if "segment" in name else min(limit, known or limit) for name, limit in limits.items()
        }
        return data

    return load_and_note


@_noting_ids
def load(
    name, model, batch_size=64, seed=0, augment=False, data_dir=None, manual_dir=None, validation_fraction=0.1,
    tokenizer=None, download=False, num_examples=None, preprocessing=None, max_length=None, drop_remainder=False,
    skip_bad=False, whole_words=False, length_buckets=True,
):  # fmt: skip
    """Loads a data set by name, fitted to a model.

    Images up to 1 GB live in memory; larger sets are streamed and shuffled in blocks. Order and augmentation depend on
    (seed, epoch, example) only. Images are float32 in [0, 1]; labels are int32 (batch,), or float32 (batch, 1) for
    binary classification.

    Args:
        name: `digits`, `digits/zero_one`, `reverse_digits`, `synthetic`, or any data set of tensorflow-datasets that is
            prepared, can be prepared from `manual_dir`, or may be downloaded; or a folder of class folders of images
            (`folders`). Translation takes a pair of texts, classification of texts one or two texts and a label, a
            language model or pre-training a feature `text`, a .txt file or a folder of them.
        model: a Keras model with the attribute `kzoo`; its inputs and outputs say what is wanted.
        augment: a name of `kzoo.data.RECIPES` or an `Augmentation` changes training images at random; True is "digits".
        data_dir: folder of prepared data; `TFDS_DATA_DIR`, else `~/tensorflow_datasets` by default.
        manual_dir: folder with the files as their authors publish them.
        validation_fraction: how much of train becomes validation if the data set has none; the choice depends on the
            examples only, and equal examples stay together.
        tokenizer: a `Tokenizer`, a path, or the kind to train on the training texts: characters, words, subwords, bytes
            or wordpieces.
        num_examples: train on so many examples only; of a language model, whole texts.
        preprocessing: how images become the input, a `kzoo.Preprocessing`; the model's own by default.
        max_length: tokens a text is cut to, or a row of a language model has; 128 by default, or the model's own limit.
            How many texts were cut is in `notes`.
        drop_remainder: leave out a last training batch that is not full.
        skip_bad: leave out the files of a folder that are no images; `notes` counts and names them.
        whole_words: mask words with all their tokens (masked language modelling).
        length_buckets: put texts of like length into a training batch.

    Raises ValueError that names what was passed, what is wanted and the fix.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a data set's name, got {name!r}; for arrays there is kzoo.data.from_arrays")
    options = Options(
        batch_size,
        seed,
        augment,
        validation_fraction,
        num_examples,
        _preprocessing(model, preprocessing),
        drop_remainder,
    )
    choices = text.Choices(tokenizer, max_length, whole_words, length_buckets)
    task = checks.task(model)
    translation = task == "translation"
    if name == "synthetic" and task == boxed_images.TASK:
        return boxed_images.synthetic(name, model, SYNTHETIC_SIZES, options)
    if name == "synthetic":
        batches = {
            split: synthetic.synthetic_batch(model, size, seed=index)
            for index, (split, size) in enumerate(SYNTHETIC_SIZES.items())
        }
        return pictures.from_parts(name, {"name": name}, batches, model, options)
    if name == "reverse_digits":
        if not translation:
            raise ValueError(f"data set 'reverse_digits' is for translation; {model.name} is for {checks.task(model)}")
        choices.tokenizer = tokenizer or "characters"
        return text.from_pairs(name, {"name": name}, text.reverse_digits(), model, options, choices)
    path = corpora.find(name) if task in LANGUAGE else None
    if path is not None:
        return LANGUAGE[task](name, {"name": name}, corpora.read_files(path), model, options, choices)
    folder = folders.find(name)
    if task == boxed_images.TASK and (folder is not None or name == "digits"):
        raise ValueError(f"{name!r} has no boxes of objects, which {model.name} learns from")
    if folder is not None:
        return pictures.from_folder(name, folder, model, options, skip_bad)
    if skip_bad:
        raise ValueError(f"skip_bad (--skip-bad) is for folders of images, and {name!r} is none")
    builder = prepared.find(name, data_dir, manual_dir, download)
    sizes, identity = prepared.sizes(builder), {"name": name, "version": str(builder.info.version)}
    boxed_images.check_task(name, builder, model)
    if task == boxed_images.TASK:
        return boxed_images.from_tfds(name, identity, builder, sizes, model, options)
    if task in LANGUAGE:
        return LANGUAGE[task](name, identity, corpora.read_texts(builder, sizes), model, options, choices)
    if task == "text_classification":
        parts, class_names = corpora.read_labelled(builder, sizes)
        return labelled_texts.from_parts(name, identity, parts, model, options, choices, class_names)
    pair = prepared.pair(builder)
    is_text = [np.dtype(builder.info.features[key].np_dtype).kind in "OSU" for key in pair]
    if translation != all(is_text) or any(is_text) != all(is_text):
        what = ", ".join(f"{key} ({'text' if yes else 'no text'})" for key, yes in zip(pair, is_text, strict=True))
        raise ValueError(f"data set {name!r} is a pair of {what}; {model.name} is for {checks.task(model)}")
    if translation:
        pairs = {split: prepared.read_columns(builder, split, pair) for split in sizes}
        return text.from_pairs(name, identity, pairs, model, options, choices)
    return pictures.from_tfds(name, identity, builder, sizes, model, options)


@_noting_ids
def from_arrays(x, y, model, validation=None, test=None, class_names=None, name="arrays", **options):
    """The same as `load` for NumPy arrays: `x` (examples, ...), `y` class indices (examples,).

    uint8 images of any size are fitted to the model and divided by 255; other numbers must have the input's shape. A
    model with several inputs takes a dict of arrays, one with named outputs a dict of labels. Where every token has a
    label, `y` is (examples, length): token ids, or tags; -100 counts nowhere, nor does what a padding mask leaves out.

    Args:
        validation, test: pairs (x, y), or None; without `validation`, a part of the training examples is set aside.
        **options: batch_size, seed, augment, validation_fraction, num_examples, preprocessing and drop_remainder of
            `load`.
    """
    known = [field.name for field in dataclasses.fields(Options)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"from_arrays: unknown keyword {', '.join(unknown)}; known: {', '.join(known)}")
    if checks.task(model) == boxed_images.TASK:
        raise ValueError(
            f"from_arrays takes one label an image; {model.name} learns boxes: name a data set that has them"
        )
    parts = {"train": (x, y, None)}
    for split, pair in (("validation", validation), ("test", test)):
        if pair is not None:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ValueError(f"{split} must be a pair (x, y), got {type(pair).__name__}")
            parts[split] = (*pair, None)
    options["preprocessing"] = _preprocessing(model, options.get("preprocessing"))
    return pictures.from_parts(name, {"name": name}, parts, model, Options(**options), class_names)


@_noting_ids
def from_texts(
    texts, labels, model, validation=None, test=None, class_names=None, name="texts", tokenizer=None, max_length=None,
    length_buckets=True, **options,
):  # fmt: skip
    """The same as `load` for the classification of one's own texts.

    Args:
        texts: a list of strings, or a pair of lists for pairs of texts.
        labels: class indices (examples,).
        validation, test: pairs (texts, labels), or None; without `validation`, a part of the training texts is.
        class_names: names of the labels, for predictions.
        **options: batch_size, seed, validation_fraction, num_examples and drop_remainder of `load`.
    """
    parts = {"train": (texts, labels), "validation": validation, "test": test}
    parts = {
        split: (part[0] if isinstance(part[0], tuple) else (part[0],), part[1]) for split, part in parts.items() if part
    }
    choices = text.Choices(tokenizer, max_length, length_buckets=length_buckets)
    return labelled_texts.from_parts(name, {"name": name}, parts, model, Options(**options), choices, class_names)


def _preprocessing(model, asked):
    """What the caller asks for, else what the model's weights were trained with, else the default."""
    return asked or card_of(model).preprocessing

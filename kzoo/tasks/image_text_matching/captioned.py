"""Pictures with their captions as batches: from tables of paths, and from prepared data sets."""

import copy
import dataclasses
import functools
import math
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset, pictures, resizing, token_rows
from kzoo.data.augmentation import Augmentation
from kzoo.data.sources import chosen_columns, folders, prepared, table_files
from kzoo.data.splits import Split
from kzoo.tasks.image_text_matching import towers

CAPTIONS = ("caption", "captions", "text", "title", "description", "name")
KIND = "wordpieces"  # of tokens that are learned where there is no tokenizer
JOIN = "+"  # between the names of data sets that are learned together


@dataclasses.dataclass
class Captioned:
    """Pictures and captions by split: arrays (examples, height, width, channels) or paths, and lists of texts."""

    parts: dict
    identity: dict
    notes: list
    fits: dict | None = None  # where pictures are paths, how those of each split are read


def has_captions(builder) -> bool:
    """Whether the examples of a TFDS data set have a picture and a caption."""
    image, text = _keys(builder)
    return image is not None and text is not None


def _keys(builder):
    features = builder.info.features
    images = [key for key, one in features.items() if len(one.shape) == 3 and np.dtype(one.np_dtype) == np.uint8]
    texts = [key for key, one in features.items() if one.shape == () and np.dtype(one.np_dtype).kind in "OSU"]
    return next(iter(images), None), next((key for key in CAPTIONS if key in texts), None)


def load(task, name, model, how) -> Any:
    """The `Data` of a table `path,caption`, or of prepared data sets, whose names may be joined by `+`."""
    column = columns.inputs_of(model)["image"]
    files = table_files.find(name)
    if files is not None:
        found = _from_table(files, column.shape, how)
    else:
        found = Captioned({}, {"name": name}, [])
        for one in name.split(JOIN):
            _add_prepared(found, one, task.prepared(one, how), model, column.shape, how.options.preprocessing)
    return _batches(name, found, model, column, how)


def _from_table(files, shape, how):
    opened = chosen_columns.open_tables(files, how.columns, "images", 1, skip_bad=how.skip_bad)
    captions, listed = [], {}
    for split, table in opened.tables.items():
        (paths,) = chosen_columns.inputs_of(table, opened.chosen.inputs, "images")
        texts = chosen_columns.texts_of(table, opened.chosen.targets[0])
        good = table.good_rows(how.skip_bad)
        listed[split] = [(paths[row], len(captions) + place) for place, row in enumerate(good)]
        captions += [texts[row] for row in good]
        opened.notes += table.notes
    fit = functools.partial(folders.fit, shape=shape, preprocessing=how.options.preprocessing)
    small = 4 * math.prod(shape) * max(map(len, listed.values())) <= pictures.MEMORY_LIMIT
    fits = dict.fromkeys(prepared.SPLITS, fit)
    root = pathlib.Path(os.path.commonpath([path.parent for part in listed.values() for path, _ in part]))
    loaded = folders.load(root, listed, how.options.validation_fraction, fits if small else {}, how.skip_bad)
    parts, digest, notes = loaded
    parts = {split: (images, [captions[row] for row in rows]) for split, (images, rows) in parts.items()}
    identity = {"content": digest, **opened.identity}
    return Captioned(parts, identity, [*opened.notes, *notes], None if small else fits)


def _add_prepared(found, name, builder, model, shape, preprocessing):
    """Adds a prepared data set's examples to those of its splits."""
    keys = _keys(builder)
    if None in keys:
        raise ValueError(
            f"data set {name!r} has {', '.join(builder.info.features)}; {model.name} learns from a picture and one of "
            f"{', '.join(CAPTIONS)}"
        )
    for split in prepared.sizes(builder):
        images, captions = [], []
        with prepared.damage_named(builder):
            for row in prepared.records(builder, split, keys).as_numpy_iterator():
                fitted = resizing.to_float(resizing.resize(row[keys[0]], shape, preprocessing)).numpy()
                images.append(fitted.repeat(shape[2] // fitted.shape[-1], axis=-1))
                captions.append(row[keys[1]].decode("utf-8"))
        known = found.parts.get(split, (np.zeros((0, *shape), np.float32), []))
        found.parts[split] = np.concatenate([known[0], np.stack(images)]), known[1] + captions
    found.identity[name] = {**prepared.identity(name, builder), "features": keys}


def _batches(name, found, model, column, how):
    options = copy.copy(how.options)
    options.require(Augmentation)
    rows = {split: (images, np.array(captions, object)) for split, (images, captions) in found.parts.items()}
    for split, (images, captions) in rows.items():
        dataset.check_examples(f"{name} {split}", images, captions)
        empty = [place for place, caption in enumerate(captions) if not caption.strip()]
        if empty:
            raise ValueError(f"{name} {split}: {len(empty):,} captions are empty, the first that of example {empty[0]}")
    notes = dataset.carve(name, rows, [rows["train"][1]], options)  # equal captions stay together
    # The loss depends on how many pairs a batch has: all have as many.
    options.drop_remainder = len(rows["train"][1]) > options.batch_size
    tokenizer = how.texts.tokenizer or model.kzoo.tokenizer
    tokenizer = token_rows.make_tokenizer(tokenizer, list(rows["train"][1]), model, KIND)
    max_length = token_rows.check_length(model, how.texts.max_length, minimum=3)
    towers.check_end(model, tokenizer)
    wanted = {}
    for split, (images, captions) in rows.items():
        ids, _, cut = token_rows.encode([captions.tolist()], tokenizer, max_length)
        notes += token_rows.report_cut(f"{name} {split}", cut, len(captions), max_length, "captions")
        pairs = np.unique(captions.astype(str), return_inverse=True)[1].astype(np.int32)
        wanted[split] = (images, (ids, pairs))
    identity = {"name": name, **found.identity, **how.texts.fingerprint(max_length, tokenizer)}
    identity.setdefault("content", dataset.digest_of([wanted["train"][0], wanted["train"][1][1]]))
    finish, draw = Finish(model, column, tokenizer, options), None
    if options.augment:
        size = column.shape[:2]
        draw = functools.partial(options.augment.draw, size=size, source=size)
    splits = {}
    for split, part in wanted.items():
        read = folders.from_paths(found.fits[split], finish, column.shape) if found.fits else finish
        splits[split] = Split(part, read, **options.of_split(split, draw))
    return dataset.make_data(name, identity, splits, options, None, tokenizer, [*found.notes, *notes])


class Finish:
    """From gathered rows to the model's inputs and the ids of pairs."""

    def __init__(self, model, column, tokenizer, options):
        from kzoo.tasks import of

        self.pad, self.limit = tokenizer.pad_id or 0, towers.longest_text(model)
        self.of_images = pictures.image_finish(model, of(model).target(model), column, None, column.shape[:2], options)

    def __call__(self, rows, random) -> tuple:
        """`(x, y)` of (images, (ragged ids, ids of pairs)) and random numbers or None."""
        images, (tokens, pairs) = rows
        image, y = self.of_images((images, pairs), random)
        ids, _ = token_rows.padded(tokens, self.pad, self.limit)
        return {"image": image, "token_ids": tf.ensure_shape(ids, (None, None))}, y

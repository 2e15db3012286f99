"""Pictures with their captions: from tables of paths, and from prepared data sets."""

import dataclasses
import functools
import math
import os
import pathlib
from typing import Any

import numpy as np

from kzoo.data import pictures, resizing
from kzoo.data.sources import chosen_columns, folders, prepared, table_files

CAPTIONS = ("caption", "captions", "text", "title", "description", "name")
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


def read(task, name, model, shape, how) -> Any:
    """The `Captioned` of a table `path,caption`, or of prepared data sets, whose names may be joined by `+`.

    Args:
        shape: (height, width, channels) of the model's pictures.
    """
    files = table_files.find(name)
    if files is not None:
        return _from_table(files, shape, how)
    found = Captioned({}, {"name": name}, [])
    for one in name.split(JOIN):
        _add_prepared(found, one, task.prepared(one, how), model, shape, how.options.preprocessing)
    return found


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

"""Texts by split: from text files, and from data sets of tensorflow-datasets with text in them."""

import os
import pathlib
from typing import Any

import numpy as np

from kzoo.data.sources import prepared
from kzoo.data.sources.folders import SPLIT_FOLDERS
from kzoo.data.tokenizing.tokenizer_files import read_text


def find(name) -> Any:
    """The .txt file, or folder of .txt files, that a data set's name stands for; None for a name that is not a path.

    Raises ValueError for a name that can only be a path but holds no text.
    """
    path = pathlib.Path(name).expanduser()
    if path.is_file() or (path.is_dir() and _text_files(path)):
        return path
    if name.startswith((".", "~", os.sep)) or name.lower().endswith((os.sep, ".txt")):
        raise ValueError(f"no text at {path}; wanted a text file (UTF-8) or a folder of .txt files")
    return None


def read_files(path) -> dict:
    """`{split: list of texts}`: one text a file; folders train, validation (or val) and test are splits.

    Raises ValueError naming the file, and the byte, that is not UTF-8.
    """
    if path.is_file():
        return {"train": [read_text(path)]}
    parts = {SPLIT_FOLDERS[folder.name]: folder for folder in sorted(path.iterdir()) if folder.name in SPLIT_FOLDERS}
    if "train" not in parts:
        parts = {"train": path}
    texts = {split: list(map(read_text, _text_files(folder))) for split, folder in parts.items()}
    return {split: part for split, part in texts.items() if part or split == "train"}


def _text_files(folder):
    """Text files at any depth; what a name with a dot hides, such as a file manager's copies, does not count."""
    files = (file for file in folder.rglob("*") if file.suffix.lower() == ".txt" and file.is_file())
    return sorted(file for file in files if not any(part[0] == "." for part in file.relative_to(folder).parts))


def read_texts(builder, sizes) -> dict:
    """`{split: list of texts}` of a data set's feature `text`, or of its only one that is text."""
    keys = _text_keys(builder)
    key = "text" if "text" in keys else keys[0]
    if len(keys) > 1 and key != "text":
        raise ValueError(f"data set {builder.name!r} has several texts and none called 'text': {', '.join(keys)}")
    return {split: prepared.read_columns(builder, split, [key])[0] for split in sizes}


def read_labelled(builder, sizes) -> tuple:
    """`({split: (columns of texts, labels)}, class names)`: one text or, in the order of the features, two of them."""
    features, pair = builder.info.features, builder.info.supervised_keys
    labels = [key for key, feature in features.items() if hasattr(feature, "num_classes")]
    if isinstance(pair, tuple) and len(pair) == 2 and pair[1] in labels and pair[0] in _text_keys(builder):
        keys, label = [pair[0]], pair[1]
    else:
        keys, label = _text_keys(builder), "label" if "label" in features else next(iter(labels), None)
    if label is None or len(keys) > 2:
        raise ValueError(
            f"data set {builder.name!r} has the features {', '.join(features)}; wanted one or two texts and a label"
        )
    parts = {}
    for split in sizes:
        *columns, values = prepared.read_columns(builder, split, [*keys, label])
        parts[split] = (tuple(columns), np.array(values))
    return parts, getattr(features[label], "names", None)


def _text_keys(builder):
    features = builder.info.features
    scalars = [key for key, one in features.items() if not hasattr(one, "num_classes") and one.shape == ()]
    keys = [key for key in scalars if np.dtype(features[key].np_dtype).kind in "OSU"]
    if not keys:
        raise ValueError(f"data set {builder.name!r} has no text; its features are {', '.join(features)}")
    return keys

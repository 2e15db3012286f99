"""A folder of class folders as a data set: `root/CLASS/*.png`, or `root/train/CLASS/*.png` beside validation and test.

Every file is read and decoded once before training, so that a bad one is reported then and not in mid-epoch.
"""

import concurrent.futures
import hashlib
import itertools
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import resizing
from kzoo.data.columns.numbers import PICTURES
from kzoo.data.decoding import decode, in_channels
from kzoo.data.sources import prepared

MANAGERS = ("thumbs.db", "desktop.ini")  # files of file managers that no dot hides
SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


def find(name, has_classes=True) -> Any:
    """The folder that a data set's name stands for, or None if it is a name of tensorflow-datasets.

    Args:
        has_classes: whether it must hold a folder for each class.

    Raises ValueError for a name that can only be a path but is not such a folder.
    """
    path = pathlib.Path(name).expanduser()
    explicit = name.startswith((".", "~", os.sep)) or name.endswith(os.sep)
    is_prepared = any(path.glob("*/dataset_info.json")) or any(path.glob("*/*/dataset_info.json"))
    if not explicit and (name in prepared.GENERATED or not path.is_dir() or is_prepared):
        return None
    if not path.is_dir():
        wanted = "with one folder of images per class" if has_classes else "of images"
        raise ValueError(f"no folder at {path}; wanted a folder {wanted}")
    if is_prepared:
        raise ValueError(f"{path} is prepared by tensorflow-datasets: name the data set, with data_dir={path.parent}")
    if _folders(path) or (_entries(path) and not has_classes):
        return path
    if not explicit and os.sep not in name:
        return None
    what = f"no folders; wanted one folder of images per class, {path}/CLASS/*.png" if has_classes else "no images"
    raise ValueError(f"{path} holds {what}")


def survey(root) -> tuple:
    """What a folder holds: `(class names, {split: [(path, label)]})`, or `{"all": ...}` where no split has a folder.

    Everything in a class folder counts, except hidden files and those of file managers. Raises ValueError for a class
    without a file, and for one that train does not have.
    """
    parts = {}
    for folder in _folders(root) if _folders(root / "train") else ():
        split = SPLIT_FOLDERS.get(folder.name)
        if split is None or split in parts:
            raise ValueError(f"{folder} is beside {root / 'train'}; wanted train, validation (or val), test")
        parts[split] = folder
    parts = parts or {"all": root}
    names = [folder.name for folder in _folders(parts.get("train", root))]
    files = {}
    for split, folder in parts.items():
        unknown = [path.name for path in _folders(folder) if path.name not in names]
        if unknown:
            raise ValueError(f"{folder} has classes that train lacks: {', '.join(unknown[:5])}")
        files[split] = [(path, label) for label, name in enumerate(names) for path in _entries(folder / name)]
        if split in ("all", "train") and len({label for _, label in files[split]}) < len(names):
            empty = [name for name in names if not _entries(folder / name)]
            raise ValueError(f"{folder}: class folders without an image: {', '.join(empty[:5])}")
    return names, files


def survey_without_classes(root) -> dict:
    """All files of a folder at any depth, `{split: [(path, 0)]}`, or `{"all": …}` where no folder is called train."""
    splits = {SPLIT_FOLDERS[one.name]: one for one in _folders(root) if one.name in SPLIT_FOLDERS}
    splits = splits if "train" in splits else {"all": root}
    return {split: [(path, 0) for path in _files(folder)] for split, folder in splits.items()}


def _files(folder):
    for path in _entries(folder):
        yield from _files(path) if path.is_dir() else [path]


def _entries(folder):
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.name.lower() not in MANAGERS)


def _folders(folder):
    return [path for path in _entries(folder) if path.is_dir()]


def load(root, parts, fraction, fits, skip_bad) -> tuple:
    """Reads all files of a survey, carving splits that lack a folder: `({split: (images, labels)}, digest, notes)`.

    Args:
        fraction: share of the files set aside for validation, and for test where no split has its folder.
        fits: `{split: function}` from a file's bytes to the float32 image that is kept. Without one for a split, its
            images are decoded once and discarded, and their paths are returned instead.
        skip_bad: whether to leave out files that are not images instead of raising ValueError.
    """
    bad, count = {}, sum(map(len, parts.values()))
    parts = {split: list(_examine(part, _hash, bad)) for split, part in parts.items()}
    splits = ("test", "validation") if "all" in parts else () if "validation" in parts else ("validation",)
    parts |= _carve(parts.pop("all", None) or parts["train"], fraction, splits)
    digest = hashlib.blake2b(digest_size=8)
    for path, label, value in sorted(file for part in parts.values() for file in part):
        digest.update(repr((str(path.relative_to(root)), label, value)).encode())
    loaded = {}
    for split, part in parts.items():
        keep, kept, labels, paths = fits.get(split), None, [], []
        for path, label, image in _examine(part, keep or decode, bad):
            if keep:
                kept = np.empty((len(part), *image.shape), np.float32) if kept is None else kept
                kept[len(labels)] = image
            labels.append(label)
            paths.append(str(path))
        if labels:
            loaded[split] = (kept[: len(labels)] if keep else np.array(paths)), _targets(labels)
    notes = []
    if bad:
        listed = ", ".join(f"{path.relative_to(root)} ({wrong})" for path, wrong in itertools.islice(bad.items(), 5))
        listed += f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        line = f"{len(bad)} of {count} files in {root} are not images that can be read: {listed}"
        if not skip_bad:
            raise ValueError(f"{line}; repair or delete them, or leave them out with skip_bad=True (--skip-bad)")
        notes.append(f"{line}; left out")
    if "train" not in loaded:
        raise ValueError(f"no training examples in {root}")
    known = {value for _, _, value in parts["train"]}
    for split in parts.keys() - {"train"}:
        shared = sum(value in known for _, _, value in parts[split])
        notes += [f"{shared} of {len(parts[split])} files of {split} are also in train"] if shared else []
    notes += [f"{len(parts[split])} of {count} files were set aside for {split}" for split in splits if split in loaded]
    return loaded, digest.hexdigest(), notes


def _targets(labels):
    found = np.array(labels)
    return found.astype(np.int32 if found.dtype.kind == "i" else np.float32)


def _hash(contents):
    return int.from_bytes(hashlib.blake2b(contents, digest_size=8).digest(), "big")


def _examine(files, work, bad):
    """Yields (path, label, result of `work` on the bytes) for good files, in order; the others' faults go to `bad`."""

    def one(path):
        if path.suffix.lower() not in PICTURES:
            return None, "a folder" if path.is_dir() else f"not one of {' '.join(PICTURES)}"
        if path.exists() and not path.is_file():  # a pipe would be waited for
            return None, "no file"
        try:
            with tf.device("CPU"):
                return work(path.read_bytes()), None
        except OSError as error:
            return None, error.strerror
        except ValueError as error:
            return None, str(error)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # In pieces, because results that nobody has taken yet stay in memory.
        for start in range(0, len(files), 256):
            paths, labels = list(zip(*files[start : start + 256], strict=True))[:2]
            for path, label, (result, wrong) in zip(paths, labels, pool.map(one, paths), strict=True):
                if wrong:
                    bad[path] = wrong
                else:
                    yield path, label, result


def _carve(files, fraction, splits):
    """Sets aside the files with the lowest hashes, `fraction` for each of `splits`; equal files stay together."""
    order, parts, low = sorted(value for _, _, value in files), {}, 0
    for place, split in enumerate(splits if order else (), start=1):
        high = order[min(round(fraction * len(order)) * place, len(order) - 1)]
        parts[split] = [file for file in files if low <= file[2] < high]
        low = high
    parts = {split: part for split, part in parts.items() if part}
    return {"train": [file for file in files if file[2] >= low], **parts}


def from_paths(fit, finish, shape) -> Any:
    """The `finish` of a `Split` of paths: reads the files of a batch by `fit(contents)`, to `shape`, then `finish`."""

    def read(rows, random):
        paths, labels = rows
        signature = tf.TensorSpec(shape, tf.float32)
        decoded = tf.map_fn(
            lambda path: tf.numpy_function(
                lambda read: fit(np.asarray(read).item()), [tf.io.read_file(path)], tf.float32
            ),
            paths,
            fn_output_signature=signature,
        )
        return finish((tf.ensure_shape(decoded, (None, *shape)), labels), random)

    return read


def fit(contents, shape, preprocessing) -> np.ndarray:
    """The image in the bytes of a file, fitted to `shape` (height, width, channels), float32 in [0, 1]."""
    with tf.device("CPU"):
        pixels = in_channels(decode(contents), shape[2])
        return resizing.to_float(resizing.resize(pixels, shape, preprocessing)).numpy()

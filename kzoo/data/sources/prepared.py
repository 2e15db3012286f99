"""Data sets of tensorflow-datasets (TFDS): finding the folders it prepared, preparing them, and reading them.

Nothing is downloaded unless asked for, so that a machine without a network reports at once what is missing.
"""

import contextlib
import io
import os
import pathlib
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data.sources.listing import GENERATED, prepared_names, search_dirs
from kzoo.support.suggest import did_you_mean

SPLITS = ("train", "validation", "test")


def writable_dir(data_dir=None) -> pathlib.Path:
    """The first folder in which data can be prepared: the data folder, the cache, else one in the temporary folder."""
    folders = [*search_dirs(data_dir), pathlib.Path(tempfile.gettempdir()) / f"kzoo-{os.getuid()}"]
    for folder in folders:
        if _is_writable(folder):
            return folder
    raise ValueError(f"no folder to prepare data in is writable (tried {', '.join(map(str, folders))}); pass data_dir=")


def _is_writable(folder):
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    # A folder whose mode denies writing is meant to be read-only, even for the superuser, whom access() always allows.
    if not existing.is_dir() or not existing.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".probe.", dir=folder):
            return True
    except OSError:
        return False


def find(name, data_dir=None, manual_dir=None, download=False) -> Any:
    """The TFDS builder of a prepared data set, preparing it first where that needs no network or is asked for.

    Args:
        name: `digits`, `digits/zero_one`, a name TFDS knows, or a prepared folder's name (`name/config:version` works).
        data_dir: folder of prepared data; `TFDS_DATA_DIR`, else `~/tensorflow_datasets` by default.
        manual_dir: folder with the files as their authors publish them, checked against TFDS's sha256.
        download: whether TFDS may download and prepare what is missing.

    Raises ValueError in one line: the name, the folders searched, what is there, the nearest name, what to do.
    """
    import tensorflow_datasets as tfds

    if re.match(r"[^/:]+:[^/\d*]", name) and not download:
        raise ValueError(f"data set {name!r} has a namespace, which is looked up over the network: pass download=True")
    is_local = re.split("[/:]", name)[0] == "digits"
    if is_local:
        import kzoo.data.sources.digits  # noqa: F401 registers the builder
    known = False
    for folder in search_dirs(data_dir) or [writable_dir(data_dir)]:
        builder = _builder(tfds, name, folder)
        known |= builder is not None
        if builder is not None and builder.info.splits:
            return builder
    if not known:
        names = sorted({*GENERATED, *prepared_names(data_dir), *tfds.list_builders(with_community_datasets=False)})
        raise ValueError(
            f"{did_you_mean('data set', name, names)} Looked in {_places(data_dir)}; name the folder of your own data "
            "with data_dir= (--data-dir) or TFDS_DATA_DIR"
        )
    if not (is_local or manual_dir or download):
        raise ValueError(
            f"data set {name!r} is not prepared in {_places(data_dir)}; name the folder that holds it with data_dir= "
            "(--data-dir) or TFDS_DATA_DIR, the upstream files with manual_dir= (--manual-dir), or allow the download "
            "with download=True (--download)"
        )
    builder = _builder(tfds, name, writable_dir(data_dir))
    if manual_dir is not None:
        manual_dir = _checked_manual_dir(builder, pathlib.Path(manual_dir).expanduser(), download)
    # Progress is not part of a command's output, and preparing the digits is over before anybody could read it.
    return _prepare(tfds, builder, manual_dir, download, io.StringIO() if is_local else sys.stderr)


def _builder(tfds, name, folder):
    """The builder of `name` in `folder`, None if TFDS has no such name; ValueError for an unknown config or version."""
    try:
        return tfds.builder(name, data_dir=folder, try_gcs=False)
    except tfds.core.DatasetNotFoundError:
        return None
    except (ValueError, AssertionError, ImportError) as error:
        raise ValueError(f"data set {name!r}: {_first_line(error)}") from error


def _places(data_dir):
    folders = ", ".join(map(str, search_dirs(data_dir))) or "no folder, since there is no home directory"
    return f"{folders} (prepared there: {', '.join(prepared_names(data_dir)) or 'nothing'})"


def _checked_manual_dir(builder, folder, download):
    """The folder as a string; ValueError if it is none, or lacks files that may not be downloaded."""
    if not folder.is_dir():
        raise ValueError(f"manual_dir {folder} is not a folder")
    names = sorted(info.filename for info in (builder.url_infos or {}).values())
    missing = [name for name in names if not (folder / name).exists()]
    if missing and not download:
        raise ValueError(
            f"manual_dir {folder} lacks {', '.join(missing[:5])} of data set {builder.name!r}; put the files there, or "
            "allow their download with download=True (--download)"
        )
    return str(folder)


def _prepare(tfds, builder, manual_dir, download, stream):
    from tensorflow_datasets.core.download import downloader

    folder = pathlib.Path(builder.data_dir_root)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    # Data sets that share a download folder share extracted files by bare name: fashion_mnist would become mnist.
    download_dir = folder / "downloads" / builder.name
    try:
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream), contextlib.ExitStack() as stack:
            # TFDS tries ten times with growing pauses, and would take 205 s to say that there is no network.
            stack.callback(setattr, downloader, "MAX_RETRIES", downloader.MAX_RETRIES)
            downloader.MAX_RETRIES = 0
            builder.download_and_prepare(download_dir=str(download_dir), download_config=config)
    except Exception as error:
        if builder.is_prepared():  # another process was faster
            return tfds.builder_from_directory(builder.data_dir)
        for unfinished in [*download_dir.rglob("*.tmp.*")]:
            shutil.rmtree(unfinished, ignore_errors=True)
        _remove_empty(download_dir / "extracted", download_dir / builder.name, pathlib.Path(builder.data_dir).parent)
        what = "download and prepare" if download else "prepare"
        raise ValueError(
            f"could not {what} data set {builder.name!r} in {folder}: {type(error).__name__}: {_first_line(error)}"
        ) from error
    _remove_empty(download_dir / "extracted")  # only if nothing was downloaded
    return builder


def _remove_empty(*folders):
    for folder in folders:
        with contextlib.suppress(OSError):
            os.removedirs(folder)


def _first_line(error):
    return (str(error).strip().splitlines() or [""])[0][:300]


def sizes(builder) -> dict:
    """The numbers of examples of train, validation and test, as far as they exist; ValueError without train."""
    there = {name: split.num_examples for name, split in builder.info.splits.items()}
    if not there.get("train"):
        raise ValueError(f"data set {builder.name!r} has no training examples; its splits are {there}")
    return {name: there[name] for name in SPLITS if there.get(name)}


def identity(name, builder) -> dict:
    """What a fingerprint says of a data set's origin."""
    return {"name": name, "version": str(builder.info.version)}


def pair(builder) -> tuple:
    """The (input, target) feature names of a data set; ValueError if it declares none."""
    keys = builder.info.supervised_keys
    if not isinstance(keys, tuple) or len(keys) != 2:
        features = ", ".join(builder.info.features)
        raise ValueError(f"data set {builder.name!r} declares no (input, target) pair; its features are {features}")
    return keys


def stream(builder, split, fit=None, alone=None) -> tf.data.Dataset:
    """The (input, target) of a split, always in the same order, each changed by `fit(input, target)`.

    Args:
        alone: the feature that is the input where nothing is to be learned of it: the targets are zeros.
    """
    if alone is None:
        dataset = _read(builder, split, as_supervised=True)
    else:
        dataset = records(builder, split, [alone]).map(lambda row: (row[alone], 0))
    return dataset.map(fit, num_parallel_calls=tf.data.AUTOTUNE) if fit else dataset


def records(builder, split, keys) -> tf.data.Dataset:
    """These features of a split as dicts, always in the same order."""
    import tensorflow_datasets as tfds

    return _read(builder, split, decoders=tfds.decode.PartialDecoding(dict.fromkeys(keys, True)))


def _read(builder, split, **how):
    import tensorflow_datasets as tfds

    options = tf.data.Options()
    options.autotune.enabled = False  # for the reason given in `Split.epoch`
    config = tfds.ReadConfig(try_autocache=False, options=options)
    return builder.as_dataset(split=split, shuffle_files=False, read_config=config, **how)


def read_arrays(builder, split, size, fit=None, alone=None) -> tuple:
    """All images and labels of a split as NumPy arrays, each changed by `fit`; `alone` is that of `stream`."""
    x = y = None
    start = 0
    with damage_named(builder):
        for images, labels in stream(builder, split, fit, alone).batch(1024).prefetch(2).as_numpy_iterator():
            if x is None:
                x, y = np.empty((size, *images.shape[1:]), images.dtype), np.empty((size,), labels.dtype)
            x[start : start + len(images)], y[start : start + len(images)] = images, labels
            start += len(images)
    if start != size:
        raise ValueError(f"{builder.data_dir}: split {split!r} holds {start} examples and should hold {size}")
    return x, y


def read_columns(builder, split, keys) -> list:
    """All values of these features of a split, a list for each, texts as strings; ValueError for other than UTF-8."""
    with damage_named(builder):
        batches = list(records(builder, split, keys).batch(4096).as_numpy_iterator())
    columns = [[item for batch in batches for item in batch[key]] for key in keys]
    for key, column in zip(keys, columns, strict=True):
        for place, item in enumerate(column):
            if isinstance(item, bytes):
                try:
                    column[place] = item.decode("utf-8")
                except UnicodeDecodeError as error:
                    label = f"data set {builder.name!r}: example {place} of {split}, {key!r}"
                    wrong = f"byte 0x{item[error.start]:02x} at offset {error.start}"
                    raise ValueError(f"{label} is not UTF-8: {wrong}") from error
    return columns


@contextlib.contextmanager
def damage_named(builder) -> Iterator:
    """A context in which an error while reading becomes a ValueError that names the data set's folder."""
    try:
        yield
    except tf.errors.OpError as error:
        raise ValueError(
            f"the data set in {builder.data_dir} is damaged ({type(error).__name__}: {_first_line(error.message)}); "
            "delete it and prepare it again"
        ) from error

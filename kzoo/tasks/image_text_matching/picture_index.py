"""The vectors of a folder's pictures in one `.npy`, and in one `.json` of what model and which files they are."""

import contextlib
import hashlib
import io
import json
import pathlib
from typing import Any

import keras
import numpy as np

from kzoo.catalog import card_of
from kzoo.data import decoding
from kzoo.support import atomic
from kzoo.tasks.image_text_matching import towers

BATCH = 64  # pictures that are read at once


def vectors(model, folder, files, prefix=None, rebuild=False) -> np.ndarray:
    """Vectors (files, dim) of pictures, from the index where there is one and it fits, which is written otherwise.

    Args:
        prefix: of the index's two files; None keeps nothing.
        rebuild: whether to write the index anew.

    Raises ValueError for an index that is damaged, of another model, or of files that are not those of now.
    """
    if prefix is None:
        return _embedded(model, files)
    array, facts = pathlib.Path(f"{prefix}.npy"), pathlib.Path(f"{prefix}.json")
    now = {"model": digest(model), "files": [_fact(folder, file) for file in files]}
    if array.exists() and facts.exists() and not rebuild:
        return _read(array, facts, now)
    found, contents = _embedded(model, files), io.BytesIO()
    np.save(contents, found)
    now["sha256"] = hashlib.sha256(contents.getvalue()).hexdigest()
    with contextlib.ExitStack() as stack:  # both take their names once both are written
        stack.enter_context(atomic.file(facts)).write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        stack.enter_context(atomic.file(array)).write_bytes(contents.getvalue())
    return found


def digest(model) -> str:
    """A hash of all that a picture's vector depends on."""
    found = hashlib.sha256(str(card_of(model).preprocessing).encode())
    for weight in towers.tower(model, "image").weights:
        found.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return found.hexdigest()


def _fact(folder, file):
    """What tells whether a file is the one it was, without reading it."""
    known = pathlib.Path(file).stat()
    return [str(pathlib.Path(file).relative_to(pathlib.Path(folder).expanduser())), known.st_size, known.st_mtime_ns]


def _read(array, facts, now) -> Any:
    again = "write it anew with --rebuild (rebuild=True)"
    try:
        known, contents = json.loads(facts.read_text(encoding="utf-8")), array.read_bytes()
        if hashlib.sha256(contents).hexdigest() != known["sha256"]:
            raise ValueError("it is not the array that was written")
        found, files = np.load(io.BytesIO(contents), allow_pickle=False), [tuple(row) for row in known["files"]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"the index {array} is damaged ({error}); {again}") from error
    if known["model"] != now["model"]:
        raise ValueError(f"the index {facts} is of another model, or of other weights; {again}")
    old, new = {*files}, {tuple(row) for row in now["files"]}
    if files != [tuple(row) for row in now["files"]]:
        changed = sorted({name for name, *_ in old ^ new})
        listed = ", ".join(changed[:3]) + ", ..." * (len(changed) > 3)
        raise ValueError(f"files are new, gone or changed since {facts} was written: {listed}; {again}")
    return found


def _embedded(model, files):
    found = []
    for begin in range(0, len(files), BATCH):
        pixels = [decoding.in_channels(decoding.read(file), 3) for file in files[begin : begin + BATCH]]
        same = len({image.shape for image in pixels}) == 1
        batches = [np.stack(pixels)] if same else [image[None] for image in pixels]
        found += [towers.of_images(model, each) for each in batches]
    return np.concatenate(found)


def search(model, folder, files, texts, top, prefix, rebuild) -> list:
    """A row for each text: the pictures that it describes best, with their cosines."""
    near = towers.of_texts(model, texts) @ vectors(model, folder, files, prefix, rebuild).T
    return [
        {"text": text, "files": [
            {"file": str(files[place]), "similarity": float(row[place])} for place in np.argsort(-row)[:top]
        ]}
        for text, row in zip(texts, near, strict=True)
    ]  # fmt: skip

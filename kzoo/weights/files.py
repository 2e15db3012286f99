"""Safetensors files that know when they are damaged.

The format is plain safetensors, readable by anyone. Files of ours carry in their metadata a sha256 over the whole file
(with the digits of the hash itself read as zeros), so that a single flipped bit is an error and not another model.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import sys
import threading

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from kzoo.support import atomic

DIGEST = "kzoo.sha256"
WRITER = "kzoo.version"
BLANK = "0" * 64
HEADER_LIMIT = 100_000_000  # the format's own limit
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "BOOL": "?"}
DTYPES |= {f"{letter}{8 * size}": f"<{letter.lower()}{size}" for letter in "IU" for size in (1, 2, 4, 8)}


def write(path, tensors, metadata) -> None:
    """Writes arrays {name: array} and string metadata {key: text} in one atomic file with its own sha256.

    Arrays may be strided, reversed, broadcast or big-endian: what is stored are their values, in C order.
    """
    from kzoo.version import __version__

    tensors = {name: _plain(array) for name, array in tensors.items()}
    metadata = {**metadata, WRITER: __version__, DIGEST: BLANK}
    with atomic.file(path, sum(array.nbytes for array in tensors.values())) as temporary:
        temporary.touch()
        permissions = temporary.stat().st_mode
        try:
            safetensors.numpy.save_file(tensors, temporary, metadata)
        except safetensors.SafetensorError as error:
            if number := re.search(r"os error (\d+)", str(error)):
                raise OSError(int(number[1]), str(error)) from error
            raise
        temporary.chmod(permissions)  # the library lets nobody else read its files
        _sort_metadata(temporary)
        digest = _digest(temporary, BLANK)
        with open(temporary, "r+b") as file:
            file.seek(_header(temporary).index(f'"{DIGEST}":"{BLANK}"'.encode()) + len(DIGEST) + 4)
            file.write(digest.encode())


def _sort_metadata(path):
    """Puts the metadata in order, which the library writes in a random one, so that equal contents are equal files."""
    old = _header(path)[8:]
    header = json.loads(old)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    new = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(len(old))
    if len(new) == len(old):
        with open(path, "r+b") as file:
            file.seek(8)
            file.write(new)


def _plain(array):
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    big_endian = array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big")
    return array.astype(array.dtype.newbyteorder("<")) if big_endian else array


class File:
    """A safetensors file whose header has been read: `specification` {name: (shape, dtype)} and `metadata`.

    The sha256 is computed in the background from then on, since that takes as long as reading; `verify` waits for it.
    Raises ValueError if the file is missing, of another kind or damaged.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        _refuse_other_kinds(self.path)
        try:
            with safetensors.safe_open(self.path, framework="numpy") as file:
                self.metadata = file.metadata() or {}
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
                self.specification = {name: (tuple(v.get_shape()), v.get_dtype()) for name, v in slices.items()}
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is damaged or not a safetensors file ({_size(self.path)}): {error}") from error
        self._digest = None
        if WRITER in self.metadata or DIGEST in self.metadata:
            self._digest = in_background(_digest, self.path, self.metadata.get(DIGEST, BLANK))

    def verify(self) -> None:
        """ValueError if the file's sha256 is not the one written in it; a file of another writer has none."""
        if self._digest and self._digest.result() != self.metadata.get(DIGEST, ""):
            raise ValueError(f"{self.path} is damaged: its sha256 is not the one written in it; get the file again")

    def read(self, verify=True) -> dict:
        """All arrays {name: array} as views of the file, to be copied if kept.

        Writing into one changes a private copy of that page, never the file. With `verify=False` the file may turn out
        to be damaged later, when `verify` is called.
        """
        if verify:
            self.verify()
        header = _header(self.path)
        contents = np.memmap(self.path, np.uint8, mode="c")
        arrays = {}
        for name, entry in json.loads(header[8:]).items():
            if name == "__metadata__":
                continue
            if entry["dtype"] not in DTYPES:
                known = ", ".join(DTYPES)
                raise ValueError(f"{self.path} holds {name} as {entry['dtype']}; kzoo reads {known}")
            begin, end = (len(header) + offset for offset in entry["data_offsets"])
            arrays[name] = contents[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
        return arrays


def told(problems) -> str:
    """`{kind: [names]}` as a phrase: how many of each kind, and the first five; empty without any."""
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for kind, names in problems.items()
        if names
    )


def in_background(function, *arguments) -> concurrent.futures.Future:
    """A future of what the function returns; its thread keeps no process from ending."""
    future = concurrent.futures.Future()

    def run():
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _header(path):
    """The file's first bytes: the header's length and the header itself."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        file.seek(0)
        return file.read(8 + length)


def _digest(path, written):
    """The sha256 of the file, in hexadecimal, with the digits `written` in its header read as zeros."""
    header = _header(path)
    digest = hashlib.sha256(header.replace(f'"{DIGEST}":"{written}"'.encode(), f'"{DIGEST}":"{BLANK}"'.encode()))
    with open(path, "rb") as file:
        file.seek(len(header))
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()


def _size(path):
    return f"{os.path.getsize(path):,} bytes"


def _refuse_other_kinds(path):
    """ValueError that says what the file is, if it is not safetensors; pickles and HDF5 are never opened."""
    if not path.is_file():
        raise ValueError(f"no weight file at {path}")
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(512)
    kinds = {
        "empty, so not weights": size == 0,
        "a git-lfs pointer, not weights; run `git lfs pull`": start.startswith(b"version https://git-lfs"),
        "an HTML page, not weights; download the file itself": start.lstrip()[:15]
        .lower()
        .startswith((b"<!doctype", b"<html")),
        "a torch or zip file; kzoo opens no pickles: save it with safetensors.torch.save_file": start.startswith(
            b"PK\x03\x04"
        ),
        "a pickle; kzoo opens no pickles: save it with safetensors.torch.save_file": start[:2]
        in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "an HDF5 file; load it in Keras and write it with kzoo.save_weights": start.startswith(b"\x89HDF"),
    }
    for kind, found in kinds.items():
        if found:
            raise ValueError(f"{path} is {kind}")
    length = int.from_bytes(start[:8], "little")
    if size < 8 or length > HEADER_LIMIT:
        raise ValueError(f"{path} is damaged or not a safetensors file ({size:,} bytes)")
    if 8 + length > size:
        raise ValueError(f"{path} is damaged: it has {size:,} bytes, its header alone says {8 + length:,}")
    ends = _data_ends(path)
    if ends is not None and 8 + length + ends != size:
        raise ValueError(f"{path} is damaged: it has {size:,} bytes, its header says {8 + length + ends:,}")


def _data_ends(path):
    """Where the header says that the data ends, or None if the header cannot be read (safetensors will say why)."""
    try:
        header = json.loads(_header(path)[8:])
        return max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None

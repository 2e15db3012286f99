"""Safetensors files that know when they are damaged.

The format is plain safetensors, readable by anyone. Files of ours carry in their metadata a sha256 over the whole file
(with the digits of the hash itself read as zeros), so that a single flipped bit is an error and not another model.
"""

import hashlib
import json
import os
import pathlib
import re
import sys

import numpy as np
import safetensors
import safetensors.numpy

from kzoo import atomic

DIGEST = "kzoo.sha256"
WRITER = "kzoo.version"
BLANK = "0" * 64
HEADER_LIMIT = 100_000_000  # the format's own limit


def write(path, tensors, metadata):
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


def describe(path):
    """The names, shapes and dtypes of a file {name: (shape, dtype)} and its metadata, from the header alone.

    Raises ValueError if the file is missing, of another kind, damaged, or if its sha256 does not match.
    """
    path = pathlib.Path(path)
    _refuse_other_kinds(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            specification = {name: (tuple(view.get_shape()), view.get_dtype()) for name, view in slices.items()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a safetensors file ({_size(path)}): {error}") from error
    if WRITER in metadata or DIGEST in metadata:
        expected = metadata.get(DIGEST, "")
        if len(expected) != 64 or _digest(path, expected) != expected:
            raise ValueError(f"{path} is damaged: its sha256 is not the one written in it; get the file again")
    return specification, metadata


def read(path):
    """All arrays {name: array} of a file that `describe` has accepted. bfloat16 comes as ml_dtypes.bfloat16."""
    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} holds a dtype that NumPy cannot read: {error}") from error


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

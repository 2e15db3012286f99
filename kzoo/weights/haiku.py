"""Archives of arrays (`.npz`) in the names of Haiku's modules, such as DeepMind's `params_model_1.npz`.

A key is `root/module/.../module//name`, and blocks that are alike are stacked along the first axis of one array. Here a
name has dots for slashes, lacks the root, which HAIKU of a model file says, and has the number of the block among its
parts: `evoformer.evoformer_iteration.3.msa_transition.transition1.bias`. Arrays are read where they lie in the file,
one slice at a time, and no object is ever unpickled.
"""

import pathlib
import zipfile
import zlib

import numpy as np

from kzoo.support import atomic
from kzoo.weights import files

SUFFIX = ".npz"
MEMBER = ".npy"
DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16"}  # as safetensors call them


def key_of(name, root) -> tuple:
    """(key, block or None) of a name here."""
    *modules, leaf = name.split(".")
    blocks = [int(part) for part in modules if part.isdigit()]
    path = "/".join([root, *(part for part in modules if not part.isdigit())])
    return f"{path}//{leaf}", blocks[0] if blocks else None


def stacked_shapes(shapes, root) -> dict:
    """{key: shape} of an archive that holds tensors of these shapes, {name here: shape}."""
    found = {}
    for name, shape in shapes.items():
        key, block = key_of(name, root)
        if block is None:
            found[key] = tuple(shape)
        else:
            count = found.get(key, (0,))[0]
            found[key] = (max(count, block + 1), *shape)
    return found


def write(path, tensors, root) -> None:
    """Writes tensors {name here: array} as an archive that is not compressed, in one atomic file."""
    keys = {}
    for name, array in tensors.items():
        key, block = key_of(name, root)
        keys.setdefault(key, {})[block] = array
    size = sum(array.nbytes for array in tensors.values())
    with atomic.file(path, size) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for key, blocks in sorted(keys.items()):
            array = blocks[None] if None in blocks else np.stack([blocks[each] for each in sorted(blocks)])
            # a date of its own would make equal contents different files
            with archive.open(zipfile.ZipInfo(f"{key}{MEMBER}"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


class Archive:
    """An archive whose headers have been read, `specification` {key: (shape, dtype)}; in use like `files.File`.

    Its checksums are computed in the background from then on; `verify` waits for that. Raises ValueError if the file is
    missing, of another kind or damaged.
    """

    metadata = {}

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not self.path.is_file():
            raise ValueError(f"no weight file at {path}")
        self.members, self.specification = {}, {}
        try:
            with zipfile.ZipFile(self.path) as archive:
                for info in archive.infolist():
                    self._read_header(archive, info)
        except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
            raise ValueError(f"{path} is damaged or not an archive of arrays: {error}") from error
        self._sums = files.in_background(self._wrong_sums)

    def _read_header(self, archive, info):
        with archive.open(info) as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = read(member)
            header = member.tell()
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds Python objects, and kzoo opens no pickles")
        if header + dtype.itemsize * int(np.prod(shape)) != info.file_size:
            raise ValueError(f"{info.filename} has {info.file_size:,} bytes, not those of {dtype} {shape}")
        key = info.filename.removesuffix(MEMBER)
        self.members[key] = info, header, shape, "F" if is_fortran else "C", dtype
        self.specification[key] = tuple(shape), DTYPES.get(dtype.name, dtype.name)

    def _begin(self, info):
        """Where a member's bytes begin in the file."""
        with open(self.path, "rb") as file:
            file.seek(info.header_offset + 26)
            lengths = file.read(4)
        return info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")

    def _wrong_sums(self):
        """Keys of members that lie in the file as they are and whose checksum is not the one written there."""
        contents = np.memmap(self.path, np.uint8, mode="r")
        found = []
        for key, (info, *_) in self.members.items():
            begin = self._begin(info)
            stored = info.compress_type == zipfile.ZIP_STORED
            if stored and zlib.crc32(contents[begin : begin + info.file_size]) != info.CRC:
                found.append(key)
        return found

    def verify(self) -> None:
        """ValueError if an array is damaged."""
        if wrong := self._sums.result():
            raise ValueError(f"{self.path} is damaged: the checksum of {wrong[0]} is not the one written in it")

    def read(self, verify=True) -> dict:
        """All arrays {key: array}, as views of the file where they are not compressed."""
        if verify:
            self.verify()
        contents = np.memmap(self.path, np.uint8, mode="c")
        arrays = {}
        for key, (info, header, shape, order, dtype) in self.members.items():
            if info.compress_type == zipfile.ZIP_STORED:
                arrays[key] = np.ndarray(shape, dtype, contents, self._begin(info) + header, order=order)
                continue
            try:
                with zipfile.ZipFile(self.path) as archive, archive.open(info) as member:
                    arrays[key] = np.lib.format.read_array(member, allow_pickle=False)
            except (zipfile.BadZipFile, zlib.error, ValueError) as error:
                raise ValueError(f"{self.path} is damaged: {key}: {error}") from error
        return arrays

    def unstacked(self, names, root) -> "Unstacked":
        """The archive under names as here, each block apart; `names` are those of the model."""
        return Unstacked(self, names, root)


class Unstacked:
    """An `Archive` under names as here: what it has of the model's, and under their own keys all others."""

    def __init__(self, archive, names, root):
        if root is None:
            raise ValueError(f"{archive.path} is an archive of arrays; this model reads safetensors")
        self.archive, self.path, self.metadata = archive, archive.path, archive.metadata
        self.keys = {}  # name here -> (key, block or None)
        stacks = {}
        for name in names:
            key, block = key_of(name, root)
            if block is None:
                self.keys[name] = key, None
            else:
                stacks[key] = name.split(f".{block}.", 1)
        for key, (before, after) in stacks.items():
            shape = archive.specification.get(key, ((),))[0]
            self.keys |= {f"{before}.{block}.{after}": (key, block) for block in range(shape[0] if shape else 0)}
        self.keys = {name: where for name, where in self.keys.items() if where[0] in archive.specification}
        used = {key for key, _ in self.keys.values()}
        self.keys |= {key: (key, None) for key in archive.specification if key not in used}
        self.specification = {}
        for name, (key, block) in self.keys.items():
            shape, dtype = archive.specification[key]
            self.specification[name] = (shape if block is None else shape[1:]), dtype

    def verify(self) -> None:
        """As of `Archive`."""
        self.archive.verify()

    def read(self, verify=True) -> dict:
        """All arrays by names here, blocks as slices of the arrays that hold them."""
        arrays = self.archive.read(verify)
        return {name: arrays[key] if block is None else arrays[key][block] for name, (key, block) in self.keys.items()}

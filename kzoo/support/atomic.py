"""Writing files and folders so that the final name never holds anything half-written."""

import contextlib
import errno
import glob
import hashlib
import os
import pathlib
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator

BLOCK = 2**20  # bytes
UNSAFE = re.compile(r"[*?\[\]\\]")  # what TensorFlow's file functions read as a pattern


def _prefix(path):
    """How the hidden names begin of all that is on its way to `path`; TensorFlow takes them literally."""
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=4).hexdigest()
    return f".{UNSAFE.sub('_', path.name)[:32]}.{digest}."


def _beside(path, kind="new"):
    """A hidden name in the same folder that no other thread, process or machine uses."""
    return path.with_name(f"{_prefix(path)}{kind}.{os.getpid()}.{_machine()}-{uuid.uuid4().hex[:8]}.partial")


def _machine():
    """The machine's name without dots: processes of two containers may have the same number."""
    return re.sub(r"\W", "_", socket.gethostname())


def _clear(path):
    """Removes what dead processes of this machine left on the way to `path`; what they had parked comes back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f"{glob.escape(_prefix(path))}*.partial"):
        kind, process_id, owner = stale.name.removeprefix(_prefix(path)).split(".")[:3]
        if owner.rpartition("-")[0] != _machine() or _is_running(int(process_id)):
            continue
        if kind == "old" and not path.exists():  # killed between the two renames
            os.replace(stale, path)
        else:
            _remove(stale)


def _is_running(process_id):
    try:
        os.kill(process_id, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # another user's process
    return True


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # another writer may remove it at the same time
    else:
        path.unlink(missing_ok=True)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _naming(error, path, num_bytes=None):
    """An OSError of the system again, with a message that names the path and says that nothing was lost."""
    needs = f", which needs {num_bytes:,} bytes" if num_bytes else ""
    message = f"{os.strerror(error.errno)} while writing {path}{needs}; what was there before is intact"
    return OSError(error.errno, message)


@contextlib.contextmanager
def file(path, num_bytes=None) -> Iterator:
    """Yields a temporary path beside `path`, which is synced to disk and renamed on success, and removed on failure.

    Raises OSError that names `path`, and the bytes needed (`num_bytes`, if known), when the disk is full.
    """
    path = pathlib.Path(path)
    _clear(path)
    temporary = _beside(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except BaseException as error:
        _remove(temporary)
        if not isinstance(error, OSError) or error.errno is None:
            raise
        raise _naming(error, path, num_bytes) from error


@contextlib.contextmanager
def folder(path, overwrite=False, num_bytes=None) -> Iterator:
    """Yields a temporary folder beside `path` that is renamed on success; ValueError if `path` is not empty.

    With `overwrite` the old folder is parked first and deleted last; the next writer puts a parked folder back whose
    process died in between. Of two that write to one path at the same time, the last to finish stays. The yielded
    path is one that TensorFlow's file functions, which read patterns in names, take literally. Raises OSError that
    names `path`, and the bytes needed (`num_bytes`, if known), when the disk is full; libraries that write have errors
    of their own for that, so after one of theirs it is tried whether so many bytes can be written.
    """
    path = pathlib.Path(path)
    _clear(path)
    refuse_occupied(path, overwrite)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        with _literally(temporary) as safe:
            yield safe
        for written in temporary.rglob("*"):
            if written.is_file():
                _sync(written)
        parked = _exchange(temporary, path)
        _sync(path.parent)
        for old in parked:
            _remove(old)
    except BaseException as error:
        found = error if isinstance(error, OSError) else _disk_error(error, temporary, num_bytes)
        _remove(temporary)
        if found is None or found.errno is None:
            raise
        raise _naming(found, path, num_bytes) from error


def _disk_error(error, folder, num_bytes):
    """The system's error where a folder cannot hold so many bytes more, after an error that a library may have made."""
    if num_bytes is None or isinstance(error, ValueError | TypeError) or not isinstance(error, Exception):
        return None
    try:
        with open(folder / "probe", "wb") as probe:
            for _ in range(num_bytes // BLOCK + 1):
                probe.write(bytes(BLOCK))
    except OSError as found:
        return found
    return None


def _exchange(temporary, path):
    """Gives a folder its final name; returns where what had that name is parked."""
    parked = []
    while temporary.exists():
        try:
            if path.exists():
                parked.append(_beside(path, "old"))
                os.replace(path, parked[-1])
            os.replace(temporary, path)
        except OSError as error:
            # Another writer parked the old folder first, or put its own in place: that one is parked in its turn.
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
                raise
    return parked


@contextlib.contextmanager
def _literally(folder):
    """A name of a folder that TensorFlow does not take for a pattern: a link, where its own holds such characters."""
    if not UNSAFE.search(str(folder.absolute())):
        yield folder
        return
    with tempfile.TemporaryDirectory() as place:
        link = pathlib.Path(place) / "folder"
        link.symlink_to(folder.absolute(), target_is_directory=True)
        yield link


def refuse_occupied(path, overwrite=False) -> None:
    """Raises ValueError if `path` is a file, or a folder that is not empty and may not be replaced."""
    path = pathlib.Path(path)
    if path.is_file():
        raise ValueError(f"{path} is a file; name a folder that does not exist yet")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise ValueError(f"{path} is not empty; name another folder, or pass overwrite=True (--overwrite)")


def require_writable(path) -> None:
    """Raises ValueError if `path` cannot be created or written to, before hours of work depend on it."""
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}.{uuid.uuid4().hex[:8]}.partial"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror}; name another folder") from error

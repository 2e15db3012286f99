"""Writing files and folders so that the final name never holds anything half-written."""

import contextlib
import os
import pathlib
import shutil


def _beside(path):
    """A hidden temporary name in the same folder, after removing those that dead processes left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{path.name}.*.partial"):
        if not _is_running(int(stale.name.split(".")[-2])):
            _remove(stale)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _is_running(process_id):
    try:
        os.kill(process_id, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # another user's process
    return True


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file(path, num_bytes=None):
    """Yields a temporary path beside `path`, which is synced to disk and renamed on success, and removed on failure.

    Raises OSError that names `path`, and the bytes needed (`num_bytes`, if known), when the disk is full.
    """
    path = pathlib.Path(path)
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
        needs = f", which needs {num_bytes:,} bytes" if num_bytes else ""
        message = f"{os.strerror(error.errno)} while writing {path}{needs}; what was there before is intact"
        raise OSError(error.errno, message) from error


@contextlib.contextmanager
def folder(path, overwrite=False):
    """Yields a temporary folder beside `path` that is renamed on success; ValueError if `path` is not empty.

    With `overwrite` the old folder is moved aside first and deleted last.
    """
    path = pathlib.Path(path)
    refuse_occupied(path, overwrite)
    temporary = _beside(path)
    _remove(temporary)
    temporary.mkdir()
    try:
        yield temporary
        for written in temporary.rglob("*"):
            if written.is_file():
                _sync(written)
        old = path.with_name(f".{path.name}.old.{os.getpid()}.partial")
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
        _sync(path.parent)
        _remove(old)
    except BaseException:
        _remove(temporary)
        raise


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
        probe = path / f".probe.{os.getpid()}.partial"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror}; name another folder") from error

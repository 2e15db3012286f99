"""Files and folders appear whole or not at all: what is on disk before a name means it, and what goes last."""

import errno
import os
import shutil

import pytest

from kzoo.support import atomic


@pytest.fixture
def events(monkeypatch, tmp_path):
    """What reaches the disk, in order: ("sync", name), ("rename", from, to), ("delete", name)."""
    seen = []

    def name(path):
        return str(path).replace(str(tmp_path), "").replace(f".{os.getpid()}", "").strip("/")

    def watch(module, function, describe):
        original = getattr(module, function)

        def call(*given, **options):
            seen.append(describe(*given))
            return original(*given, **options)

        monkeypatch.setattr(module, function, call)

    watch(os, "fsync", lambda descriptor: ("sync", name(os.readlink(f"/proc/self/fd/{descriptor}"))))
    watch(os, "replace", lambda old, new: ("rename", name(old), name(new)))
    watch(shutil, "rmtree", lambda path: ("delete", name(path)))
    return seen


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path, events):
    with atomic.file(tmp_path / "one") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "one").exists() and temporary.parent == tmp_path
    assert events == [("sync", ".one.partial"), ("rename", ".one.partial", "one"), ("sync", "")]
    assert (tmp_path / "one").read_text() == "new" and os.listdir(tmp_path) == ["one"]


def test_an_old_folder_goes_last(tmp_path, events):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "old").touch()
    with atomic.folder(tmp_path / "one", overwrite=True) as temporary:
        (temporary / "part").mkdir()
        (temporary / "part" / "new").touch()
        assert (tmp_path / "one" / "old").exists()
    assert events == [
        ("sync", ".one.partial/part/new"), ("rename", "one", ".one.old.partial"), ("rename", ".one.partial", "one"),
        ("sync", ""), ("delete", ".one.old.partial"),
    ]  # fmt: skip
    assert os.listdir(tmp_path) == ["one"] and os.listdir(tmp_path / "one") == ["part"]


@pytest.mark.parametrize(
    "kind", [atomic.file, lambda path: atomic.folder(path, overwrite=True)], ids=["file", "folder"]
)
def test_a_failure_leaves_what_was_there(kind, tmp_path):
    place = tmp_path / "one"
    if kind is atomic.file:
        place.write_text("old")
    else:
        place.mkdir()
        (place / "old").touch()
    with pytest.raises(KeyboardInterrupt), kind(place) as temporary:
        if temporary.is_dir():
            (temporary / "new").touch()
        else:
            temporary.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["one"]
    assert place.read_text() == "old" if place.is_file() else os.listdir(place) == ["old"]


def test_a_full_disk_is_named(tmp_path):
    words = f"No space left on device while writing {tmp_path}/one, which needs 1,234 bytes; .* is intact"
    with pytest.raises(OSError, match=words) as caught, atomic.file(tmp_path / "one", 1234):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="while writing [^,]*; what was there") as caught, atomic.file(tmp_path / "one"):
        raise OSError(errno.EIO, "broken")
    with pytest.raises(OSError, match="^my own words$"), atomic.file(tmp_path / "one"):
        raise OSError("my own words")


def test_what_dead_processes_left_is_removed_and_that_of_living_ones_stays(tmp_path, monkeypatch):
    dead, living, other = places = [tmp_path / f".one.txt.{number}.partial" for number in (11, 12, 13)]
    answers = {11: ProcessLookupError(), 12: None, 13: PermissionError()}  # the last one's is another user's

    def kill(process_id, number):
        assert number == 0
        if answers[process_id]:
            raise answers[process_id]

    monkeypatch.setattr(os, "kill", kill)
    for place in places:
        place.mkdir()
        (place / "half").touch()
    for another in (tmp_path / "two", tmp_path / "deep" / "two"):
        with atomic.file(another) as temporary:
            temporary.touch()
        assert another.exists()
    assert dead.exists(), "of another name"
    with atomic.file(tmp_path / "one.txt") as temporary:
        temporary.touch()
    assert not dead.exists() and living.exists() and other.exists()


def test_what_an_earlier_process_of_the_same_number_left_is_in_no_folder(tmp_path):
    left = tmp_path / f".one.{os.getpid()}.partial"
    left.mkdir()
    (left / "old").touch()
    with atomic.folder(tmp_path / "one") as temporary:
        (temporary / "new").touch()
    assert os.listdir(tmp_path / "one") == ["new"]


def test_occupied_paths(tmp_path):
    atomic.refuse_occupied(tmp_path / "none")
    atomic.refuse_occupied(tmp_path)
    (tmp_path / "one").touch()
    with pytest.raises(ValueError, match="is a file; name a folder"):
        atomic.refuse_occupied(tmp_path / "one", overwrite=True)
    with pytest.raises(ValueError, match="is not empty; name another folder"):
        atomic.refuse_occupied(tmp_path)
    atomic.refuse_occupied(tmp_path, overwrite=True)


def test_a_place_to_write_is_tried(tmp_path):
    atomic.require_writable(tmp_path / "deep" / "one")
    assert os.listdir(tmp_path / "deep") == ["one"] and not os.listdir(tmp_path / "deep" / "one")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write to .*file/one: Not a directory; name another folder"):
        atomic.require_writable(tmp_path / "file" / "one")

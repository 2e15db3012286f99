"""Files and folders are whole or absent: kills at every step, neighbours, threads, names, full disks."""

import errno
import os
import re
import shutil
import subprocess
import sys
import threading

import pytest

from kzoo.support import atomic

NAMES = ["plain", "中" * 80, "x[1]", "y*z", "q\\w", "**", "ok é 中", ".x"]


def content(path):
    return {file.name: file.read_text() for file in path.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_written_and_replaced(name, tmp_path):
    path = tmp_path / name
    for text in ("first", "second"):
        with atomic.folder(path, overwrite=True) as temporary:
            (temporary / "a").write_text(text)
        assert content(path) == {"a": text}
        with atomic.file(path / "b") as temporary:
            temporary.write_text(text)
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_yielded_is_no_pattern_for_tensorflow(name, tmp_path):
    (tmp_path / name).mkdir()
    with atomic.folder(tmp_path / name / name) as temporary:
        assert not set(str(temporary)) & set("*?[]\\")
        (temporary / "a").write_text("")
    assert content(tmp_path / name / name) == {"a": ""}


KILLED = """
import os, sys
from kzoo.support import atomic
replace, count = os.replace, [0]
def dies(*names):
    if count[0] == int(sys.argv[2]):
        os._exit(9)
    count[0] += 1
    return replace(*names)
os.replace = dies
with atomic.folder(sys.argv[1], overwrite=True) as temporary:
    (temporary / "a").write_text("new")
"""


@pytest.mark.parametrize("renames", [0, 1])
def test_a_process_killed_at_a_rename_loses_nothing(renames, tmp_path):
    """Before the old folder is parked, and between that and the new one's taking its name."""
    path = tmp_path / "x"
    with atomic.folder(path) as temporary:
        (temporary / "a").write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path), str(renames)]).returncode == 9
    assert path.exists() == (renames == 0)
    with pytest.raises(ValueError, match="is not empty"), atomic.folder(path):
        pass
    assert content(path) == {"a": "old"}, "the next writer puts back what was parked"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_what_is_not_ours_is_left_alone(tmp_path, monkeypatch):
    """A neighbour's stale file, a running process's, and that of another machine with the same process number."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 2**22 + 1)
        patched.setattr(atomic, "_machine", lambda: "elsewhere")
        foreign = atomic._beside(tmp_path / "x")
    kept = [tmp_path / ".x.foo.partial", tmp_path / ".x.1.partial", atomic._beside(tmp_path / "x"), foreign]
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: 2**22 + 1)
        dead = atomic._beside(tmp_path / "x")
    for file in (*kept, dead):
        file.touch()
    with atomic.file(tmp_path / "x") as temporary:
        temporary.write_text("")
    assert sorted(tmp_path.iterdir()) == sorted([*kept, tmp_path / "x"])


def test_threads_that_write_to_one_folder_all_succeed(tmp_path):
    path, faults, ready = tmp_path / "x", [], threading.Barrier(8)

    def write(number):
        try:
            with atomic.folder(path, overwrite=True) as temporary:
                for name in "abc":
                    (temporary / name).write_text(str(number))
                ready.wait()
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(set(content(path).values())) == 1 and len(content(path)) == 3
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


FULL = """
import resource, signal, sys
from kzoo.support import atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with atomic.folder(sys.argv[1]) as temporary:
        (temporary / "a").write_text("x" * 5000)
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_told_with_the_path_and_leaves_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "x")], capture_output=True, text=True, check=True)
    assert f"while writing {tmp_path / 'x'}; what was there before is intact" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.fixture
def events(monkeypatch, tmp_path):
    """What reaches the disk, in order: ("sync", name), ("rename", from, to), ("delete", name)."""
    seen = []

    def name(path):
        short = str(path).replace(str(tmp_path), "").strip("/")
        return re.sub(r"\.\w{8}\.(new|old)\.\d+\.[\w-]+\.partial", r".\1.partial", short)

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
    assert events == [("sync", ".one.new.partial"), ("rename", ".one.new.partial", "one"), ("sync", "")]
    assert (tmp_path / "one").read_text() == "new" and os.listdir(tmp_path) == ["one"]


def test_an_old_folder_goes_last(tmp_path, events):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "old").touch()
    with atomic.folder(tmp_path / "one", overwrite=True) as temporary:
        (temporary / "part").mkdir()
        (temporary / "part" / "new").touch()
        assert (tmp_path / "one" / "old").exists()
    assert events == [
        ("sync", ".one.new.partial/part/new"), ("rename", "one", ".one.old.partial"),
        ("rename", ".one.new.partial", "one"), ("sync", ""), ("delete", ".one.old.partial"),
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

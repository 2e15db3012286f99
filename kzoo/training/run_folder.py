"""The folder of a training run: what it says of the run, and whether a run may start or go on in it."""

import contextlib
import functools
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

import keras

from kzoo.building import saving
from kzoo.support import atomic
from kzoo.training import backup

RUN_FILE = "run.json"
IN_MEMORY = ("arrays", "texts", "batches")  # what data are called that no folder holds


def open_run(folder) -> "RunFolder":
    """The run folder at a path, whether or not it holds a run yet."""
    return RunFolder(pathlib.Path(folder))


def newest_run(parent="runs") -> "RunFolder | None":
    """The run that was backed up last of those in a folder of runs; None if there is none."""
    folders = [path.parent for path in pathlib.Path(parent).glob(f"*/{RUN_FILE}")]
    return open_run(max(folders, key=lambda folder: folder.stat().st_mtime)) if folders else None


class RunFolder:
    """One run folder, whether or not a run is there yet."""

    def __init__(self, path):
        self.path = path

    @functools.cached_property
    def facts(self) -> dict:
        """What `run.json` says, {} where there is no run; ValueError that names the file if it is damaged."""
        file = self.path / RUN_FILE
        if not file.is_file():
            return {}
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            for section in (facts["model"], facts["recipe"], facts["data"], facts["model"]["overrides"]):
                section.get("name")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{file} is damaged ({type(error).__name__}: {error})") from error
        return facts

    def __repr__(self) -> str:
        holds = f"{self.facts['model']['name']} on {self.facts['data']['name']}" if self.facts else "empty"
        return f"<kzoo run folder {self.path}: {holds}>"

    @property
    def data_choices(self) -> dict:
        """Keywords of `kzoo.data.load` with which the run read its data, except for those of the recipe."""
        data = self.facts.get("data", {})
        known = {key: data[key] for key in ("skip_bad", "max_length", "whole_words", "columns") if data.get(key)}
        if (self.path / saving.TOKENIZER_FILE).is_file():
            known["tokenizer"] = self.path / saving.TOKENIZER_FILE
        return known

    def resumed(self, asked, choices, how) -> tuple:
        """What a command asks for, completed by what the run says wherever the command leaves something open.

        Args:
            asked: `name`, `overrides`, `dtype` and `data`, None or {} where they are left open.
            choices: fields of the recipe.
            how: keywords of `kzoo.data.load`.

        Returns the three, with `rewrites` in `asked`; the lists of JSON are tuples again. Raises ValueError where the
        run was trained on data in memory and none are named.
        """
        model, data = self.facts["model"], self.facts["data"]["name"]
        if asked["data"] is None and data in IN_MEMORY and not pathlib.Path(data).exists():
            raise ValueError(
                f"{self.path} was trained on {data} in memory, which it does not hold; go on with "
                f"kzoo.fit(model, ..., run_folder={str(self.path)!r}, resume=True)"
            )
        saved = {key: tuple(value) if isinstance(value, list) else value for key, value in model["overrides"].items()}
        found = {
            "name": asked["name"] or model["name"],
            "overrides": asked["overrides"] or saved,
            "dtype": asked["dtype"] or model.get("dtype"),
            "data": asked["data"] or data,
            "rewrites": model.get("rewrites", ()),
        }
        return found, {**self.facts["recipe"], **choices}, {**self.data_choices, **how}

    def adopted_model(self) -> keras.Model | None:
        """The model of a run that `kzoo.adopt` gave its card, without weights, which a backup has; None for others.

        Raises ValueError where it cannot be rebuilt, or where there is no backup.
        """
        if not (self.path / saving.MODEL_FILE).is_file():
            return None
        model = saving.graph_in(self.path)
        if model is not None and backup.read_state(self.path)[0] is None:
            raise ValueError(
                f"{self.path} holds no backup, and so not the weights that {model.kzoo.name} began with; start again"
            )
        return model

    def prepare(self, resume, overwrite) -> None:
        """Makes the folder; raises ValueError unless a run may start in it, or go on there."""
        # A run that is killed in its first moments leaves partial files.
        occupied = self.path.is_dir() and any(path.suffix != ".partial" for path in self.path.iterdir())
        if occupied and not (resume or overwrite):
            raise ValueError(
                f"{self.path} is not empty; resume the run in it (--resume), start again in it (--overwrite), "
                "or name another folder"
            )
        if occupied and not (self.path / RUN_FILE).exists():
            raise ValueError(f"{self.path} is not empty and holds no training run (no {RUN_FILE}); name another folder")
        atomic.require_writable(self.path)

    @contextlib.contextmanager
    def locked(self) -> Iterator:
        """Holds the folder for one run; ValueError that names the process which trains in it already."""
        try:
            import fcntl
        except ModuleNotFoundError:  # not on this system
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _holder(descriptor)
                raise ValueError(f"{self.path} is in use: {holder} trains in it; name another folder") from None
            yield
        finally:
            os.close(descriptor)

    def clear(self) -> None:
        """Deletes what is in the folder, which itself stays, since it may be locked."""
        for path in self.path.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def describe(self, trainee, facts) -> None:
        """Writes `run.json` and what is needed to use the weights without the run."""
        with atomic.file(self.path / RUN_FILE) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        trainee.describe(self.path)


def _holder(descriptor):
    """The process that holds the lock of an open folder, in words."""
    locks = pathlib.Path("/proc/locks")
    rows = [line.split() for line in locks.read_text().splitlines()] if locks.is_file() else []
    inode = f":{os.fstat(descriptor).st_ino}"
    found = [row[4] for row in rows if row[1] == "FLOCK" and row[5].endswith(inode)]
    return f"process {found[0]}" if found else "another process"

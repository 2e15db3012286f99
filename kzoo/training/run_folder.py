"""The folder of a training run: what it holds, what it says of the run, and whether a run may go on or start in it."""

import json
import pathlib

from kzoo.building import saving
from kzoo.support import atomic

RUN_FILE = "run.json"


def open_run(folder) -> "RunFolder":
    """The run folder at a path, whether or not a run is there yet."""
    return RunFolder(pathlib.Path(folder))


def newest_run(parent="runs") -> "RunFolder | None":
    """The run in a folder of runs that was backed up last; None if there is none."""
    found = sorted(pathlib.Path(parent).glob(f"*/{RUN_FILE}"), key=lambda path: path.parent.stat().st_mtime)
    return open_run(found[-1].parent) if found else None


class RunFolder:
    """One run folder; `facts` is what its `run.json` says, {} where there is no run.

    Raises ValueError that names the file if it is damaged.
    """

    def __init__(self, path):
        self.path = path
        file = path / RUN_FILE
        self.facts = {}
        if file.is_file():
            try:
                self.facts = json.loads(file.read_text(encoding="utf-8"))
                for section in ("model", "recipe", "data"):
                    self.facts[section].get("name")
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise ValueError(f"{file} is damaged ({type(error).__name__}: {error})") from error

    def __repr__(self) -> str:
        if not self.facts:
            return f"<kzoo run folder {self.path}: empty>"
        return f"<kzoo run folder {self.path}: {self.facts['model']['name']} on {self.facts['data']['name']}>"

    @property
    def data_choices(self) -> dict:
        """Keywords of `kzoo.data.load` with which the run read its data, but for those of the recipe."""
        known = {key: value for key in ("skip_bad", "max_length", "whole_words")
                 if (value := self.facts.get("data", {}).get(key))}  # fmt: skip
        if (self.path / saving.TOKENIZER_FILE).is_file():
            known["tokenizer"] = self.path / saving.TOKENIZER_FILE
        return known

    def resumed(self, asked, choices, how) -> tuple:
        """What a command asks for, with what it leaves open as the run has it.

        Args:
            asked: `name`, `overrides`, `dtype` and `data`, None or {} where they are left open.
            choices: fields of the recipe.
            how: keywords of `kzoo.data.load`.

        Returns the three, `asked` with `rewrites` too; lists of JSON are tuples again.
        """
        model = self.facts["model"]
        overrides = asked["overrides"] or {
            key: tuple(value) if isinstance(value, list) else value for key, value in model["overrides"].items()
        }
        found = {
            "name": asked["name"] or model["name"],
            "overrides": overrides,
            "dtype": asked["dtype"] or model.get("dtype"),
            "data": asked["data"] or self.facts["data"]["name"],
            "rewrites": model.get("rewrites", ()),
        }
        return found, {**self.facts["recipe"], **choices}, {**self.data_choices, **how}

    def prepare(self, resume, overwrite) -> None:
        """ValueError unless a run may start in the folder, or go on there; makes the folder."""
        # Partial files are what a run killed in its first moment leaves.
        occupied = self.path.is_dir() and any(path.suffix != ".partial" for path in self.path.iterdir())
        if occupied and not (resume or overwrite):
            raise ValueError(
                f"{self.path} is not empty; resume the run in it (--resume), start again in it (--overwrite), "
                "or name another folder"
            )
        if occupied and not (self.path / RUN_FILE).exists():
            raise ValueError(f"{self.path} is not empty and holds no training run (no {RUN_FILE}); name another folder")
        atomic.require_writable(self.path)

    def describe(self, trainee, facts) -> None:
        """Writes `run.json`, and what is needed to use the weights without the run."""
        with atomic.file(self.path / RUN_FILE) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        trainee.describe(self.path)

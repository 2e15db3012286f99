"""Rows of results as a file, JSON lines or CSV, and the files that arguments of a command stand for."""

import csv
import glob
import json
import pathlib

import click

from kzoo.support import atomic

WRITERS = (".csv", ".jsonl")


def check(path) -> None:
    """UsageError unless rows can be written to a file of that name."""
    if pathlib.Path(path).suffix.lower() not in WRITERS:
        raise click.UsageError(f"--output {path}: wanted a name that ends in {' or '.join(WRITERS)}")


def write(path, rows) -> None:
    """Writes a list of rows, whole or not at all; of a CSV, every number has its own column."""
    with atomic.file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        if pathlib.Path(path).suffix.lower() == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            return
        flat = [dict(_flat(row)) for row in rows]
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in flat for key in row)), restval="")
        writer.writeheader()
        writer.writerows(flat)


def _flat(value, name="{}"):
    """(name, number or text) of a row; what stands in lists of objects is numbered from 1, `class_1`, `class_2`."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _flat(item, name.format(key) + "_{}")
        elif isinstance(item, list) and item and all(isinstance(one, dict) for one in item):
            for place, one in enumerate(item, 1):
                yield from _flat(one, f"{{}}_{place}")
        elif isinstance(item, list):
            yield name.format(key), "|".join(map(str, item))
        else:
            yield name.format(key), item


def expanded(arguments, suffixes) -> list:
    """The files that arguments name: files as they are, folders with all files of these suffixes in them, patterns.

    Raises ValueError for a folder or pattern without a file.
    """
    found = []
    for one in arguments:
        path = pathlib.Path(one).expanduser()
        if path.is_dir():
            files = (file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
            files = sorted(file for file in files if not any(part[0] == "." for part in file.relative_to(path).parts))
            if not files:
                raise ValueError(f"{path} holds no file of the kinds {' '.join(suffixes)}")
        elif not path.exists() and glob.has_magic(one):
            files = [pathlib.Path(file) for file in sorted(glob.glob(str(path), recursive=True))]
            files = [file for file in files if file.is_file()]
            if not files:
                raise ValueError(f"no file matches {one}")
        else:
            files = [one]
        found += map(str, files)
    return found

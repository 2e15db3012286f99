"""Which data sets there are on this machine, read from the folders of tensorflow-datasets without importing it."""

import json
import os
import pathlib

# What needs no file -> what it is
GENERATED = {
    "digits": "5,000 handwritten digits of MNIST, prepared when they are first asked for",
    "digits/zero_one": "those of them that are 0 or 1",
    "reverse_digits": "rows of digits to be written backwards",
    "moving_digits": "clips of those digits moving in one of eight directions",
    "synthetic": "random examples in the model's own shapes",
}


def search_dirs(data_dir=None) -> list:
    """The folders in which prepared data is looked for, in this order.

    `data_dir`, else `TFDS_DATA_DIR`, else the folder that TFDS itself uses; then a cache, where data sets are prepared
    when that folder is read-only. What would be in a home directory is left out where there is none.
    """
    first = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "kzoo" / "tensorflow_datasets"
    expanded = map(os.path.expanduser, (first, cache))
    return [pathlib.Path(path) for path in expanded if not path.startswith("~")]


def prepared_names(data_dir=None) -> list:
    """Names of the data sets that are prepared in the folders that are searched."""
    return sorted({name for name, _ in _prepared(data_dir)})


def describe(data_dir=None) -> list:
    """One dict for every data set: `name`, `splits` {name: number of examples}, `what`, `folder` (None if generated).

    Raises ValueError that names a description which is damaged.
    """
    rows = {name: {"name": name, "splits": {}, "what": what, "folder": None} for name, what in GENERATED.items()}
    for name, path in _prepared(data_dir):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            splits = {one["name"]: sum(map(int, one.get("shardLengths", ()))) for one in facts.get("splits", ())}
            what = " ".join(str(facts.get("description", "")).split())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged: {error!r}") from error
        if rows.get(name, {}).get("folder") is None:  # the first folder that is searched counts
            rows[name] = {"name": name, "splits": splits, "what": what, "folder": str(path.parent)}
    return list(rows.values())


def _prepared(data_dir):
    """(name, description) of every data set that is prepared, the newest version first."""
    found = []
    for folder in search_dirs(data_dir):
        for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json"):  # name/version, name/config/version
            found += [(str(path.parents[1].relative_to(folder)), path) for path in sorted(folder.glob(pattern))[::-1]]
    return sorted(found, key=lambda pair: pair[0])

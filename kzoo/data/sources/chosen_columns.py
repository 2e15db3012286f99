"""From the columns of tables to examples: which columns are meant, and what their cells stand for."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from kzoo.data import columns as kinds
from kzoo.data.sources import table_files

TARGETS = ("label", "labels", "target", "targets", "tgt", "class", "category", "sentiment", "tags", "ner_tags")
TRANSCRIPTS = ("transcript", "transcription", "transcripts")
PATHS = ("path", "image", "file", "filename", "file_name", "image_path", "audio", "audio_path", "audio_filepath", "wav")
EXAMPLES = {
    "texts": "text,label", "images": "path,label", "sounds": "path,transcript", "numbers": "width,height:price",
    "words": "tokens,tags", "inputs": "photo,age:price",
}  # fmt: skip
NUMBERING = ("", "id", "idx", "index", "unnamed: 0")  # columns that count rows
MARKS = "|;,"  # between the names of several labels in one cell


@dataclasses.dataclass
class Chosen:
    """The columns that are meant, by name."""

    inputs: list
    targets: list


def asked(columns) -> tuple:
    """`(inputs, targets)` of `"text,label"`, `"width,height:price"` or a list of names; the last one is the target.

    A pair of lists is taken as it is.
    """
    if not columns:
        return [], []
    if not isinstance(columns, str):
        if len(columns) == 2 and not isinstance(columns[0], str):
            return [*columns[0]], [*columns[1]]
        return list(columns[:-1]), list(columns[-1:])
    first, colon, second = columns.partition(":")
    split = [[name.strip() for name in part.split(",") if name.strip()] for part in (first, second)]
    if not split[0] or (colon and not split[1]):
        raise ValueError(f"columns={columns!r}: wanted names such as 'text,label', or 'width,height:price'")
    return (split[0], split[1]) if colon else (split[0][:-1], split[0][-1:])


def choose(table, wanted, kind, most, several=False, learns=True, own=()) -> Chosen:
    """The columns of a table that a model reads and learns; ValueError that lists what there is.

    Args:
        wanted: what `asked` gives.
        kind: of the inputs, one of EXAMPLES.
        most: how many inputs there may be; None for any number of them.
        several: whether several columns may be learned.
        learns: whether there is a target.
        own: what the columns are called where a model has several inputs and they are not named.
    """
    names = list(table.columns)
    inputs, targets = wanted
    if targets and not inputs:  # one name alone
        inputs, targets = targets, []
    if inputs:
        inputs = [_named(table, name) for name in inputs]
        targets = [_named(table, name) for name in targets] if learns else []
    else:
        inputs, targets = _guessed(table, names, kind, several, learns, own)
    least = most if kind == "inputs" else 1
    wrong = not least <= len(inputs) <= (most or len(inputs)) or (learns and not targets)
    if wrong or (len(targets) > 1 and not several):
        counted = "1 column" if most == 1 else f"{'1 or ' * (least == 1)}{most} columns" if most else "columns"
        called = f" called {', '.join(own)}" if own else ""
        raise ValueError(
            f"{table.path} has the columns {', '.join(names)}; wanted {counted} of {kind}{called}"
            f"{', and one to learn' if learns else ''}: name them, as in columns={EXAMPLES[kind]!r} (--columns)"
        )
    return Chosen(inputs, targets)


def _guessed(table, names, kind, several, learns, own):
    targets = [name for name in names if name.lower() in (TARGETS + TRANSCRIPTS if kind == "sounds" else TARGETS)]
    inputs = rest = [name for name in names if name not in targets and name.lower() not in NUMBERING]
    if kind == "inputs":
        inputs = [name for name in own if name in rest]
    elif kind == "words":
        inputs = [name for name in rest if name.lower() in ("tokens", "words")] or rest[:1]
    elif kind in ("images", "sounds"):
        inputs = [name for name in rest if name.lower() in PATHS][:1] or rest[:1]
    elif kind == "texts":
        inputs = [name for name in rest if not _are_numbers(table, name)] or rest
        inputs = [name for name in inputs if name.lower() == "text"] or inputs
    if learns and not targets:
        others = [name for name in rest if name not in inputs and _are_numbers(table, name)] if several else []
        targets = others or (names[-1:] if len(names) > 1 else [])
    return [name for name in inputs if name not in targets], targets if learns else []


def _named(table, name):
    names = list(table.columns)
    if name in names:
        return name
    if name.isdecimal() and int(name) < len(names):
        return names[int(name)]
    raise ValueError(f"{table.path} has no column {name!r}; it has {', '.join(names)}")


def _are_numbers(table, name):
    values = [value for value in table.columns[name] if value not in (None, "")]
    return bool(values) and all(map(table_files.is_number, values))


@dataclasses.dataclass
class Opened:
    """The tables of a data set by split, with the columns that are meant."""

    tables: dict
    chosen: Chosen
    notes: list
    skip_bad: bool

    @property
    def identity(self) -> dict:
        """What a fingerprint says of them, as `kzoo.data.load` takes it."""
        return {"columns": [self.chosen.inputs, self.chosen.targets], "skip_bad": self.skip_bad}

    @property
    def first(self) -> str:
        """The split that is learned from."""
        return next(iter(self.tables))


def open_tables(files, columns, kind, most, several=False, learns=True, skip_bad=False, own=()) -> Opened:
    """Reads all splits and chooses columns by the one that is learned from; the others must have them too."""
    wanted = asked(columns)
    first = "train" if "train" in files else "all"
    files = {first: files[first], **files}
    tables = {split: table_files.read(path, (*wanted[0], *wanted[1])) for split, path in files.items()}
    chosen = choose(tables[first], wanted, kind, most, several, learns, own)
    for table in tables.values():
        for name in (*chosen.inputs, *chosen.targets):
            _named(table, name)
    arrow = f" -> {', '.join(chosen.targets)}" if chosen.targets else ""
    notes = [f"columns: {', '.join(chosen.inputs)}{arrow}"]
    return Opened(tables, chosen, notes, skip_bad)


def texts_of(table, name) -> list:
    """A column as texts; rows without one are bad."""
    values = table.columns[name]
    for row, value in enumerate(values):
        if not isinstance(value, str):
            table.bad.setdefault(row, f"{name} is {'empty' if value is None else repr(value)}, wanted a text")
    return values


def numbers_of(table, names) -> np.ndarray:
    """Columns as float32 (rows, columns); rows with something else are bad."""
    found = np.zeros((len(table.places), len(names)), np.float32)
    for at, name in enumerate(names):
        for row, value in enumerate(table.columns[name]):
            if value is None or not table_files.is_number(value) or not np.isfinite(float(value)):
                table.bad.setdefault(row, f"{name} is {'empty' if value in (None, '') else repr(value)}, no number")
            else:
                found[row, at] = float(value)
    return found


def vectors_of(table, name, width) -> np.ndarray:
    """A column of lists of numbers, or of numbers alone, as float32 (rows, width); rows with something else are bad."""
    if width == 1 and not any(isinstance(cell, list) for cell in table.columns[name]):
        return numbers_of(table, [name])
    found = np.zeros((len(table.places), width), np.float32)
    for row, cell in enumerate(table.columns[name]):
        is_row = isinstance(cell, list) and len(cell) == width and all(map(table_files.is_number, cell))
        values = np.array(cell, np.float32) if is_row else np.array([np.nan])
        if np.isfinite(values).all():
            found[row] = values
        else:
            table.bad.setdefault(row, f"{name} is {cell!r:.60}, wanted a list of {width} numbers")
    return found


def paths_of(table, name) -> list:
    """A column as the paths of files, relative to the table's folder; rows whose file is missing are bad."""
    folder, found = pathlib.Path(table.path).parent, []
    for row, value in enumerate(table.columns[name]):
        path = folder / pathlib.Path(value).expanduser() if isinstance(value, str) and value else None
        if path is None or not path.is_file():
            wrong = "is empty" if path is None else f"names {value}, and no file is there"
            table.bad.setdefault(row, f"{name} {wrong}")
        found.append(path)
    return found


def targets_of(target, table, names) -> tuple:
    """What is learned, one value a row, and the names of its parts if the columns are those."""
    if isinstance(target, kinds.LabelSet):
        if len(names) > 1 or _are_numbers(table, names[0]):
            return numbers_of(table, names), names
        return _sets(table, names[0]), None
    if isinstance(target, kinds.Values):
        return numbers_of(table, names), names if len(names) > 1 else None
    values = table.columns[names[0]]
    for row, value in enumerate(values):
        if value is None or not str(value).strip():
            table.bad.setdefault(row, f"{names[0]} is empty")
        elif isinstance(value, list | dict):
            table.bad.setdefault(row, f"{names[0]} is {value!r}, wanted one label")
    return [str(value).strip() for value in values], None


def _sets(table, name):
    values = table.columns[name]
    cells = [value for value in values if isinstance(value, str)]
    mark = next((mark for mark in MARKS if any(mark in cell for cell in cells)), MARKS[0])
    found = []
    for value in values:
        names = value.split(mark) if isinstance(value, str) else value or []
        found.append([str(one).strip() for one in names if str(one).strip()])
    return found


def _whole(words):
    return all(word.removeprefix("-").isdecimal() for word in words)


def _ordered(words):
    return sorted({*words}, key=int if _whole(words) else None)


def encoded(label, target, y, class_names) -> Any:
    """Targets as arrays, and class names: words, and whole numbers that are no class indices, are names."""
    if isinstance(target, kinds.Values):
        return target.encode(label, y, class_names)
    if _whole(y) and not (class_names and {*y} <= {*class_names}):
        places = np.array(y, np.int64)
        if class_names or (places.min() >= 0 and places.max() < target.num_classes):
            return places, class_names
    return target.encode(label, y, class_names or _ordered(y))


def inputs_of(table, names, kind) -> list:
    """The columns that a model reads, rows being bad that cannot be read: texts, paths, or one array of numbers."""
    if kind == "numbers":
        return [numbers_of(table, names)]
    return [(texts_of if kind == "texts" else paths_of)(table, name) for name in names]


def words_of(table, *names) -> list:
    """Columns of lists, the words of sentences and perhaps their tags; rows of other cells or lengths are bad."""
    found = [table.columns[name] for name in names]
    for row, lists in enumerate(zip(*found, strict=True)):
        if not all(isinstance(one, list) and one for one in lists):
            wanted = "lists of words and tags" if len(names) > 1 else "list of words"
            table.bad.setdefault(row, f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} no {wanted}")
        elif len({*map(len, lists)}) > 1:
            table.bad.setdefault(row, f"{len(lists[0])} words and {len(lists[1])} tags")
    return found


def open_words(path, columns) -> tuple:
    """A table to predict for, and the name of its column that may hold lists of words."""
    opened = open_tables({"all": pathlib.Path(path)}, columns, "words", 1, learns=False)
    return opened.tables["all"], opened.chosen.inputs[0]


def read_texts(files, how, learns) -> Opened:
    """Tables of texts alone, one to read and perhaps one to learn; of their columns only these stay, without bad rows.

    Args:
        how: the `kzoo.data.dataset.How` of the call.
    """
    opened = open_tables(files, how.columns, "texts", 1, learns=learns, skip_bad=how.skip_bad)
    for table in opened.tables.values():
        names = (*opened.chosen.inputs, *opened.chosen.targets)
        found = [texts_of(table, name) for name in names]
        good = table.good_rows(how.skip_bad)
        table.columns = {name: [one[row] for row in good] for name, one in zip(names, found, strict=True)}
        opened.notes += table.notes
    return opened


def carve(name, parts, options) -> list:
    """Sets test examples aside of a table that stands alone; changes `{split: (inputs, targets)}` and returns notes.

    Args:
        parts: inputs are one list or array, or a tuple of them.
    """
    from kzoo.data import dataset

    if "all" not in parts:
        return []
    x, y = parts["train"] = tuple(map(_arrays, parts.pop("all")))
    whole = dataclasses.replace(options, num_examples=None)
    return dataset.carve(name, parts, x if isinstance(x, tuple) else [x], whole, "test")


def _arrays(column):
    if isinstance(column, tuple):
        return tuple(map(_arrays, column))
    return column if isinstance(column, np.ndarray) else np.array(column, object)

"""Tables as data sets: CSV, TSV, JSON lines, Parquet, CoNLL and parallel texts, read as columns by split.

A file is read whole, and what is wrong with a row is said with the file and the line, before training starts.
"""

import csv
import dataclasses
import io
import itertools
import json
import pathlib
import sys

from kzoo.data.sources.folders import SPLIT_FOLDERS
from kzoo.data.tokenizing.tokenizer_files import read_text, split_lines

CONLL = (".conll", ".iob", ".bio")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", *CONLL)
SPLIT_FILES = {**SPLIT_FOLDERS, "valid": "validation", "dev": "validation"}
# What columns are usually called; a first row with one of these names is a header
USUAL = {
    "label", "labels", "target", "targets", "class", "category", "sentiment", "tags", "text", "sentence", "review",
    "sentence1", "sentence2", "premise", "hypothesis", "question", "answer", "source", "src", "tgt", "path", "image",
    "file", "filename", "file_name", "image_path", "id", "transcript", "transcription", "audio", "audio_path",
    "audio_filepath", "wav", "speaker", "duration", "sequence", "seq",
}  # fmt: skip


@dataclasses.dataclass
class Table:
    """The columns of a file by name, and what is known to be wrong with rows of it.

    Args:
        path: what errors name.
        columns: `{name: list}`, all as long; of CSV and TSV everything is text.
        places: where each row is, such as "line 7".
        bad: `{row: what is wrong}`.
        notes: what a user should read.
    """

    path: str
    columns: dict
    places: list
    bad: dict = dataclasses.field(default_factory=dict)
    notes: list = dataclasses.field(default_factory=list)

    def good_rows(self, skip_bad) -> list:
        """The rows that nothing is wrong with; ValueError that names the others unless they are to be left out."""
        good = [row for row in range(len(self.places)) if row not in self.bad]
        if not self.bad:
            return good
        first = itertools.islice(sorted(self.bad.items()), 5)
        listed = "; ".join(f"{self.places[row]}: {wrong}" for row, wrong in first)
        listed += f"; and {len(self.bad) - 5} more" if len(self.bad) > 5 else ""
        line = f"{self.path}: {len(self.bad):,} of {len(self.places):,} rows cannot be read ({listed})"
        if not skip_bad:
            raise ValueError(f"{line}; repair or delete them, or leave them out with skip_bad=True (--skip-bad)")
        if not good:
            raise ValueError(line)
        self.notes.append(f"{line}; left out")
        return good


def find(name) -> dict | None:
    """`{split: path, or a list of parallel files}` that a data set's name stands for; `{"all": ...}` for a file alone.

    None for other names. Raises ValueError for a name that can only be a table but is not there.
    """
    path = pathlib.Path(name).expanduser()
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() in SUFFIXES and "," not in name:
        if not path.is_file():
            raise ValueError(f"no file at {path}")
        return {"all": path}
    parts = [pathlib.Path(part.strip()).expanduser() for part in name.split(",")]
    if len(parts) == 2 and not path.exists():
        return _parallel(name, parts)
    return None


def _in_folder(folder):
    found = {}
    for file in sorted(folder.iterdir()):
        split = SPLIT_FILES.get(file.stem.lower())
        if split is None or file.suffix.lower() not in SUFFIXES or not file.is_file():
            continue
        if split in found:
            raise ValueError(f"{folder} holds {found[split].name} and {file.name}, both for {split}; keep one of them")
        found[split] = file
    if found and "train" not in found:
        raise ValueError(f"{folder} holds {', '.join(file.name for file in found.values())} and no train file")
    return found or None


def _parallel(name, parts):
    missing = [part for part in parts if not part.is_file()]
    if len(missing) == len(parts):
        return None
    if missing:
        raise ValueError(f"no file at {missing[0]}; {name!r} names two texts whose lines belong together")
    found = {"all": parts}
    if {SPLIT_FILES.get(part.stem) for part in parts} == {"train"}:
        found = {"train": parts}
        for stem, split in SPLIT_FILES.items():
            beside = [part.with_name(stem + part.suffix) for part in parts]
            if split != "train" and all(part.is_file() for part in beside):
                found[split] = beside
    return found


def read(path, columns=()) -> Table:
    """The table in a file, or in two parallel ones.

    Args:
        columns: names of columns that are wanted, by which the header of a CSV is known as one.

    Raises ValueError that names the file, and the line, which cannot be read.
    """
    if isinstance(path, list):
        return _read_parallel(path)
    kind = path.suffix.lower()
    if kind == ".parquet":
        table = _read_parquet(path)
    elif kind in (".jsonl", ".ndjson"):
        table = _read_json_lines(path)
    else:
        table = _read_conll(path) if kind in CONLL else _read_separated(path, columns)
    if not table.places:
        raise ValueError(f"{path} holds no rows")
    return table


def _read_separated(path, wanted):
    csv.field_size_limit(sys.maxsize)  # a text may be longer than the library's 128 kB
    text, tabs, notes = read_text(path), path.suffix.lower() == ".tsv", []
    first = text.split("\n", 1)[0]
    comma = "\t" if tabs else "," if "," in first else next((mark for mark in ";\t" if mark in first), ",")
    if not tabs and comma != ",":
        notes.append(f"{path}: columns are separated by {'tabs' if comma == chr(9) else repr(comma)}")
    try:
        rows = list(_rows(text, comma, csv.QUOTE_MINIMAL))
        if tabs and len({len(row) for _, row in rows}) > 1:
            raise csv.Error
    except csv.Error as error:
        if not tabs:
            raise ValueError(f"{path}, {error.args[1]}: {error.args[0]}; a quote in a text is written twice") from error
        rows = list(_rows(text, comma, csv.QUOTE_NONE))  # a quote is a character like others
    if not rows:
        raise ValueError(f"{path} holds no rows")
    header = _header([row for _, row in rows[:2]], wanted)
    names = [name.strip() for name in rows.pop(0)[1]] if header else [str(place) for place in range(len(rows[0][1]))]
    if len({*names}) < len(names):
        raise ValueError(f"{path}: the header names a column twice: {', '.join(names)}")
    if not header:
        notes.append(f"{path}: the first row is no header, so columns are called {', '.join(names)}")
    count = len(names)
    bad = {
        place: f"{len(row)} columns, wanted {count} ({', '.join(names)})"
        for place, (_, row) in enumerate(rows) if len(row) != count
    }  # fmt: skip
    columns = {name: [row[at] if at < len(row) else None for _, row in rows] for at, name in enumerate(names)}
    return Table(str(path), columns, [f"line {line}" for line, _ in rows], bad, notes)


def _rows(text, comma, quoting):
    """Rows with the line on which each begins; csv.Error with that line as its second argument."""
    reader, line = csv.reader(io.StringIO(text, newline=""), delimiter=comma, quoting=quoting, strict=True), 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise csv.Error(str(error), f"line {line}") from error
        if row is None:
            return
        if row:
            yield line, row
        line = reader.line_num + 1


def _header(rows, wanted):
    """Whether the first row names columns: a usual name, one that is asked for, or words above numbers."""
    first = [cell.strip().lower() for cell in rows[0]]
    if {*first} & (USUAL | {name.lower() for name in wanted if not name.isdigit()}):
        return True
    if any(is_number(cell) for cell in first) or not all(first) or len(rows) < 2:
        return False
    return any(is_number(cell) for cell in rows[1])


def is_number(value) -> bool:
    """Whether a cell is a number, or the text of one."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return isinstance(value, bool | int | float)


def _read_json_lines(path):
    rows, places = [], []
    for number, line in enumerate(split_lines(read_text(path)), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            row = f"no JSON ({error})"
        rows.append(row if isinstance(row, dict | str) else f"a {type(row).__name__}, wanted an object")
        places.append(f"line {number}")
    names = list(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))
    bad = {place: row for place, row in enumerate(rows) if isinstance(row, str)}
    columns = {name: [row.get(name) if isinstance(row, dict) else None for row in rows] for name in names}
    return Table(str(path), columns, places, bad)


def _read_parquet(path):
    from pyarrow import ArrowException, parquet

    try:
        columns = parquet.read_table(path).to_pydict()
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged or no Parquet file: {error}") from error
    count = len(next(iter(columns.values()), ()))
    return Table(str(path), columns, [f"row {number}" for number in range(1, count + 1)])


def _read_conll(path):
    """One word a line with its tags behind it, and an empty line after a sentence: every column holds lists."""
    sentences, places, bad, width = [[]], [], {}, None
    for number, line in enumerate([*split_lines(read_text(path)), ""], 1):
        cells = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or line.startswith("-DOCSTART-"):
            if sentences[-1]:
                sentences.append([])
            continue
        if line.startswith("# "):
            continue
        if not sentences[-1]:
            places.append(f"line {number}")
        width = width or len(cells)
        if len(cells) != width:
            bad[len(places) - 1] = f"line {number} has {len(cells)} columns, wanted {width}"
        sentences[-1].append(cells)
    columns = {
        str(at): [[row[at] if at < len(row) else None for row in rows] for rows in sentences[:-1]]
        for at in range(width or 0)
    }
    return Table(str(path), columns, places, bad)


def _read_parallel(paths):
    texts = [split_lines(read_text(path)) for path in paths]
    counts = [len(lines) for lines in texts]
    if len({*counts}) > 1:
        told = " and ".join(f"{path} has {count:,}" for path, count in zip(paths, counts, strict=True))
        raise ValueError(f"parallel texts need as many lines each; {told}")
    names = [path.suffix.removeprefix(".") for path in paths]
    names = names if len({*names}) == 2 else ["source", "target"]
    listed = ",".join(map(str, paths))
    return Table(listed, dict(zip(names, texts, strict=True)), [f"line {at}" for at in range(1, counts[0] + 1)])

"""Alignments of related proteins, from A3M and Stockholm files: the letters of every row and where it had more."""

import dataclasses
import os
import pathlib

import numpy as np

from kzoo.data.proteins.protein_sequences import Protein, records, text_of
from kzoo.layers.residues import LETTERS

A3M, STOCKHOLM = (".a3m",), (".sto", ".stk", ".stockholm")
SUFFIXES = (*A3M, *STOCKHOLM)

# HHblits reads letters of two amino acids, and selenocysteine, as the likelier or nearest one.
_IDS = np.full(128, -1, np.int32)
for _letter, _like in {**dict(zip(LETTERS, LETTERS, strict=True)), **dict(zip("BZUJO", "DECXX", strict=True))}.items():
    _IDS[ord(_letter)] = LETTERS.index(_like)


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Rows of one length, the query first, none of them twice.

    Attributes:
        rows: int32 (rows, residues), the place of each letter in `residues.LETTERS`.
        deletions: int32 (rows, residues), how many letters of a row stand before each residue that the query lacks.
        notes: what a user should know.
    """

    rows: np.ndarray
    deletions: np.ndarray
    notes: tuple = ()


def of_query(protein) -> Alignment:
    """The alignment of a chain with nothing."""
    rows = _IDS[np.frombuffer(protein.sequence.encode(), np.uint8)][None]
    return Alignment(rows, np.zeros_like(rows))


def read(paths, protein: Protein) -> Alignment:
    """The rows of one or several files after the query, without those that are equal where they are aligned.

    Args:
        paths: a path or a list of them: `.a3m`, or `.sto`, `.stk` or `.stockholm`.
        protein: the query, which must be the first row of each.

    Raises ValueError that names the file, the row and the residue.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    known, deletions, total = {}, [], 0
    for path in paths:
        for place, (name, letters, deleted) in enumerate(_rows(path)):
            if place == 0:
                _check_query(path, name, letters, protein)
            elif len(letters) != len(protein.sequence):
                raise ValueError(
                    f"{path}: row {place + 1}, {name!r}, has {len(letters)} aligned letters and the query "
                    f"{len(protein.sequence)}; wanted as many in every row (in A3M small letters are not counted)"
                )
            total += 1
            ids = _ids(path, place, name, letters)
            if letters not in known:
                known[letters] = ids
                deletions.append(deleted)
    rows = np.stack([*known.values()])
    gone = total - len(rows) - (len(paths) - 1)
    notes = [f"{', '.join(map(str, paths))}: {len(rows):,} rows"]
    if gone:
        notes.append(f"{gone:,} more are equal to others where they are aligned, and left out")
    return Alignment(rows, np.stack(deletions), ("; ".join(notes),))


def _ids(path, place, name, letters):
    """The ids of aligned letters; ValueError for other signs."""
    codes = np.frombuffer(letters.encode("latin-1", "replace"), np.uint8)
    ids = np.where(codes < 128, _IDS[codes % 128], -1)
    if (ids < 0).any():
        wrong = int(np.argmax(ids < 0))
        raise ValueError(f"{path}: row {place + 1}, {name!r}, has {letters[wrong]!r}; wanted letters, or - for a gap")
    return ids.astype(np.int32)


def _check_query(path, name, letters, protein):
    if letters == protein.sequence:
        return
    if len(letters) != len(protein.sequence):
        how = f"it has {len(letters)} residues and {protein.name} {len(protein.sequence)}"
    else:
        place = next(i for i, pair in enumerate(zip(letters, protein.sequence, strict=True)) if pair[0] != pair[1])
        how = f"residue {place + 1} is {letters[place]} there and {protein.sequence[place]} in {protein.name}"
    raise ValueError(f"{path}: the first row, {name!r}, is another protein: {how}; put the query first")


def _rows(path):
    """(name, aligned letters, deletions) of each row."""
    suffix = pathlib.Path(path).suffix.lower()
    if suffix in A3M:
        return (_of_a3m(header.split()[0] if header else "", letters) for header, letters in records(path))
    if suffix in STOCKHOLM:
        return _of_stockholm(path)
    raise ValueError(f"{path}: an alignment is read from {', '.join(SUFFIXES)}")


def _of_a3m(name, letters):
    """Small letters are those that the query lacks, and dots only keep other rows in step with them."""
    codes = np.frombuffer(letters.replace(".", "").encode("latin-1", "replace"), np.uint8)
    inserted = (codes >= ord("a")) & (codes <= ord("z"))
    return name, codes[~inserted].tobytes().decode("latin-1"), _before(inserted)


def _before(inserted):
    """How many marked letters stand before each unmarked one, after the one before it."""
    counts = np.cumsum(inserted)[~inserted]
    return np.diff(counts, prepend=0).astype(np.int32)


def _of_stockholm(path):
    """Columns where the first row has a gap are not aligned."""
    rows = {}
    for number, line in enumerate(text_of(path).split("\n"), 1):
        line = line.strip()
        if not line or line.startswith(("#", "//")):
            continue
        parts = line.split()
        if len(parts) != 2:
            raise ValueError(f"{path}, line {number} has {len(parts)} words; wanted a name and its letters")
        rows.setdefault(parts[0], []).append(parts[1])
    if not rows:
        raise ValueError(f"{path} has no row")
    columns = kept = None
    for place, (name, pieces) in enumerate(rows.items()):
        letters = "".join(pieces).upper().replace(".", "-")
        codes = np.frombuffer(letters.encode("latin-1", "replace"), np.uint8)
        if kept is None:
            columns, kept = len(codes), codes != ord("-")
        if len(codes) != columns:
            raise ValueError(
                f"{path}: row {place + 1}, {name!r}, has {len(codes)} columns and the first row {columns}; wanted as "
                "many in every row"
            )
        present = kept | (codes != ord("-"))
        yield name, codes[kept].tobytes().decode("latin-1"), _before(~kept[present])

"""Sequences of proteins from FASTA files."""

import collections
import dataclasses
import os
import pathlib

import numpy as np

from kzoo.layers.residues import LETTERS, UNKNOWN
from kzoo.support.suggest import did_you_mean

KNOWN = LETTERS[:UNKNOWN]  # the 20 amino acids
SUFFIXES = (".fasta", ".fa", ".faa", ".fas")

_IDS = np.full(128, UNKNOWN, np.int32)
_IDS[[ord(letter) for letter in KNOWN]] = range(UNKNOWN)


@dataclasses.dataclass(frozen=True)
class Protein:
    """One chain.

    Attributes:
        name: the first word of its line in a file.
        sequence: one capital letter for each residue, as the file has it.
    """

    name: str
    sequence: str

    @property
    def ids(self) -> np.ndarray:
        """Each residue's place in `residues.LETTERS`, int32 (residues,), UNKNOWN for any other letter."""
        return _IDS[np.frombuffer(self.sequence.encode(), np.uint8)]

    @property
    def notes(self) -> list:
        """What a user should know: the letters that stand for no single one of the 20 amino acids."""
        others = collections.Counter(letter for letter in self.sequence if letter not in KNOWN)
        if not others:
            return []
        told = ", ".join(f"{count} {letter}" for letter, count in sorted(others.items()))
        return [f"{self.name}: {sum(others.values())} of {len(self.sequence)} residues are read as X, unknown ({told})"]


def make(name, sequence) -> Protein:
    """A chain of letters, of which blanks, an end marked by `*` and lower case are put right.

    Raises ValueError that begins with the name for no letters, or for other signs among them.
    """
    if not isinstance(sequence, str):
        raise TypeError(f"{name}: a sequence must be text, one letter for each residue, got {type(sequence).__name__}")
    letters = "".join(sequence.split()).upper().removesuffix("*")
    if not letters:
        raise ValueError(f"{name}: the sequence is empty; wanted at least one residue")
    wrong = next((place for place, letter in enumerate(letters) if not "A" <= letter <= "Z"), None)
    if wrong is not None:
        fix = "pass an alignment as msa (--msa)" if letters[wrong] in "-." else "wanted letters, one for each residue"
        raise ValueError(f"{name}: residue {wrong + 1} is {letters[wrong]!r}; {fix}")
    return Protein(name, letters)


def records(path, text=None) -> list:
    """Pairs (first line without its `>`, letters as they stand) of a file in FASTA's form.

    Raises ValueError that names the file for one without such lines, or that cannot be read.
    """
    if text is None:
        text = text_of(path)
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith("#"):  # as ColabFold's alignments begin
            continue
        if line.startswith(">"):
            found.append((line[1:].strip(), []))
        elif line and not found:
            raise ValueError(
                f"{path}, line {number} is {line[:20]!r} and no name: a FASTA file has a line '>name' before each "
                "sequence; add one"
            )
        elif line:
            found[-1][1].append(line)
    if not found:
        raise ValueError(f"{path} is empty; wanted a line '>name' and a sequence")
    return [(header, "".join(lines)) for header, lines in found]


def text_of(path) -> str:
    """The text of a file, or ValueError that names it."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    try:
        return path.read_text(encoding="utf-8").lstrip("\ufeff")
    except (UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error


def read(path: str | os.PathLike) -> list:
    """All chains of a FASTA file; ValueError that names the file for one without names, or with equal ones."""
    found = []
    for header, letters in records(path):
        if not header:
            raise ValueError(f"{path}: sequence {len(found) + 1} has no name; write one after its '>'")
        found.append(make(header.split()[0], letters))
    names = collections.Counter(each.name for each in found)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"{path} has {names[twice[0]]} sequences called {twice[0]!r}; give each a name of its own")
    return found


def read_one(path: str | os.PathLike, name=None) -> Protein:
    """The one chain of a FASTA file, or the one of that name; ValueError where it is not clear which is meant."""
    found = {each.name: each for each in read(path)}
    if name is not None:
        if name not in found:
            raise ValueError(f"{path}: {did_you_mean('sequence', name, [*found])}")
        return found[name]
    if len(found) > 1:
        listed = ", ".join([*found][:5]) + ", ..." * (len(found) > 5)
        raise ValueError(f"{path} holds {len(found)} sequences ({listed}); say which is meant")
    return next(iter(found.values()))

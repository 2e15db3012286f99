"""Genomes and records in FASTA files, and regions of them in BED files."""

import dataclasses
import gzip
import os
import pathlib
import tempfile
from typing import Any

from kzoo.support.suggest import did_you_mean

FASTA = (".fa", ".fasta", ".fna", ".faa", ".fa.gz", ".fasta.gz")
OTHER = {"A": "T", "C": "G", "G": "C", "T": "A", "U": "A"}


def is_fasta(path) -> bool:
    """Whether a file is called as files of sequences are."""
    return str(path).lower().endswith(FASTA)


def read_lines(path) -> list:
    """The lines of a text file, which may be gzipped; ValueError that names a file that is none."""
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        return content.decode("utf-8").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text: {error}") from error


def read_fasta(path) -> dict:
    """`{name: letters}` of the records of a FASTA file, a name being the first word after `>`.

    Raises ValueError for a file without a record, for letters before the first one, and for two records of one name.
    """
    records, name = {}, None
    for number, line in enumerate(read_lines(path), 1):
        line = line.strip()
        if line.startswith(">"):
            name = (line[1:].split() or [""])[0]
            if not name or name in records:
                told = f"two records are called {name!r}" if name else "a record has no name"
                raise ValueError(f"{path}, line {number}: {told}; names tell records apart")
            records[name] = []
        elif line and not line.startswith(";"):
            if name is None:
                raise ValueError(f"{path}, line {number}: letters before the first name; wanted a line such as >name")
            records[name].append(line)
    if not records:
        raise ValueError(f"{path} holds no record; wanted FASTA, lines such as >name with letters below them")
    return {name: "".join(lines) for name, lines in records.items()}


class Genome:
    """The sequences of an indexed FASTA file, read where they are asked for, by `pyfaidx`.

    Raises ValueError for a file that is none, and ModuleNotFoundError without `pyfaidx`.
    """

    def __init__(self, path):
        try:
            import pyfaidx
        except ImportError as error:
            raise ModuleNotFoundError("genomes need pyfaidx: pip install kzoo[genes]") from error
        self.path = pathlib.Path(path).expanduser()
        if not self.path.is_file():
            raise ValueError(f"no genome at {self.path}")
        index = None
        if not os.access(self.path.parent, os.W_OK) and not pathlib.Path(f"{self.path}.fai").is_file():
            index = str(pathlib.Path(tempfile.mkdtemp()) / f"{self.path.name}.fai")
        try:
            self._file = pyfaidx.Fasta(str(self.path), as_raw=True, indexname=index)
        except (pyfaidx.FastaIndexingError, pyfaidx.UnsupportedCompressionFormat, ValueError, OSError) as error:
            raise ValueError(f"{self.path} is no FASTA file that can be indexed: {error}") from error
        self.lengths = {name: len(record) for name, record in self._file.items()}
        if not self.lengths:
            raise ValueError(f"{self.path} holds no record; wanted FASTA, lines such as >name with letters below them")

    def contig(self, label, name) -> str:
        """The genome's own name of a contig, with or without `chr`; ValueError that begins with `label` without one."""
        for known in (name, f"chr{name}", name.removeprefix("chr")):
            if known in self.lengths:
                return known
        raise ValueError(f"{label}: {did_you_mean('contig', name, list(self.lengths))} ({self.path})")

    def letters(self, contig, begin, end) -> str:
        """The letters from `begin` up to but not including `end`, counted from 0; N where the contig has none."""
        inside = max(begin, 0), min(end, self.lengths[contig])
        if inside[0] >= inside[1]:
            return "N" * (end - begin)
        return "N" * (inside[0] - begin) + self._file[contig][inside[0] : inside[1]] + "N" * (end - inside[1])


@dataclasses.dataclass(frozen=True)
class Region:
    """A part of a contig: from `begin` up to but not including `end`, counted from 0, on one strand.

    Attributes:
        place: where it stands in its file, for errors.
    """

    contig: str
    begin: int
    end: int
    name: str = ""
    strand: str = "+"
    place: str = ""

    def __str__(self) -> str:
        return f"{self.contig}:{self.begin:,}-{self.end:,}({self.strand})"


def read_bed(path, genome=None) -> list:
    """The `Region`s of a BED file; what stands after the sixth column is not read.

    Args:
        genome: a `Genome`, by which contigs and ends are checked and named.

    Raises ValueError that names the line: fewer than three columns, no numbers, nothing between them, a strand that is
    none, an unknown contig, an end beyond it; and for a file without a region.
    """
    regions = []
    for number, line in enumerate(read_lines(path), 1):
        cells, place = line.split("\t") if "\t" in line else line.split(), f"{path}, line {number}"
        if not cells or not cells[0] or cells[0].startswith(("#", "track", "browser")):
            continue
        if len(cells) < 3 or not (cells[1].isdecimal() and cells[2].isdecimal()):
            raise ValueError(f"{place} is {line[:60]!r}; wanted contig, begin (counted from 0) and end, parted by tabs")
        begin, end, strand = int(cells[1]), int(cells[2]), cells[5].strip() if len(cells) > 5 else "+"
        strand = "+" if strand == "." else strand
        if begin >= end or strand not in "+-":
            raise ValueError(
                f"{place}: {line[:60]!r} has no letter between begin and end, or a strand that is no + or -"
            )
        contig = cells[0]
        if genome is not None:
            contig = genome.contig(place, contig)
            if end > genome.lengths[contig]:
                raise ValueError(f"{place}: {contig} ends at {genome.lengths[contig]:,}, before {end:,}")
        regions.append(Region(contig, begin, end, cells[3].strip() if len(cells) > 3 else "", strand, place))
    if not regions:
        raise ValueError(f"{path} holds no region; wanted BED, lines of contig, begin and end")
    return regions


def letters_of(genome, region, before=0, after=0) -> str:
    """The letters of a region as its strand reads them, with as many more before and after it."""
    if region.strand == "+":
        return genome.letters(region.contig, region.begin - before, region.end + after)
    return other_strand(genome.letters(region.contig, region.begin - after, region.end + before))


def other_strand(text) -> Any:
    """Letters of DNA as the other strand reads them; what has no partner stays."""
    return "".join(OTHER.get(one, one) for one in reversed(text.upper()))

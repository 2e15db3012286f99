"""Chains of FASTA files, folded and written, as rows."""

import logging
import pathlib

from kzoo.data.proteins import alignments, protein_sequences, structure_files
from kzoo.tasks.protein_structure import folding, structure_pages
from kzoo.tasks.reading import readable


def rows_of_files(model, paths, how=None, skip_bad=False) -> list:
    """A row for each chain of FASTA files; `how.output` is a file for one chain, or a folder for any number.

    Raises ValueError where it is not clear which chain is meant, and for alignments of several chains.
    """
    how = how or folding.How()
    chains = []
    for path, found in readable(lambda path: _read(path, how), paths, skip_bad):
        chains += [(path, protein) for protein in found]
    if len(chains) > 1:
        listed = ", ".join(protein.name for _, protein in chains[:5]) + ", ..." * (len(chains) > 5)
        told = f"{', '.join(map(str, paths))}: {len(chains)} sequences ({listed})"
        if how.msa:
            raise ValueError(f"{told}, and an alignment is of one; say which is meant (--sequence NAME)")
        if how.output and pathlib.Path(how.output).suffix:
            raise ValueError(f"{told} do not go into one {how.output}; say which is meant (--sequence NAME)")
    if how.output:
        _check_output(how.output)
    return [_row(model, path, protein, how) for path, protein in chains]


def _read(path, how):
    if pathlib.Path(path).suffix.lower() in (*alignments.SUFFIXES, *structure_files.SUFFIXES):
        raise ValueError(f"{path} is no FASTA file; an alignment goes with --msa, a known structure with --structure")
    found = protein_sequences.read(path)
    return [protein_sequences.read_one(path, how.sequence)] if how.sequence else found


def _check_output(path):
    """ValueError before the long work for a file that cannot be written."""
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in structure_files.SUFFIXES:
        raise ValueError(f"{path}: a structure is written as {', '.join(structure_files.SUFFIXES)}")
    if not pathlib.Path(path).parent.is_dir():
        raise ValueError(f"{path}: there is no folder {pathlib.Path(path).parent}")


def _row(model, path, protein, how):
    found = folding.fold(model, protein, how)
    for note in found.notes:
        logging.getLogger("kzoo").warning("%s", note)
    row = {
        "file": str(path), "name": protein.name, "residues": len(protein.sequence), "plddt": found.plddt,
        "predicted_tm": found.predicted_tm, "recycles": found.num_recycles, "seed": found.seed,
    }  # fmt: skip
    if how.output:
        row["files"] = [str(each) for each in structure_pages.write(how.output, found)]
    return row

"""Structures of proteins from and into mmCIF and PDB files, by gemmi."""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from kzoo.data.proteins.protein_sequences import KNOWN
from kzoo.layers.residues import ATOM37, NAMES
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean

MMCIF, PDB = (".cif", ".mmcif"), (".pdb", ".ent")
SUFFIXES = (*MMCIF, *PDB)
_PLACES = {name: place for place, name in enumerate(ATOM37)}
_MOST_RESIDUES, _MOST_COORDINATE = 9999, 9999.0  # that PDB's columns hold


@dataclasses.dataclass(frozen=True)
class Structure:
    """Where the heavy atoms of one chain are.

    Attributes:
        name: of the file, and of the chain where it has several.
        sequence: a capital letter for each residue, X where it is none of the 20 amino acids.
        positions: float32 (residues, 37, 3) in angstroms, in the order of `residues.ATOM37`, zeros for missing atoms.
        mask: float32 (residues, 37), 1 where there is an atom.
        residue_index: int32 (residues,), the place of each residue in the chain, from 0, with jumps over residues that
            neither the file's sequence nor its numbers know.
        resolution: in angstroms, 0 where there is none, as for predictions.
        confidence: float32 (residues,) from 0 to 100, or None; written in place of temperature factors.
    """

    name: str
    sequence: str
    positions: np.ndarray
    mask: np.ndarray
    residue_index: np.ndarray
    resolution: float = 0.0
    confidence: np.ndarray | None = None


def read(path: str | os.PathLike, chain=None, model=None) -> Structure:
    """One chain of a file.

    Selenomethionine is read as methionine, of alternative places of an atom the one with the highest occupancy, and a
    residue with an insertion code as a residue of its own. Atoms that are missing are masked; residues of the file's
    sequence (SEQRES) that have none are kept, without atoms.

    Args:
        chain, model: which one is meant, where there are several.

    Raises ValueError that names the file for several chains or models of which none is named, or for no protein.
    """
    found = _opened(path)
    numbers = [each.num for each in found]
    if model is None and len(numbers) > 1:
        raise ValueError(
            f"{path} holds {len(numbers)} models ({numbers[0]} to {numbers[-1]}); name one, such as model=1"
        )
    if model is not None and model not in numbers:
        raise ValueError(f"{path} has no model {model}; it has {', '.join(map(str, numbers))}")
    chains = _chains(path, found, found[numbers.index(model) if model is not None else 0])
    if chain is None and len(chains) > 1:
        raise ValueError(
            f"{path} holds {len(chains)} chains ({', '.join(chains)}); name one, such as chain={[*chains][0]}"
        )
    if chain is not None and chain not in chains:
        raise ValueError(f"{path}: {did_you_mean('chain', chain, [*chains])}")
    only = chain or next(iter(chains))
    return _structure(pathlib.Path(path).stem, found, chains[only])


def every_chain(path: str | os.PathLike) -> list:
    """All chains of the first model of a file, each called by the file's name and its own."""
    found = _opened(path)
    stem = pathlib.Path(path).stem
    return [_structure(f"{stem}_{name}", found, chain) for name, chain in _chains(path, found, found[0]).items()]


def _opened(path):
    gemmi = _gemmi()
    if pathlib.Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: a structure is read from {', '.join(SUFFIXES)}")
    if not pathlib.Path(path).is_file():
        raise ValueError(f"no file at {path}")
    try:
        found = gemmi.read_structure(os.fspath(path))
    except (ValueError, RuntimeError, OSError, IndexError) as error:
        raise ValueError(f"{path} is not a structure that can be read: {error}") from error
    if not len(found):
        raise ValueError(f"{path} holds no atoms")
    found.setup_entities()
    found.assign_label_seq_id()
    return found


def _gemmi():
    try:
        import gemmi
    except ImportError as error:
        raise ValueError("structures of proteins need gemmi: pip install 'kzoo[proteins]'") from error
    return gemmi


def _chains(path, structure, model):
    gemmi = _gemmi()
    kinds = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)
    found = {chain.name: chain.get_polymer() for chain in model}
    found = {name: polymer for name, polymer in found.items() if polymer and polymer.check_polymer_type() in kinds}
    if not found:
        raise ValueError(f"{path} has no chain of a protein; its chains are {', '.join(each.name for each in model)}")
    return found


def letter_of(name) -> str:
    """The letter of a residue by its three-letter name; that of what it was modified from, else X."""
    found = _gemmi().find_tabulated_residue(name)
    letter = found.one_letter_code.upper()
    return letter if found.is_amino_acid() and letter in KNOWN else "X"


def _structure(name, structure, polymer):
    gemmi = _gemmi()
    observed = [*polymer.first_conformer()]
    entity = structure.get_entity_of(polymer)
    whole = [gemmi.Entity.first_mon(each) for each in entity.full_sequence] if entity else []
    labels = [residue.label_seq for residue in observed]
    if whole and None not in labels and len({*labels}) == len(labels) and 1 <= min(labels) <= max(labels) <= len(whole):
        places, names, index = [label - 1 for label in labels], whole, np.arange(len(whole))
    else:
        numbers = np.array([residue.seqid.num for residue in observed])
        steps = np.maximum(np.diff(numbers), 1)  # an insertion code repeats a number
        places, names = range(len(observed)), [residue.name for residue in observed]
        index = np.concatenate([[0], np.cumsum(steps)])
    positions, mask = np.zeros((len(names), 37, 3), np.float32), np.zeros((len(names), 37), np.float32)
    for place, residue in zip(places, observed, strict=True):
        _fill(positions[place], mask[place], residue, polymer)
    letters = "".join(letter_of(each) for each in names)
    resolution = float(structure.resolution or 0)
    return Structure(name, letters, positions, mask, index.astype(np.int32), resolution)


def _fill(positions, mask, residue, polymer):
    """Puts the atoms of a residue, of which the fullest alternatives, into its rows."""
    best = {}
    for atom in residue:
        name = "SD" if residue.name == "MSE" and atom.name.upper() == "SE" else atom.name
        if name in _PLACES and (name not in best or atom.occ > best[name].occ):
            best[name] = atom
    for name, atom in best.items():
        positions[_PLACES[name]], mask[_PLACES[name]] = atom.pos.tolist(), 1
    if residue.name == "ARG" and {"CD", "NH1", "NH2"} <= set(best):  # NH1 is the one beside CD
        cd, *pair = (_PLACES[name] for name in ("CD", "NH1", "NH2"))
        near, far = np.linalg.norm(positions[pair] - positions[cd], axis=-1)
        if near > far:
            positions[pair] = positions[pair[::-1]]


def write(path: str | os.PathLike, structure: Structure) -> None:
    """Writes a chain as `.cif` or `.pdb`, whole or not at all; confidence stands in place of temperature factors.

    Raises ValueError for another suffix, and for what PDB's columns cannot hold.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: a structure is written as {', '.join(SUFFIXES)}")
    if suffix in MMCIF:
        text = _as_gemmi(structure).make_mmcif_document().as_string()
    else:
        largest = float(np.abs(structure.positions).max(initial=0))
        if len(structure.sequence) > _MOST_RESIDUES or largest > _MOST_COORDINATE:
            raise ValueError(
                f"{path}: PDB holds {_MOST_RESIDUES:,} residues and coordinates up to {_MOST_COORDINATE:,.0f}; this "
                f"chain has {len(structure.sequence):,}, up to {largest:,.0f}: write .cif"
            )
        text = as_pdb(structure)
    with atomic.file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def as_pdb(structure) -> str:
    """A chain as the text of a PDB file."""
    return _as_gemmi(structure).make_pdb_string()


def _as_gemmi(structure) -> Any:
    gemmi = _gemmi()
    made, model, chain = gemmi.Structure(), gemmi.Model(1), gemmi.Chain("A")
    made.name = structure.name
    confidence = structure.confidence if structure.confidence is not None else np.zeros(len(structure.sequence))
    names = [NAMES[KNOWN.index(letter)] if letter in KNOWN else "UNK" for letter in structure.sequence]
    for place, name in enumerate(names):
        residue = gemmi.Residue()
        residue.name, residue.seqid = name, gemmi.SeqId(int(structure.residue_index[place]) + 1, " ")
        residue.label_seq, residue.subchain, residue.entity_id = place + 1, "A", "1"
        residue.entity_type, residue.het_flag = gemmi.EntityType.Polymer, "A"
        for atom37 in np.flatnonzero(structure.mask[place]):
            atom = gemmi.Atom()
            atom.name, atom.element = ATOM37[atom37], gemmi.Element(ATOM37[atom37][0])
            atom.pos = gemmi.Position(*map(float, structure.positions[place, atom37]))
            atom.occ, atom.b_iso = 1.0, float(confidence[place])
            residue.add_atom(atom)
        chain.add_residue(residue)
    entity = gemmi.Entity("1")
    entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
    entity.subchains, entity.full_sequence = ["A"], names
    made.entities = gemmi.EntityList([entity])
    model.add_chain(chain)
    made.add_model(model)
    return made

"""What a user asks a network of proteins for: checked, predicted with recycling, and the best of several seeds."""

import dataclasses
import math
from typing import Any

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.data.checks import check_count
from kzoo.data.proteins import alignments, msa_features, structure_files, templates
from kzoo.generation import recycling
from kzoo.tasks.protein_structure import confidence, memory_needs

CLUSTERS = 512  # rows of an alignment as centres, less those of templates where there can be some
EXTRA, MORE_EXTRA = 1024, 5120
OF_MORE = ("alphafold_1", "alphafold_3", "alphafold_4")  # and with _ptm: DeepMind's `max_extra_msa`


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A chain as a network sees it.

    Attributes:
        structure: a `kzoo.data.proteins.structure_files.Structure`, whose `confidence` is pLDDT.
        aligned_errors: the expected error in angstroms of residue j in the frame of residue i, float32 (residues,
            residues), or None for a network that does not say.
        predicted_tm: the expected TM-score, or None.
        num_recycles: how often the network read what it had found.
        seed: of the rows of the alignment and the letters that were hidden.
        notes: what a user should know.
    """

    structure: structure_files.Structure
    aligned_errors: np.ndarray | None
    predicted_tm: float | None
    num_recycles: int
    seed: int
    notes: tuple = ()

    @property
    def plddt(self) -> float:
        """The mean over residues, 0 to 100."""
        return float(self.structure.confidence.mean())


@dataclasses.dataclass(frozen=True)
class How:
    """How chains are folded; see `docs/proteins.md`.

    Args:
        msa: paths of alignments, `.a3m` or `.sto`, whose first row is the chain.
        template: paths of structures of relatives, `.cif` or `.pdb`; `relative.cif:B` is chain B.
        recycles: how often the network reads what it found, at most.
        tolerance: an earlier end, where distances between C-alphas change less, in angstroms; 0 for none.
        seeds: how many seeds are tried, from `seed` on; the prediction with the highest mean pLDDT is kept.
        sequence: the name of the one sequence of a file that is meant.
        output: the file to write, `.cif` or `.pdb`, or a folder for several.
        progress: a function of the iterations done, of all, and of how much the last one moved, or None.
    """

    msa: tuple = ()
    template: tuple = ()
    recycles: int = recycling.RECYCLES
    tolerance: float = 0.0
    seed: int = 0
    seeds: int = 1
    sequence: str | None = None
    output: str | None = None
    progress: Any = None

    def __post_init__(self):
        check_count("recycles", self.recycles, minimum=0)
        check_count("seed", self.seed, minimum=0)
        check_count("seeds", self.seeds)
        if isinstance(self.tolerance, bool) or not isinstance(self.tolerance, int | float) or not (
            math.isfinite(self.tolerance) and self.tolerance >= 0
        ):  # fmt: skip
            raise ValueError(f"tolerance must be a number of angstroms from 0 up, got {self.tolerance!r}")


def fold(model, protein, how=None) -> Prediction:
    """The structure of a chain, a `protein_sequences.Protein`; the best of `how.seeds` by mean pLDDT.

    Raises ValueError for an alignment or template that does not fit, and where memory will not do.
    """
    how = how or How()
    check_network(model)
    rows = alignments.read(how.msa, protein) if how.msa else alignments.of_query(protein)
    known, notes = _templates(model, protein, how.template)
    clusters, extra = _sizes(model)
    used = min(len(rows.rows), clusters), max(1, min(len(rows.rows) - clusters, extra))
    memory_needs.check(model, len(protein.sequence), *used)
    best = None
    for seed in range(how.seed, how.seed + how.seeds):
        found = _once(model, protein, rows, known, clusters, extra, how, seed)
        best = found if best is None or found.plddt > best.plddt else best
    return dataclasses.replace(best, notes=(*protein.notes, *rows.notes, *notes))


def check_network(model) -> None:
    """ValueError for a model that takes other inputs than a network of one iteration does."""
    missing = {*recycling.PREVIOUS, "aatype", "msa_feat"} - {*columns.inputs_of(model)}
    if missing:
        told = ", ".join(sorted(missing))
        raise ValueError(f"{model.name} lacks the inputs {told}; wanted a network such as alphafold")


def _sizes(model):
    name = card_of(model).name or ""
    clusters = CLUSTERS - (templates.MOST if "template_mask" in columns.inputs_of(model) else 0)
    return clusters, MORE_EXTRA if name.removesuffix("_ptm") in OF_MORE else EXTRA


def _templates(model, protein, paths):
    if "template_mask" not in columns.inputs_of(model):
        if paths:
            raise ValueError(f"template: {model.name} reads no templates; alphafold_1, alphafold_2 and their _ptm do")
        return {}, ()
    if len(paths) > templates.MOST:
        raise ValueError(f"template: {len(paths)} were given, and networks were trained with {templates.MOST} at most")
    found, notes = [], []
    for path in paths:
        file, _, chain = str(path).partition(":")
        structure = structure_files.read(file, chain or None)
        places = templates.aligned(protein, structure)
        pairs = [(protein.sequence[i], structure.sequence[j]) for i, j in enumerate(places) if j >= 0]
        same = sum(one == other for one, other in pairs)
        notes.append(f"{path}: {len(pairs)} residues stand for those of {protein.name}, {same} of them the same")
        found.append((structure, places))
    return templates.features(protein, found), tuple(notes)


def _once(model, protein, rows, known, clusters, extra, how, seed):
    ids = protein.ids
    places = np.arange(len(ids), dtype=np.int32)

    def features(index):
        random = msa_features.generator(seed, index)
        given = {**msa_features.of_chain(ids, places, rows, random, clusters, extra), **known}
        return {tensor.name: given[tensor.name][None] for tensor in model.inputs if tensor.name in given}

    is_open = len(ids) < recycling.LONG
    outputs, recycles = recycling.recycled(model, features, how.recycles, how.tolerance, how.progress, is_open)
    return dataclasses.replace(read(outputs, protein), num_recycles=recycles, seed=seed)


def read(outputs, protein) -> Prediction:
    """The `Prediction` that outputs of one chain stand for."""
    wanted = "final_atom_positions", "final_atom_mask", "predicted_lddt", "predicted_aligned_error"
    found = {name: np.asarray(outputs[name][0], np.float32) for name in wanted if name in outputs}
    positions, logits = found["final_atom_positions"], found.get("predicted_aligned_error")
    if not np.isfinite(positions).all():
        raise ValueError(f"{protein.name}: the network found no positions (NaN); its weights may not be meant for it")
    structure = structure_files.Structure(
        protein.name, protein.sequence, positions, found["final_atom_mask"],
        np.arange(len(protein.sequence), dtype=np.int32), confidence=confidence.plddt(found["predicted_lddt"]),
    )  # fmt: skip
    if logits is None:
        return Prediction(structure, None, None, 0, 0)
    return Prediction(structure, confidence.aligned_errors(logits), confidence.predicted_tm(logits), 0, 0)

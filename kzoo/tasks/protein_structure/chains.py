"""Chains with known structures as batches: crops of their features, and where their atoms are."""

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset
from kzoo.data.proteins import alignments, msa_features, protein_sequences, structure_files, templates
from kzoo.data.proteins.structure_files import Structure
from kzoo.data.sources import table_files
from kzoo.data.splits import Split
from kzoo.generation.recycling import RECYCLES
from kzoo.layers.residues import ATOM37

CROP = 64  # residues of a training example, where none are asked for
MOST = 384  # residues of an example that is not for training
CLUSTERS, EXTRA = 32, 64  # rows of an alignment in training
CLAMPED = 0.9  # share of the examples whose errors count only so far, section 1.11.5
BACKBONE = [ATOM37.index(name) for name in ("N", "CA", "C", "O")]
NEEDED = {"sequence", "coords", "mask", "residue_index"}
SHARP = 0.1, 3.0  # angstroms of resolution; NMR has none
# an ideal C-beta by the cross product of N to C-alpha and C-alpha to C, and by both
_IDEAL = (-0.58273431, 0.56802827, -0.54067466)
# what is learned of a batch: dtype and shape without the batch
LEARNED = {
    "positions": ("float32", (None, 37, 3)), "mask": ("float32", (None, 37)), "pseudo_beta": ("float32", (None, 3)),
    "pseudo_beta_mask": ("float32", (None,)), "true_msa": ("int32", (None, None)),
    "bert_mask": ("float32", (None, None)),
    "clamped": ("float32", ()),  # whether errors count only so far
    "sharp": ("float32", ()),  # whether an experiment is good enough to learn from which atoms it saw
    "judged": ("float32", ()),  # whether it is good enough to learn how right a prediction is
}  # fmt: skip


class KnownStructure(columns.Values):
    """Where atoms are, by the names of LEARNED; it follows from files."""

    def __init__(self):
        super().__init__(3)

    def check(self, label, y, x) -> None:
        raise ValueError(f"{label}: structures are learned from files; name a folder of .cif or .pdb files")


def load(task, name, model, how) -> dataset.Data:
    """The `Data` of a folder of structures, or of a prepared data set of backbones."""
    if table_files.find(name) is not None:
        raise ValueError(f"{name}: structures are learned from a folder of .cif or .pdb files, not from a table")
    if pathlib.Path(name).is_dir():
        structures, aligned, notes = from_folder(name)
        parts = {"train": (structures, aligned)}
    else:
        builder = task.prepared(name, how)
        if not task.takes(builder):
            raise ValueError(
                f"data set {name!r} has the features {', '.join(builder.info.features)}; {model.name} learns from "
                f"{', '.join(sorted(NEEDED))}, or from a folder of .cif or .pdb files"
            )
        parts = {split: (from_tfds(builder, split), None) for split in builder.info.splits}
        notes = [f"{name}: backbones alone; C-beta is taken where it would be, side chains are not learned"]
    return of_parts(name, parts, model, how, notes)


def from_tfds(builder, split) -> list:
    """The `Structure`s of a prepared data set of backbones, with the features NEEDED."""
    found = []
    for row in builder.as_dataset(split=split).as_numpy_iterator():
        sequence, known = row["sequence"].decode(), row["mask"].astype(np.float32)
        positions, mask = np.zeros((len(sequence), 37, 3), np.float32), np.zeros((len(sequence), 37), np.float32)
        positions[:, BACKBONE], mask[:, BACKBONE] = row["coords"] * known[:, None, None], known[:, None]
        found.append(Structure(row["name"].decode(), sequence, positions, mask, row["residue_index"]))
    return found


def from_folder(folder) -> tuple:
    """All chains of the files of a folder, the alignment of each or None, and notes.

    The alignment of chain A of `1abc.cif` is `1abc_A.a3m` (or .sto), of a file with one chain `1abc.a3m` as well.
    """
    files = sorted(path for path in pathlib.Path(folder).iterdir() if path.suffix.lower() in structure_files.SUFFIXES)
    if not files:
        raise ValueError(f"{folder} has no structure; wanted files of {', '.join(structure_files.SUFFIXES)}")
    structures, aligned = [], []
    for file in files:
        chains = structure_files.every_chain(file)
        for chain in chains:
            names = [chain.name, *([file.stem] if len(chains) == 1 else [])]
            beside = [file.with_name(name + suffix) for name in names for suffix in alignments.SUFFIXES]
            path = next((path for path in beside if path.is_file()), None)
            protein = protein_sequences.make(chain.name, chain.sequence)
            aligned.append(alignments.read(path, protein) if path else None)
            structures.append(chain)
    with_rows, sharp = sum(each is not None for each in aligned), sum(map(is_sharp, structures))
    notes = [f"{folder}: {len(structures):,} chains of {len(files):,} files, {with_rows:,} of them with an alignment"]
    if sharp < len(structures):
        notes.append(
            f"{len(structures) - sharp:,} have no resolution from {SHARP[0]} to {SHARP[1]} angstroms: confidence "
            "is not learned from them"
        )
    return structures, aligned, notes


def helix(length, name="helix", sequence=None) -> Structure:
    """The backbone of an ideal alpha helix: 3.6 residues a turn, 1.5 angstroms each along it."""
    # radius, angle and height of N, CA, C and O against those of CA
    radii, turns, heights = (1.55, 2.28, 1.68, 2.0), (-0.49, 0.0, 0.46, 0.4), (-0.9, 0.0, 1.1, 2.3)
    angle = np.deg2rad(100) * np.arange(length)[:, None] + np.array(turns)
    height = 1.5 * np.arange(length)[:, None] + np.array(heights)
    points = np.stack([radii * np.cos(angle), radii * np.sin(angle), height], axis=-1)
    positions, mask = np.zeros((length, 37, 3), np.float32), np.zeros((length, 37), np.float32)
    positions[:, BACKBONE], mask[:, BACKBONE] = points, 1
    return Structure(name, sequence or "A" * length, positions, mask, np.arange(length, dtype=np.int32))


def synthetic(name, model, sizes, how) -> dataset.Data:
    """Helices of random letters, for tests and benchmarks."""
    parts = {}
    for index, (split, size) in enumerate(sizes.items()):
        random = np.random.default_rng(index)
        letters = np.array([*protein_sequences.KNOWN])
        made = ["".join(random.choice(letters, random.integers(16, 33))) for _ in range(size)]
        parts[split] = [helix(len(each), f"{split}_{place}", each) for place, each in enumerate(made)], None
    return of_parts(name, parts, model, how)


def random_targets(x, random) -> dict:
    """What is learned, for inputs of a network: a helix, and random letters."""
    batch, rows, length = x["msa_feat"].shape[:3]
    structure = helix(length)
    points, known = pseudo_beta(structure)
    found = {"positions": structure.positions, "mask": structure.mask, "pseudo_beta": points, "pseudo_beta_mask": known}
    found = {name: np.stack([values] * batch) for name, values in found.items()}
    flags = {name: np.ones(batch, np.float32) for name in ("clamped", "sharp", "judged")}
    letters = random.integers(0, 20, (batch, rows, length), dtype=np.int32)
    return {**found, "true_msa": letters, "bert_mask": np.ones(letters.shape, np.float32), **flags}


def of_parts(name, parts, model, how, notes=()) -> dataset.Data:
    """The `Data` of `{split: (structures, alignments or None)}`."""
    options = how.options
    if options.augment:
        raise ValueError(f"augment={options.asked!r}: chains are cut at random anyway; leave it out")
    crop = how.texts.max_length or CROP
    rows = {split: (np.arange(len(structures), dtype=np.int32),) for split, (structures, _) in parts.items()}
    notes = [*notes, *dataset.carve(name, rows, [[each.sequence for each in parts["train"][0]]], options)]
    splits = {}
    for split, part in rows.items():
        structures, aligned = parts.get(split, parts["train"])
        dataset.check_examples(f"{name} {split}", part, part)
        draw = {"draw": Crops.draw} if split == "train" else {}
        splits[split] = Split(part, Crops(model, structures, aligned, crop), **{**options.of_split(split), **draw})
        lengths = [len(structures[place].sequence) for place in part[0]]
        notes.append(f"{name}: {split} {len(lengths):,} chains, {sum(lengths):,} residues")
    everything = [each for structures, _ in parts.values() for each in structures]
    letters = np.frombuffer("".join(each.sequence for each in everything).encode(), np.uint8)
    content = dataset.digest_of([letters, *(each.positions for each in everything)])
    identity = {"name": name, "content": content, "crop": crop}
    return dataset.make_data(name, identity, splits, options, None, notes=notes)


def is_sharp(structure) -> bool:
    """Whether confidence is learned from a structure, section 1.9.6."""
    return SHARP[0] <= structure.resolution <= SHARP[1]


def is_bare(structure) -> bool:
    """Whether there is no side chain at all, as in data sets of backbones."""
    return not structure.mask[:, ATOM37.index("CB")].any()


def pseudo_beta(structure) -> tuple:
    """C-beta of each residue, C-alpha of glycine, and where it is known; of a bare backbone where it would be."""
    n, ca, c = (structure.positions[:, ATOM37.index(name)] for name in ("N", "CA", "C"))
    beta = ATOM37.index("CB")
    points, known = structure.positions[:, beta].copy(), structure.mask[:, beta].copy()
    if is_bare(structure):
        one, other = ca - n, c - ca
        points = _IDEAL[0] * np.cross(one, other) + _IDEAL[1] * one + _IDEAL[2] * other + ca
        known = structure.mask[:, [ATOM37.index(name) for name in ("N", "CA", "C")]].min(axis=1)
    glycine = np.array([letter == "G" for letter in structure.sequence])
    points[glycine], known[glycine] = ca[glycine], structure.mask[glycine, ATOM37.index("CA")]
    return (points * known[:, None]).astype(np.float32), known.astype(np.float32)


class Crops:
    """From the numbers of chains to `(x, y)`: features of a piece of each, and where its atoms are.

    In training a piece of `crop` residues begins anywhere; elsewhere whole chains, up to MOST residues, are padded to
    the longest. Everything that is drawn follows from seed, epoch and example. `num_recycles`, the same for a whole
    batch, is any number up to RECYCLES in training (section 1.10), and RECYCLES elsewhere.
    """

    def __init__(self, model, structures, aligned, crop):
        self.structures, self.crop = structures, crop
        self.proteins = [protein_sequences.make(each.name, each.sequence) for each in structures]
        aligned = aligned or [None] * len(structures)
        self.aligned = [rows or alignments.of_query(each) for rows, each in zip(aligned, self.proteins, strict=True)]
        most = max(len(each.rows) for each in self.aligned)
        self.clusters, self.extra = min(most, CLUSTERS), min(max(most - CLUSTERS, 1), EXTRA)
        wanted = {tensor.name: (tensor.dtype, tensor.shape[1:]) for tensor in model.inputs}
        self.read = {name: spec for name, spec in wanted.items() if not name.startswith("prev_")}
        self.read["num_recycles"] = ("int32", ())

    @staticmethod
    def draw(key, count) -> Any:
        """Two numbers for each example of an epoch."""
        return tf.random.stateless_uniform([count, 2], key, 0, 2**31 - 1, tf.int32)

    def __call__(self, rows, random) -> tuple:
        (places,), training = rows, random is not None
        seeds = random if training else tf.stack([places, tf.zeros_like(places)], axis=1)
        specs = [*self.read.values(), *LEARNED.values()]
        flat = tf.numpy_function(self.batch, [places, seeds, training], [tf.as_dtype(dtype) for dtype, _ in specs])
        for tensor, (_, shape) in zip(flat, specs, strict=True):
            tensor.set_shape([None, *shape])
        x, y = flat[: len(self.read)], flat[len(self.read) :]
        return dict(zip(self.read, x, strict=True)), dict(zip(LEARNED, y, strict=True))

    def batch(self, places, seeds, training) -> list:
        """The arrays of a batch in the order of its names."""
        examples = [self.example(place, seed, training) for place, seed in zip(places, seeds, strict=True)]
        longest = self.crop if training else max(len(each["aatype"]) for each in examples)
        rows = {"msa": self.clusters, "true": self.clusters, "bert": self.clusters, "extra": self.extra}
        padded = [msa_features.padded(each, longest, rows) for each in examples]
        recycles = np.int32(seeds[0, 1] % (RECYCLES + 1) if training else RECYCLES)
        padded = [{**each, "num_recycles": recycles} for each in padded]
        specs = {**self.read, **LEARNED}
        return [np.stack([each[name] for each in padded]).astype(dtype) for name, (dtype, _) in specs.items()]

    def example(self, place, seed, training) -> dict:
        """The features of one chain and its atoms, not padded yet."""
        structure, protein = self.structures[place], self.proteins[place]
        random = msa_features.generator(*seed)
        length = min(len(protein.sequence), self.crop if training else MOST)
        start = int(random.integers(0, len(protein.sequence) - length + 1)) if training else 0
        found = msa_features.of_chain(
            protein.ids, structure.residue_index, self.aligned[place], random, self.clusters, self.extra
        )
        if "template_mask" in self.read:
            found |= templates.features(protein, [])
        points, known = pseudo_beta(structure)
        found |= {
            "positions": structure.positions, "mask": structure.mask, "pseudo_beta": points, "pseudo_beta_mask": known,
        }  # fmt: skip
        found = msa_features.cut(found, start, length)
        sharp, clamped = is_sharp(structure), not training or random.random() < CLAMPED
        flags = {"clamped": clamped, "sharp": sharp, "judged": sharp or is_bare(structure)}
        return {**found, **{name: np.float32(flag) for name, flag in flags.items()}}

"""What every data set becomes: options checked, examples set aside, splits put together."""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf

from kzoo.catalog.preprocessing import Preprocessing
from kzoo.data import checks
from kzoo.data.augmentation import RECIPES, Augmentation
from kzoo.data.genomes.strands import LetterAugmentation
from kzoo.data.sounds.sound_augmentation import SoundAugmentation
from kzoo.data.splits import Split
from kzoo.data.tokenizing.tokenizers import Tokenizer
from kzoo.support.suggest import did_you_mean


@dataclasses.dataclass(repr=False)
class Data:
    """A data set fitted to a model.

    Args:
        name: as it was asked for.
        train, validation, test: each a `Split`; None where there is none.
        class_names: names of the labels, or None.
        tokenizer: the `Tokenizer` of a text data set, or None.
        fingerprint: a JSON-able dict of everything that batches depend on; equal fingerprints give equal batches.
        notes: lines a user should read, such as how many texts were cut.
        preprocessing: how images were turned into the model's input.
        augment: as it was asked for: False, True or a recipe's name; True for an `Augmentation`.
        characters_per_token: of every split of a language model's texts, by its name; None for other data.
        objects: of every split of a detector's images, by its name: ragged float32 (examples, None, 5) with left, top,
            right, bottom as fractions of the image, and the class; None for other data.
        sample_rate: of sounds, in Hz; None for other data.
        trims_silence: whether silence was cut from both ends of them.
        id_limits: the number of ids that each input of token ids may hold, by its name.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split | None
    class_names: list | None
    tokenizer: Tokenizer | None
    fingerprint: dict
    notes: list
    preprocessing: Preprocessing = Preprocessing()
    augment: bool | str = False
    characters_per_token: dict | None = None
    objects: dict | None = None
    sample_rate: int | None = None
    trims_silence: bool = False
    id_limits: dict = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        sizes = ", ".join(f"{name} {part.num_examples:,}" for name, part in parts.items() if part is not None)
        classes = f"; {len(self.class_names)} classes" if self.class_names else ""
        return f"<kzoo data {self.name}: {sizes}{classes}>"


@dataclasses.dataclass
class Options:
    """How splits are made; see `load`."""

    batch_size: int = 64
    seed: int = 0
    augment: bool | str | Augmentation = False
    validation_fraction: float = 0.1
    num_examples: int | None = None
    preprocessing: Preprocessing = Preprocessing()
    drop_remainder: bool = False

    def __post_init__(self):
        self.batch_size = checks.check_count("batch_size", self.batch_size)
        self.seed = checks.check_count("seed", self.seed, minimum=0)
        if self.num_examples is not None:
            self.num_examples = checks.check_count("num_examples", self.num_examples)
        fraction = self.validation_fraction
        if not isinstance(fraction, int | float) or not 0 <= fraction < 1:
            raise ValueError(f"validation_fraction must be from 0 up to but not including 1, got {fraction!r}")
        self.asked = self.augment if isinstance(self.augment, str) else bool(self.augment)
        if isinstance(self.augment, str):
            if self.augment not in RECIPES:
                hint = f"augment must be True, False, a kzoo.data.Augmentation or one of {', '.join(RECIPES)}"
                raise ValueError(f"{did_you_mean('augmentation', self.augment, RECIPES)} {hint}")
            self.augment = RECIPES[self.augment]
        self.augment = Augmentation() if self.augment is True else self.augment or False
        if self.augment and not isinstance(self.augment, Augmentation | SoundAugmentation | LetterAugmentation):
            raise ValueError(f"augment must be True, False, a recipe's name or an Augmentation, got {self.augment!r}")
        if not isinstance(self.preprocessing, Preprocessing):
            raise TypeError(f"preprocessing must be a kzoo.Preprocessing, got {self.preprocessing!r}")

    def require(self, kind) -> None:
        """ValueError for random changes that are for another kind of input than the augmentation `kind` changes."""
        if self.augment and not isinstance(self.augment, kind):
            usual = [name for name, recipe in RECIPES.items() if isinstance(recipe, kind)]
            raise ValueError(
                f"augment is {self.asked!r}, a {type(self.augment).__name__}, which does not change such inputs; "
                f"wanted one of {', '.join(usual)}"
            )

    def of_split(self, split, draw=None) -> dict:
        """The keywords of a `Split`: only training is shuffled, changed at random by `draw`, and may drop its end."""
        train = split == "train"
        how = {"shuffle": train, "draw": draw if train else None, "drop_remainder": train and self.drop_remainder}
        return {"batch_size": self.batch_size, "seed": self.seed if train else 0, **how}


@dataclasses.dataclass
class How:
    """All choices of one `kzoo.data.load`: how splits are made, how texts become tokens, and where the data is."""

    options: Options
    texts: object
    data_dir: str | None = None
    manual_dir: str | None = None
    download: bool = False
    skip_bad: bool = False
    columns: str | list | None = None
    trim: bool = False


def carve(name, rows, keys, options, split="validation") -> list:
    """Sets examples of a split aside where there are none, then keeps `num_examples` of train; changes `rows`.

    The split takes the examples whose content (`keys`: arrays) has the lowest hashes: the choice depends on neither
    seed, order nor model, and equal examples never fall on both sides. Returns notes for the user.
    """
    notes = []

    def take(which):
        return tf.nest.map_structure(lambda array: array[which], rows["train"])

    if split not in rows and options.validation_fraction:
        order = np.array([_hash(*example) for example in zip(*keys, strict=True)], np.uint64)
        count = round(options.validation_fraction * len(order))
        aside = order < np.partition(order, count)[count] if 0 < count < len(order) else np.zeros(0, bool)
        if aside.any():
            rows[split], rows["train"] = take(aside), take(~aside)
            notes.append(f"{name}: {aside.sum():,} training examples were set aside for {split}")
    total = len(tf.nest.flatten(rows["train"])[0])
    wanted = _limit(options, total)
    if wanted < total:
        rows["train"] = take(np.sort(np.random.RandomState(0).permutation(total)[:wanted]))
    return notes


def _hash(*values):
    digest = hashlib.blake2b(digest_size=8)
    for value in values:
        digest.update(value.encode() if isinstance(value, str) else value.tobytes())
    return int.from_bytes(digest.digest(), "big")


def carve_ranges(sizes, options) -> dict:
    """`carve` for splits on disk, where their order is random: `{split: (TFDS instruction, number of examples)}`."""
    total, ranges = sizes["train"], {split: (split, size) for split, size in sizes.items()}
    aside = 0 if "validation" in sizes else round(options.validation_fraction * total)
    if aside:
        ranges["validation"] = (f"train[:{aside}]", aside)
    wanted = _limit(options, total - aside)
    ranges["train"] = (f"train[{aside}:{aside + wanted}]", wanted)
    return ranges


def _limit(options, total):
    if options.num_examples is not None and options.num_examples > total:
        raise ValueError(f"num_examples is {options.num_examples:,}, but there are {total:,} training examples")
    return options.num_examples or total


def make_splits(rows, finish, options, draw=None, lengths=None) -> dict:
    """`{split: Split}` of in-memory rows; training batches get examples of similar `lengths` where those are given."""
    return {
        split: Split(arrays, finish, **options.of_split(split, draw), lengths=lengths if split == "train" else None)
        for split, arrays in rows.items()
    }


def check_examples(label, inputs, labels) -> None:
    """ValueError unless there is at least one example, and every array of inputs and labels has as many."""
    lengths = {len(array) for array in tf.nest.flatten((inputs, labels))}
    if len(lengths) > 1:
        raise ValueError(f"{label}: inputs and labels have different numbers of examples: {sorted(lengths)}")
    if lengths == {0}:
        raise ValueError(f"{label}: no {'training ' if label.endswith('train') else ''}examples")


def ragged(rows) -> tf.RaggedTensor:
    """Arrays of one dtype, each with any length along its first axis, as one tensor."""
    return tf.RaggedTensor.from_row_lengths(np.concatenate([*rows]), np.array([len(row) for row in rows], np.int64))


def digest_of(arrays) -> str:
    """A short hash of the bytes of arrays, taken in order."""
    digest = hashlib.blake2b(digest_size=8)
    for array in tf.nest.flatten(arrays):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def make_data(name, identity, splits, options, class_names, tokenizer=None, notes=()) -> Data:
    """The `Data` of finished splits, with its fingerprint and a note about every split that is missing."""
    sizes = {split: part.num_examples for split, part in splits.items()}
    notes = [*notes, *(f"{name} has no {split} split" for split in ("validation", "test") if split not in splits)]
    parts = [splits.get(split) for split in ("train", "validation", "test")]
    fingerprint = {**identity, "sizes": sizes, **dataclasses.asdict(options)}
    return Data(name, *parts, class_names, tokenizer, fingerprint, notes, options.preprocessing, options.asked)

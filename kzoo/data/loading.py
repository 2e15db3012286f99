"""From a name or arrays to training, validation and test batches in a model's input structure."""

import dataclasses
import functools
import hashlib
import math

import numpy as np
import tensorflow as tf

from kzoo.data import checks, effects, folders, images, sources, synthetic, text
from kzoo.data.augmentation import RECIPES, Augmentation
from kzoo.data.splits import Split, StreamedSplit
from kzoo.data.tokenizers import Tokenizer
from kzoo.preprocessing import Preprocessing
from kzoo.suggest import did_you_mean

MEMORY_LIMIT = 1 << 30  # bytes a split may take in memory before it is streamed
RESERVE = 1.5  # how much larger than the input photos of a folder are kept for random crops
BLOCK_BYTES = 1 << 28  # bytes of a block within which a streamed split is shuffled
SYNTHETIC_SIZES = {"train": 1024, "validation": 128, "test": 128}


@dataclasses.dataclass
class Data:
    """A data set fitted to a model.

    Args:
        name: as it was asked for.
        train, validation, test: each a `Split`; None where there is none.
        class_names: names of the labels, or None.
        tokenizer: the `Tokenizer` of a text data set, or None.
        fingerprint: JSON-able dict of all that batches depend on; equal fingerprints give equal batches.
        notes: lines a user should read, such as how many texts were cut.
        preprocessing: how images became the model's input.
        augment: as it was asked for: False, True or a recipe's name; True for an `Augmentation`.
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
        if not isinstance(self.validation_fraction, int | float) or not 0 <= self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction must be from 0 up to but not including 1, got {self.validation_fraction!r}"
            )
        self.asked = self.augment if isinstance(self.augment, str) else bool(self.augment)
        if isinstance(self.augment, str):
            if self.augment not in RECIPES:
                hint = f"augment must be True, False, a kzoo.data.Augmentation or one of {', '.join(RECIPES)}"
                raise ValueError(f"{did_you_mean('augmentation', self.augment, RECIPES)} {hint}")
            self.augment = RECIPES[self.augment]
        if self.augment is True:
            self.augment = Augmentation()
        if self.augment and not isinstance(self.augment, Augmentation):
            raise ValueError(f"augment must be True, False, a recipe's name or an Augmentation, got {self.augment!r}")
        if not isinstance(self.preprocessing, Preprocessing):
            raise TypeError(f"preprocessing must be a kzoo.Preprocessing, got {self.preprocessing!r}")

    def fingerprint(self):
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["augment"] = dataclasses.asdict(self.augment) if self.augment else False
        fields["preprocessing"] = dataclasses.asdict(self.preprocessing)
        return fields


def load(
    name, model, batch_size=64, seed=0, augment=False, data_dir=None, manual_dir=None, validation_fraction=0.1,
    tokenizer=None, download=False, num_examples=None, preprocessing=None, max_length=128, drop_remainder=False,
    skip_bad=False,
):  # fmt: skip
    """Loads a data set by name, fitted to a model.

    Images up to 1 GB live in memory; larger sets are streamed and shuffled in blocks. Order and augmentation depend on
    (seed, epoch, example) only. Images are float32 in [0, 1]; labels are int32 (batch,), or float32 (batch, 1) for
    binary classification.

    Args:
        name: `digits`, `digits/zero_one`, `reverse_digits`, `synthetic`, or any data set of tensorflow-datasets that is
            prepared, can be prepared from `manual_dir`, or may be downloaded; or a folder of class folders of images
            (`folders`). Translation takes a pair of texts.
        model: a Keras model with the attribute `kzoo`; its inputs and outputs say what is wanted.
        augment: a name of `kzoo.data.RECIPES` or an `Augmentation` changes training images at random; True is "digits".
        data_dir: folder of prepared data; `TFDS_DATA_DIR`, else `~/tensorflow_datasets` by default.
        manual_dir: folder with the files as their authors publish them.
        validation_fraction: how much of train becomes validation if the data set has none; the choice depends on the
            examples only, and equal examples stay together.
        tokenizer: a `Tokenizer`, a path, or the kind to train on the training texts: characters, words or subwords.
        num_examples: train on so many examples only.
        preprocessing: how images become the input, a `kzoo.Preprocessing`; the model's own by default.
        max_length: tokens a text is cut to; how many were cut is in `notes`.
        drop_remainder: leave out a last training batch that is not full.
        skip_bad: leave out the files of a folder that are no images; `notes` counts and names them.

    Raises ValueError that names what was passed, what is wanted and the fix.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name must be a data set's name, got {name!r}; for arrays there is kzoo.data.from_arrays")
    options = Options(
        batch_size,
        seed,
        augment,
        validation_fraction,
        num_examples,
        _preprocessing(model, preprocessing),
        drop_remainder,
    )
    translation = checks.task(model) == "translation"
    if name == "synthetic":
        batches = {
            split: synthetic.synthetic_batch(model, size, seed=index)
            for index, (split, size) in enumerate(SYNTHETIC_SIZES.items())
        }
        return _from_parts(name, {"name": name}, batches, model, options)
    if name == "reverse_digits":
        if not translation:
            raise ValueError(f"data set 'reverse_digits' is for translation; {model.name} is for {checks.task(model)}")
        pairs = text.reverse_digits()
        return _from_pairs(name, {"name": name}, pairs, model, options, tokenizer or "characters", max_length)
    folder = folders.find(name)
    if folder is not None:
        return _from_folder(name, folder, model, options, skip_bad)
    if skip_bad:
        raise ValueError(f"skip_bad (--skip-bad) is for folders of images, and {name!r} is none")
    builder = sources.find(name, data_dir, manual_dir, download)
    sizes, pair = sources.sizes(builder), sources.pair(builder)
    identity = {"name": name, "version": str(builder.info.version)}
    is_text = [np.dtype(builder.info.features[key].np_dtype).kind in "OSU" for key in pair]
    if translation != all(is_text) or any(is_text) != all(is_text):
        what = ", ".join(f"{key} ({'text' if yes else 'no text'})" for key, yes in zip(pair, is_text, strict=True))
        raise ValueError(f"data set {name!r} is a pair of {what}; {model.name} is for {checks.task(model)}")
    if translation:
        pairs = {split: sources.read_texts(builder, split) for split in sizes}
        return _from_pairs(name, identity, pairs, model, options, tokenizer, max_length)
    return _from_images(name, identity, builder, sizes, model, options)


def from_arrays(x, y, model, validation=None, test=None, class_names=None, name="arrays", **options):
    """The same as `load` for NumPy arrays: `x` (examples, ...), `y` class indices (examples,).

    uint8 images of any size are fitted to the model and divided by 255; other numbers must have the input's shape. A
    model with several inputs takes a dict of arrays; for translation `y` is (examples, length) token ids.

    Args:
        validation, test: pairs (x, y), or None; without `validation`, a part of the training examples is set aside.
        **options: batch_size, seed, augment, validation_fraction, num_examples, preprocessing and drop_remainder of
            `load`.
    """
    known = [field.name for field in dataclasses.fields(Options)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"from_arrays: unknown keyword {', '.join(unknown)}; known: {', '.join(known)}")
    parts = {"train": (x, y, None)}
    for split, pair in (("validation", validation), ("test", test)):
        if pair is not None:
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise ValueError(f"{split} must be a pair (x, y), got {type(pair).__name__}")
            parts[split] = (*pair, None)
    options["preprocessing"] = _preprocessing(model, options.get("preprocessing"))
    return _from_parts(name, {"name": name}, parts, model, Options(**options), class_names)


def _from_images(name, identity, builder, sizes, model, options):
    """Images of TFDS, in memory if they are small enough there as they are or fitted, else streamed."""
    image_key, label_key = sources.pair(builder)
    feature, label = builder.info.features[image_key], builder.info.features[label_key]
    wanted = _only_input(name, model)
    if len(feature.shape) != 3:
        raise ValueError(f"data set {name!r}: {image_key!r} has shape {feature.shape}; {model.name} takes images here")
    shape = images.image_shape(feature.shape, wanted)
    if None in shape:
        raise ValueError(
            f"data set {name!r} has images of different sizes and {model.name} takes any: build it with an input_shape"
        )
    class_names = getattr(label, "names", None)
    identity["class_names"] = class_names

    def fit(image, label):
        return images.resize(image, shape, options.preprocessing), label

    if None not in feature.shape:
        num_bytes = math.prod(feature.shape) * np.dtype(feature.np_dtype).itemsize
        if num_bytes * max(sizes.values()) <= MEMORY_LIMIT:
            parts = {split: (*sources.read_arrays(builder, split, size), None) for split, size in sizes.items()}
            return _from_parts(name, identity, parts, model, options, class_names)
    ranges = _carve_ranges(sizes, options)
    num_bytes = 4 * math.prod(shape[:2]) * min(shape[2], feature.shape[2])
    if num_bytes * max(sizes.values()) <= MEMORY_LIMIT:
        parts = {split: (*sources.read_arrays(builder, *part, fit), None) for split, part in ranges.items()}
        return _from_parts(name, identity, parts, model, options, class_names, fitted=True)
    splits = {}
    for split, (instruction, size) in ranges.items():
        train = split == "train"
        splits[split] = StreamedSplit(
            functools.partial(sources.stream, builder, instruction, fit), size,
            max(BLOCK_BYTES // num_bytes, options.batch_size), _image_finish(model, wanted, None, options, shape[:2]),
            options.batch_size, options.seed, train, _draw(options, shape, shape) if train else None,
            train and options.drop_remainder,
        )  # fmt: skip
    _check_first_batch(splits["train"], checks.num_classes(model))
    return _data(name, identity, splits, options, class_names)


def _from_folder(name, root, model, options, skip_bad):
    """The images of a folder of class folders, in memory if they are small enough there, else read by batch."""
    wanted = _only_input(name, model)
    class_names, parts = folders.survey(root)
    classes = checks.num_classes(model)
    if classes != len(class_names):
        count, listed = len(class_names), ", ".join(class_names[:5])
        raise ValueError(
            f"{root} holds {count} classes ({listed}{', ...' * (count > 5)}), but the model's output tells {classes} "
            f"apart; build it with num_classes={count} (--set num_classes={count})"
        )
    shape = images.image_shape((None, None, 3), wanted) if len(wanted) > 1 else (None,)
    if None in shape:
        raise ValueError(
            f"{root} may hold images of any size, and the input {wanted} of {model.name} says none: build it with an "
            "input_shape of height, width and channels"
        )
    count = max(map(len, parts.values()))
    # A crop is taken from more pixels than the input has, so that it loses less when it is made as large.
    larger = tuple(round(RESERVE * side) for side in shape[:2]) + shape[2:]
    larger = larger if options.augment and options.augment.crop else shape
    small = 4 * math.prod(larger) * count <= MEMORY_LIMIT

    def fit(split):
        fitted = larger if split == "train" else shape
        return functools.partial(folders.fit, shape=fitted, preprocessing=options.preprocessing)

    fits = fit if small else lambda split: None
    parts, digest, notes = folders.load(root, parts, options.validation_fraction, fits, skip_bad)
    identity = {"name": name, "content": digest, "class_names": class_names, "skip_bad": skip_bad}
    if small:
        rows = {split: (*part, None) for split, part in parts.items()}
        data = _from_parts(name, identity, rows, model, options, class_names, fitted=True)
        data.notes[:0] = notes
        return data
    notes += _carve(name, parts, [parts["train"][0]], dataclasses.replace(options, validation_fraction=0))
    splits = {}
    for split, part in parts.items():
        train = split == "train"
        finish = _image_finish(model, wanted, None, options, shape[:2])
        splits[split] = Split(
            part, folders.from_paths(fit(split), finish, larger if train else shape), options.batch_size,
            options.seed, train, _draw(options, shape, larger) if train else None, train and options.drop_remainder,
        )  # fmt: skip
    return _data(name, identity, splits, options, class_names, notes=notes)


def _only_input(name, model):
    wanted = checks.inputs(model)
    if len(wanted) != 1:
        raise ValueError(f"data set {name!r} has one input; {model.name} takes {', '.join(wanted)}")
    return next(iter(wanted.values()))[0]


def _check_first_batch(split, classes):
    x, y = split.examples(np.arange(min(split.batch_size, split.num_examples)))
    checks.check_finite("images of the first batch", x.numpy())
    checks.check_labels(y.numpy(), classes, "labels of the first batch")


def _from_parts(name, identity, parts, model, options, class_names=None, fitted=False):
    """In-memory splits from `{split: (x, y, weight or None)}`; `fitted` images have the model's size already."""
    if options.augment and not _are_images(parts["train"][0]):
        raise ValueError(f"augment moves images; data set {name!r} has none")
    rows = {split: _checked(f"{name} {split}", model, *part) for split, part in parts.items()}
    notes = _carve(name, rows, tf.nest.flatten(rows["train"][0]), options)
    finish = draw = None
    largest = max(len(tf.nest.flatten(x)[0]) for x, *_ in rows.values())
    for split, (x, *targets) in rows.items():
        x, finish, drawn = _fit_inputs(f"{name} {split}", model, x, options, fitted, largest)
        draw = drawn if split == "train" else draw
        rows[split] = (x, *targets)
    identity.setdefault("content", _digest(rows["train"]))
    return _data(name, identity, _splits(rows, finish, options, draw), options, class_names, notes=notes)


def _checked(label, model, x, y, weight):
    """The rows of a split whose targets the model can learn: as many targets as inputs, each in its output's range."""
    if isinstance(x, dict):
        x = {key: checks.check_array(f"{label} {key}", array) for key, array in x.items()}
    else:
        x = checks.check_array(label, x)
    if checks.task(model) == "translation":
        y = checks.check_array(f"{label} labels", y)
        y = checks.check_token_ids(f"{label} labels", y, checks.vocabulary_size(model))
    else:
        y = checks.check_labels(y, checks.num_classes(model), f"{label} labels")
    if checks.task(model) == "binary_classification":
        y = y.astype(np.float32)[:, None]
    lengths = {len(array) for array in (*tf.nest.flatten(x), y)}
    if len(lengths) > 1:
        raise ValueError(f"{label}: inputs and labels have different numbers of examples: {sorted(lengths)}")
    if lengths == {0}:
        raise ValueError(f"{label}: no {'training ' if label.endswith('train') else ''}examples")
    return (x, y) if weight is None else (x, y, weight)


def _are_images(x):
    return not isinstance(x, dict) and (np.ndim(x) == 4 or (np.ndim(x) == 3 and getattr(x, "dtype", None) == np.uint8))


def _fit_inputs(label, model, x, options, fitted, largest):
    """The inputs as they stay in memory, and the `finish` and `draw` of all splits, the largest of which decides."""
    if len(checks.inputs(model)) > 1 or not _are_images(x):
        x = checks.check_inputs(model, x) if np.size(x) or isinstance(x, dict) else np.asarray(x)
        return x, lambda rows, random: rows, None
    wanted = _only_input(label, model)
    x = checks.check_finite(label, checks.check_array(label, x))
    x = x[..., None] if x.ndim == 3 else x
    checks.check_scale(label, x)
    if len(wanted) == 3 and x.shape[-1] not in (1, 3):
        x = checks.check_inputs(model, x)  # says what is wrong, such as channels first
    shape = images.image_shape(x.shape[1:], wanted)
    if x.dtype.kind == "f":
        x = x.astype(np.float32)
    if not fitted and 4 * largest * math.prod(shape) <= MEMORY_LIMIT:
        pieces = [
            images.resize(tf.constant(x[i : i + 1024]), shape, options.preprocessing).numpy()
            for i in range(0, len(x), 1024)
        ]
        x, fitted = (np.concatenate(pieces) if pieces else x), True
    finish = _image_finish(model, wanted, None if fitted else shape, options, shape[:2])
    return x, finish, _draw(options, shape, x.shape[1:] if fitted else shape)


def _preprocessing(model, asked):
    """What the caller asks for, else what the model's weights were trained with, else the default."""
    return asked or getattr(model, "preprocessing", None) or Preprocessing()


def _draw(options, shape, source):
    """How an epoch's random numbers are drawn for images of shape `source` that become `shape`."""
    return functools.partial(options.augment.draw, size=shape[:2], source=source[:2]) if options.augment else None


def _image_finish(model, wanted, shape, options, size):
    """What happens to every batch; images that need no resizing come with `shape` None, and augmented become `size`."""
    binary, classes = checks.task(model) == "binary_classification", checks.num_classes(model)
    mixes = options.augment and options.augment.mixes
    if mixes and binary:
        raise ValueError(f"mixup and cutmix mix classes; {model.name} is for binary_classification, with one logit")

    def finish(rows, random):
        batch, labels = rows
        batch = images.to_float(images.resize(batch, shape, options.preprocessing) if shape else batch)
        labels = tf.cast(tf.reshape(labels, (-1, 1)), tf.float32) if binary else tf.cast(labels, tf.int32)
        if random is not None:
            batch = options.augment.apply(batch, random, size)
            if mixes:
                batch, labels = effects.mix(batch, tf.one_hot(labels, classes), random["mix"])
        return images.to_input(batch, wanted, options.preprocessing), labels

    return finish


def _from_pairs(name, identity, pairs, model, options, tokenizer, max_length):
    """Translation splits from `{split: (sources, targets)}`; the tokenizer learns from the training texts only."""
    if options.augment:
        raise ValueError(f"augment moves images; data set {name!r} is text")
    pairs = {split: tuple(np.array(side, dtype=object) for side in pair) for split, pair in pairs.items()}
    notes = _carve(name, pairs, [pairs["train"][0]], options)
    texts = [string for side in pairs["train"] for string in side]
    tokenizer = text.make_tokenizer(tokenizer, texts, checks.vocabulary_size(model))
    rows = {}
    for split, pair in pairs.items():
        rows[split], cut = text.encode_pairs(pair, tokenizer, max_length)
        notes.append(text.report_cut(f"{name} {split}", cut, len(pair[0]), max_length))
    splits = _splits(rows, text.teacher_forcing, options)
    identity |= {"max_length": max_length, "tokenizer": tokenizer.digest}
    identity["content"] = _digest([array for ragged in rows["train"] for array in (ragged.values, ragged.row_splits)])
    return _data(name, identity, splits, options, None, tokenizer, [note for note in notes if note])


def _carve(name, rows, keys, options):
    """Sets validation examples aside where there are none, then keeps `num_examples` of train; changes `rows`.

    Validation takes the examples whose content (`keys`: arrays) hashes lowest: the choice depends on neither seed,
    order nor model, and equal examples never fall on both sides. Returns lines that say so.
    """
    notes = []
    if "validation" not in rows and options.validation_fraction:
        order = np.array([_hash(*example) for example in zip(*keys, strict=True)], np.uint64)
        count = round(options.validation_fraction * len(order))
        if 0 < count < len(order):
            aside = order < np.partition(order, count)[count]
            train = rows["train"]
            if aside.any():
                rows["validation"] = tf.nest.map_structure(lambda array: array[aside], train)
                rows["train"] = tf.nest.map_structure(lambda array: array[~aside], train)
                notes.append(f"{name}: {aside.sum():,} training examples were set aside for validation")
    total = len(tf.nest.flatten(rows["train"])[0])
    wanted = _limit(options, total)
    if wanted < total:
        chosen = np.sort(np.random.RandomState(0).permutation(total)[:wanted])
        rows["train"] = tf.nest.map_structure(lambda array: array[chosen], rows["train"])
    return notes


def _hash(*values):
    digest = hashlib.blake2b(digest_size=8)
    for value in values:
        digest.update(value.encode() if isinstance(value, str) else value.tobytes())
    return int.from_bytes(digest.digest(), "big")


def _carve_ranges(sizes, options):
    """The same for streamed splits, whose order on disk is random: `{split: (TFDS instruction, examples)}`."""
    total = sizes["train"]
    ranges = {split: (split, size) for split, size in sizes.items()}
    aside = 0
    if "validation" not in sizes and options.validation_fraction:
        aside = round(options.validation_fraction * total)
        if aside:
            ranges["validation"] = (f"train[:{aside}]", aside)
    wanted = _limit(options, total - aside)
    ranges["train"] = (f"train[{aside}:{aside + wanted}]", wanted)
    return ranges


def _limit(options, total):
    if options.num_examples is not None and options.num_examples > total:
        raise ValueError(f"num_examples is {options.num_examples:,}, but there are {total:,} training examples")
    return options.num_examples or total


def _splits(rows, finish, options, draw=None):
    splits = {}
    for split, arrays in rows.items():
        train = split == "train"
        splits[split] = Split(
            arrays, finish, options.batch_size, options.seed, shuffle=train,
            draw=draw if train else None,
            drop_remainder=train and options.drop_remainder,
        )  # fmt: skip
    return splits


def _digest(arrays):
    digest = hashlib.blake2b(digest_size=8)
    for array in tf.nest.flatten(arrays):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _data(name, identity, splits, options, class_names, tokenizer=None, notes=()):
    sizes = {split: part.num_examples for split, part in splits.items()}
    notes = [*notes, *(f"{name} has no {split} split" for split in ("validation", "test") if split not in splits)]
    return Data(
        name, splits["train"], splits.get("validation"), splits.get("test"), class_names, tokenizer,
        {**identity, "sizes": sizes, **options.fingerprint()}, notes, options.preprocessing, options.asked,
    )  # fmt: skip

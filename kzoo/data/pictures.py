"""Examples with an image or plain numbers as input: from TFDS, from a folder of class folders, from arrays."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import checks, columns, dataset, effects, resizing
from kzoo.data.augmentation import Augmentation
from kzoo.data.columns.numbers import are_images
from kzoo.data.inputs import check_inputs
from kzoo.data.sources import folders, prepared
from kzoo.data.splits import Split, StreamedSplit

MEMORY_LIMIT = 1 << 30  # bytes a split may take in memory before it is streamed
RESERVE = 1.5  # how much larger than the input photos of a folder are kept for random crops
BLOCK_BYTES = 1 << 28  # bytes of a block within which a streamed split is shuffled


def from_tfds(name, builder, pair, model, target, options) -> dataset.Data:
    """Images of TFDS: in memory if they are small enough as they are or when fitted, else streamed.

    Args:
        pair: the features of image and label; None for the label where nothing is to be learned.
    """
    feature, label = (key and builder.info.features[key] for key in pair)
    alone = pair[0] if label is None else None
    column, sizes, class_names = _only_input(name, model), prepared.sizes(builder), getattr(label, "names", None)
    if len(feature.shape) != 3:
        raise ValueError(f"data set {name!r}: {pair[0]!r} has shape {feature.shape}; {model.name} takes images here")
    shape = resizing.image_shape(feature.shape, column.shape)
    if None in shape:
        raise ValueError(
            f"data set {name!r} has images of different sizes and {model.name} takes any: build it with an input_shape"
        )
    identity = {**prepared.identity(name, builder), "class_names": class_names}

    def fit(image, label):
        return resizing.resize(image, shape, options.preprocessing), label

    def in_memory(num_bytes):
        return num_bytes * max(sizes.values()) <= MEMORY_LIMIT

    fitted_bytes = 4 * math.prod(shape[:2]) * min(shape[2], feature.shape[2])
    if None not in feature.shape and in_memory(math.prod(feature.shape) * np.dtype(feature.np_dtype).itemsize):
        ranges, changed = {split: (split, size) for split, size in sizes.items()}, None
    else:
        ranges, changed = dataset.carve_ranges(sizes, options), fit
    if changed and not in_memory(fitted_bytes):
        block_size = max(BLOCK_BYTES // fitted_bytes, options.batch_size)
        finish = image_finish(model, target, column, None, shape[:2], options)
        splits = {}
        for split, (part, size) in ranges.items():
            read = functools.partial(prepared.stream, builder, part, fit, alone)
            how = options.of_split(split, _draw(options, shape, shape))
            splits[split] = StreamedSplit(read, size, block_size, finish, **how)
        x, y = splits["train"].examples(np.arange(min(options.batch_size, splits["train"].num_examples)))
        checks.check_finite("images of the first batch", x.numpy())
        checked_targets("labels of the first batch", target, x, tf.nest.map_structure(lambda one: one.numpy(), y))
        return dataset.make_data(name, identity, splits, options, class_names)
    parts = {split: (*prepared.read_arrays(builder, *part, changed, alone), None) for split, part in ranges.items()}
    return from_parts(name, identity, parts, model, target, options, class_names, fitted=changed is not None)


def from_folder(name, root, model, target, options, skip_bad) -> dataset.Data:
    """The images of a folder of class folders: in memory if they are small enough, else read batch by batch."""
    class_names, parts = folders.survey(root)
    count, listed, classes = len(class_names), ", ".join(class_names[:5]), target.num_classes
    if classes != count:
        raise ValueError(
            f"{root} holds {count} classes ({listed}{', ...' * (count > 5)}), but the model's output has {classes}; "
            f"build it with num_classes={count} (--set num_classes={count})"
        )
    return from_files(name, root, parts, class_names, model, target, options, skip_bad)


def from_files(name, root, parts, class_names, model, target, options, skip_bad) -> dataset.Data:
    """The images of files with what is learned of each: in memory if they are small enough, else read batch by batch.

    Args:
        root: the folder that they are in, at any depth.
        parts: `{split: [(path, target)]}`; `{"all": ...}` where examples are to be set aside for validation and test.
    """
    column = _only_input(name, model)
    wanted = column.shape
    shape = resizing.image_shape((None, None, 3), wanted) if len(wanted) > 1 else (None,)
    if None in shape:
        raise ValueError(
            f"{root} may hold images of any size, and the input {wanted} of {model.name} says none: build it with an "
            "input_shape of height, width and channels"
        )
    # A crop is taken from more pixels than the input has, so that it loses less when it is enlarged.
    options.require(Augmentation)
    crops = options.augment and options.augment.crop
    larger = (*(round(RESERVE * side) for side in shape[:2]), *shape[2:]) if crops else shape
    small = 4 * math.prod(larger) * max(map(len, parts.values())) <= MEMORY_LIMIT
    shapes = {split: larger if split == "train" else shape for split in prepared.SPLITS}
    fits = {
        split: functools.partial(folders.fit, shape=fitted, preprocessing=options.preprocessing)
        for split, fitted in shapes.items()
    }
    parts, digest, notes = folders.load(root, parts, options.validation_fraction, fits if small else {}, skip_bad)
    identity = {"name": name, "content": digest, "class_names": class_names, "skip_bad": skip_bad}
    if small:
        rows = {split: (*part, None) for split, part in parts.items()}
        data = from_parts(name, identity, rows, model, target, options, class_names, fitted=True)
        data.notes[:0] = notes
        return data
    notes += dataset.carve(name, parts, [parts["train"][0]], dataclasses.replace(options, validation_fraction=0))
    finish, draw = image_finish(model, target, column, None, shape[:2], options), _draw(options, shape, larger)
    splits = {
        split: Split(part, folders.from_paths(fits[split], finish, shapes[split]), **options.of_split(split, draw))
        for split, part in parts.items()
    }
    return dataset.make_data(name, identity, splits, options, class_names, notes=notes)


def _only_input(name, model):
    wanted = columns.inputs_of(model)
    if len(wanted) != 1:
        raise ValueError(f"data set {name!r} has one input; {model.name} takes {', '.join(wanted)}")
    return next(iter(wanted.values()))


def from_parts(name, identity, parts, model, target, options, class_names=None, fitted=False) -> dataset.Data:
    """In-memory splits from `{split: (x, y, weight or None)}`; `fitted` images have the model's size already."""
    if options.augment and not any(are_images(array) for array in tf.nest.flatten(parts["train"][0])):
        raise ValueError(f"augment moves images; data set {name!r} has none")
    rows = {split: _checked(f"{name} {split}", target, *part) for split, part in parts.items()}
    notes = dataset.carve(name, rows, tf.nest.flatten(rows["train"][0]), options)
    finish = draw = None
    largest = max(len(tf.nest.flatten(x)[0]) for x, *_ in rows.values())
    for split, (x, *targets) in rows.items():
        x, finish, drawn = _fit_inputs(f"{name} {split}", model, target, x, options, fitted, largest)
        draw = drawn if split == "train" else draw
        rows[split] = (x, *targets)
    identity.setdefault("content", dataset.digest_of(rows["train"]))
    splits = dataset.make_splits(rows, finish, options, draw)
    return dataset.make_data(name, identity, splits, options, class_names, notes=notes)


def _checked(label, target, x, y, weight):
    """The rows of a split whose targets the model can learn: as many targets as inputs, each in its output's range."""
    if isinstance(x, dict):
        x = {key: checks.check_array(f"{label} {key}", array) for key, array in x.items()}
    else:
        x = checks.check_array(label, x)
    y, own = checked_targets(f"{label} labels", target, x, y)
    dataset.check_examples(label, x, y)
    weight = own if weight is None else weight
    return (x, y) if weight is None else (x, y, weight)


def checked_targets(label, target, x, y) -> Any:
    """Labels, by name where the model's outputs have names, and their weights or None."""
    if not isinstance(target, dict):
        return target.check(label, y[0] if isinstance(y, tuple) else y, x)  # auxiliary heads have the same
    if not isinstance(y, dict) or set(y) != set(target):
        got = ", ".join(y) if isinstance(y, dict) else "one array"
        raise ValueError(f"{label} are for {got}; the model learns from {', '.join(target)}")
    pairs = {key: column.check(f"{label} {key}", y[key], x) for key, column in target.items()}
    weights = {key: np.ones(len(y), np.float32) if own is None else own for key, (y, own) in pairs.items()}
    return {key: found for key, (found, _) in pairs.items()}, weights


def _fit_inputs(label, model, target, x, options, fitted, largest):
    """The inputs as they stay in memory, and the `finish` and `draw` of all splits, the largest of which decides."""
    known, rows, finishes, draw = columns.inputs_of(model), {}, {}, None
    if len(known) == 1:
        x = {next(iter(known)): x}
    elif not isinstance(x, dict) or set(x) != set(known):
        check_inputs(model, x)  # says what is wrong
    for name, array in x.items():
        column = known[name]
        # Images are fitted to their input; other arrays must have its shape already.
        if not column.holds_pixels(array):
            rows[name] = column.check(array)
            continue
        if draw is not None and options.augment:
            raise ValueError(f"{label}: augment changes one picture per example, and {model.name} takes several")
        rows[name], shape, ready = _fit_pictures(label, column, array, options, fitted, largest)
        finishes[name] = (column, None if ready else shape, shape[:2])
        draw = _draw(options, shape, rows[name].shape[1:] if ready else shape) or draw
    if len(rows) == 1 and finishes:
        return rows[name], image_finish(model, target, *finishes[name], options), draw

    def finish(batch, random):
        x, labels, *weight = batch
        for name, (column, shape, size) in finishes.items():
            x = {**x, name: _changed(x[name], shape, options, random, size)}
            x[name] = resizing.to_input(x[name], column.shape, options.preprocessing)
        return (x, labels if isinstance(target, dict) else target.repeat(labels), *weight)

    return rows if len(rows) > 1 else rows[name], finish, draw


def _fit_pictures(label, column, x, options, fitted, largest):
    """Images as they stay in memory, the shape they are brought to, and whether they have it already."""
    x = column.check_pixels(label, x, options.preprocessing)
    shape = resizing.image_shape(x.shape[1:], column.shape)
    if x.dtype.kind == "f":
        x = x.astype(np.float32)
    if not fitted and 4 * largest * math.prod(shape) <= MEMORY_LIMIT:
        pieces = (tf.constant(x[start : start + 1024]) for start in range(0, len(x), 1024))
        x = np.concatenate([resizing.resize(piece, shape, options.preprocessing).numpy() for piece in pieces])
        fitted = True
    return x, shape, fitted


def _draw(options, shape, source):
    """How an epoch's random numbers are drawn for images of shape `source` that become `shape`."""
    options.require(Augmentation)
    return functools.partial(options.augment.draw, size=shape[:2], source=source[:2]) if options.augment else None


def _changed(batch, shape, options, random, size):
    """Float images, resized where `shape` is not None and augmented to `size` where there are random numbers."""
    batch = resizing.to_float(resizing.resize(batch, shape, options.preprocessing) if shape else batch)
    return batch if random is None else options.augment.apply(batch, random, size)


def image_finish(model, target, column, shape, size, options) -> Any:
    """What happens to every batch; images that need no resizing come with `shape` None, and augmented become `size`."""
    mixes = options.augment and options.augment.mixes
    if mixes and not target.mixes:
        raise ValueError(f"mixup and cutmix mix classes, and {model.name} learns from labels that cannot be mixed")

    def finish(rows, random):
        batch, labels, *weight = rows
        batch = _changed(batch, shape, options, random, size)
        labels = target.to_batch(labels)
        if random is not None and mixes:
            batch, labels = effects.mix(batch, tf.one_hot(labels, target.num_classes), random["mix"])
        return (resizing.to_input(batch, column.shape, options.preprocessing), target.repeat(labels), *weight)

    return finish

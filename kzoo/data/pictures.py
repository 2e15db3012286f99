"""Examples with an image or plain numbers as input: from TFDS, from a folder of class folders, from arrays."""

import dataclasses
import functools
import math

import numpy as np
import tensorflow as tf

from kzoo.data import checks, dataset, effects, images
from kzoo.data.sources import folders, prepared
from kzoo.data.splits import Split, StreamedSplit

MEMORY_LIMIT = 1 << 30  # bytes a split may take in memory before it is streamed
RESERVE = 1.5  # how much larger than the input photos of a folder are kept for random crops
BLOCK_BYTES = 1 << 28  # bytes of a block within which a streamed split is shuffled


def from_tfds(name, identity, builder, sizes, model, options):
    """Images of TFDS, in memory if they are small enough there as they are or fitted, else streamed."""
    image_key, label_key = prepared.pair(builder)
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
            parts = {split: (*prepared.read_arrays(builder, split, size), None) for split, size in sizes.items()}
            return from_parts(name, identity, parts, model, options, class_names)
    ranges = dataset.carve_ranges(sizes, options)
    num_bytes = 4 * math.prod(shape[:2]) * min(shape[2], feature.shape[2])
    if num_bytes * max(sizes.values()) <= MEMORY_LIMIT:
        parts = {split: (*prepared.read_arrays(builder, *part, fit), None) for split, part in ranges.items()}
        return from_parts(name, identity, parts, model, options, class_names, fitted=True)
    splits = {}
    for split, (instruction, size) in ranges.items():
        train = split == "train"
        splits[split] = StreamedSplit(
            functools.partial(prepared.stream, builder, instruction, fit), size,
            max(BLOCK_BYTES // num_bytes, options.batch_size), _image_finish(model, wanted, None, options, shape[:2]),
            options.batch_size, options.seed, train, _draw(options, shape, shape) if train else None,
            train and options.drop_remainder,
        )  # fmt: skip
    _check_first_batch(splits["train"], checks.num_classes(model))
    return dataset.make_data(name, identity, splits, options, class_names)


def from_folder(name, root, model, options, skip_bad):
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
        data = from_parts(name, identity, rows, model, options, class_names, fitted=True)
        data.notes[:0] = notes
        return data
    notes += dataset.carve(name, parts, [parts["train"][0]], dataclasses.replace(options, validation_fraction=0))
    splits = {}
    for split, part in parts.items():
        train = split == "train"
        finish = _image_finish(model, wanted, None, options, shape[:2])
        splits[split] = Split(
            part, folders.from_paths(fit(split), finish, larger if train else shape), options.batch_size,
            options.seed, train, _draw(options, shape, larger) if train else None, train and options.drop_remainder,
        )  # fmt: skip
    return dataset.make_data(name, identity, splits, options, class_names, notes=notes)


def _only_input(name, model):
    wanted = checks.inputs(model)
    if len(wanted) != 1:
        raise ValueError(f"data set {name!r} has one input; {model.name} takes {', '.join(wanted)}")
    return next(iter(wanted.values()))[0]


def _check_first_batch(split, classes):
    x, y = split.examples(np.arange(min(split.batch_size, split.num_examples)))
    checks.check_finite("images of the first batch", x.numpy())
    checks.check_labels(y.numpy(), classes, "labels of the first batch")


def from_parts(name, identity, parts, model, options, class_names=None, fitted=False):
    """In-memory splits from `{split: (x, y, weight or None)}`; `fitted` images have the model's size already."""
    if options.augment and not _are_images(parts["train"][0]):
        raise ValueError(f"augment moves images; data set {name!r} has none")
    rows = {split: _checked(f"{name} {split}", model, *part) for split, part in parts.items()}
    notes = dataset.carve(name, rows, tf.nest.flatten(rows["train"][0]), options)
    finish = draw = None
    largest = max(len(tf.nest.flatten(x)[0]) for x, *_ in rows.values())
    for split, (x, *targets) in rows.items():
        x, finish, drawn = _fit_inputs(f"{name} {split}", model, x, options, fitted, largest)
        draw = drawn if split == "train" else draw
        rows[split] = (x, *targets)
    identity.setdefault("content", dataset.digest_of(rows["train"]))
    return dataset.make_data(
        name, identity, dataset.make_splits(rows, finish, options, draw), options, class_names, notes=notes
    )


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
        y, weight = _checked_targets(f"{label} labels", model, x, y, weight)
    if checks.task(model) == "binary_classification":
        y = y.astype(np.float32)[:, None]
    lengths = {len(array) for array in tf.nest.flatten((x, y))}
    if len(lengths) > 1:
        raise ValueError(f"{label}: inputs and labels have different numbers of examples: {sorted(lengths)}")
    if lengths == {0}:
        raise ValueError(f"{label}: no {'training ' if label.endswith('train') else ''}examples")
    return (x, y) if weight is None else (x, y, weight)


def _checked_targets(label, model, x, y, weight):
    """Labels of an example or of every token, by name where the model's outputs have names, and their weights."""
    if isinstance(y, dict):
        if not isinstance(model.output, dict) or set(y) != set(model.output):
            wanted = ", ".join(model.output) if isinstance(model.output, dict) else "one array"
            raise ValueError(f"{label} are for {', '.join(y)}; {model.name} learns from {wanted}")
        pairs = {key: _checked_target(f"{label} {key}", model.output[key], x, y[key]) for key in y}
        ones = {key: np.ones(len(target), np.float32) for key, (target, _) in pairs.items()}
        given = weight or {key: ones[key] if own is None else own for key, (_, own) in pairs.items()}
        return {key: target for key, (target, _) in pairs.items()}, given
    target, own = _checked_target(label, model.outputs[0], x, y)
    return target, own if weight is None else weight


def _checked_target(label, output, x, y):
    if len(output.shape) < 3:
        return checks.check_labels(y, max(2, output.shape[-1]), label), None
    y, weight = checks.check_token_labels(y, output.shape[-1], label)
    mask = x.get("padding_mask") if isinstance(x, dict) else None
    if mask is not None and mask.shape != y.shape:
        raise ValueError(f"{label} have shape {y.shape}, but the padding mask {mask.shape}; wanted one label a token")
    return y, weight if mask is None else weight * (mask != 0)


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


def _draw(options, shape, source):
    """How an epoch's random numbers are drawn for images of shape `source` that become `shape`."""
    return functools.partial(options.augment.draw, size=shape[:2], source=source[:2]) if options.augment else None


def _image_finish(model, wanted, shape, options, size):
    """What happens to every batch; images that need no resizing come with `shape` None, and augmented become `size`."""
    binary, classes = checks.task(model) == "binary_classification", checks.num_classes(model)
    heads = len(model.output) if isinstance(getattr(model, "output", None), list | tuple) else 1
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
        # Auxiliary heads learn the same labels.
        return images.to_input(batch, wanted, options.preprocessing), (labels,) * heads if heads > 1 else labels

    return finish

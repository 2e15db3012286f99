"""Images with boxes of objects: from TFDS to batches in which every anchor of a detector has a target.

Boxes come as TFDS has them, fractions of the image, and are kept so: left, top, right, bottom, class, one row an
object. Images are stretched to the input's size, which leaves the fractions as they are.
"""

import copy
import dataclasses
import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset, resizing
from kzoo.data.augmentation import Augmentation
from kzoo.data.pictures import BLOCK_BYTES, MEMORY_LIMIT
from kzoo.data.sources import prepared
from kzoo.data.splits import Split, StreamedSplit
from kzoo.tasks.object_detection import matching
from kzoo.tasks.object_detection.anchors import anchors_of

VISIBLE = 0.3  # of an object's area, so that augmentation keeps it
SLACK = 1e-3  # how far beyond the image rounding may push a box


def has_boxes(builder) -> bool:
    """Whether the examples of a TFDS data set have an image and objects with a box and a label."""
    features = builder.info.features
    objects = getattr(features["objects"], "feature", None) if "objects" in features else None
    return "image" in features and hasattr(objects, "keys") and {"bbox", "label"} <= set(objects.keys())


def from_tfds(name, builder, model, options) -> Any:
    """A TFDS data set with boxes, its images in memory if they are small enough there, else streamed."""
    if not has_boxes(builder):
        features = ", ".join(builder.info.features)
        raise ValueError(
            f"data set {name!r} has no boxes of objects (its features: {features}); {model.name} learns from `image` "
            "and `objects` with `bbox` and `label`, as blood_cells or voc have them"
        )
    (column,) = columns.inputs_of(model).values()
    wanted, sizes, identity = column.shape, prepared.sizes(builder), prepared.identity(name, builder)
    feature, label = builder.info.features["image"], builder.info.features["objects"]["label"]
    class_names = getattr(label, "names", None)
    check_classes(name, model, getattr(label, "num_classes", None), class_names)
    shape = resizing.image_shape(feature.shape, wanted)
    if None in shape:
        raise ValueError(
            f"data set {name!r} has images of different sizes and {model.name} takes any: build it with an input_shape"
        )
    options = fitting(name, model, options)
    ranges = dataset.carve_ranges(sizes, options)
    finish = Finish(model, shape, options)
    read = {split: functools.partial(_images, builder, part, finish.resize) for split, (part, _) in ranges.items()}
    objects = {
        split: _read_objects(builder, part, f"{name} {split}", count_classes(model))
        for split, (part, _) in ranges.items()
    }
    fitted = feature.shape[:2] == shape[:2]
    num_bytes = (1 if fitted else 4) * math.prod(shape[:2]) * feature.shape[2]
    draw = functools.partial(options.augment.draw, size=shape[:2]) if options.augment else None
    splits = {}
    for split, (_, size) in ranges.items():
        common = {"finish": functools.partial(finish, objects[split]), **options.of_split(split, draw)}
        if num_bytes * max(count for _, count in ranges.values()) <= MEMORY_LIMIT:
            splits[split] = Split((_stack(builder, read[split], size), np.arange(size, dtype=np.int32)), **common)
        else:
            stream = functools.partial(_numbered, read[split])
            splits[split] = StreamedSplit(stream, size, max(BLOCK_BYTES // num_bytes, options.batch_size), **common)
    identity["class_names"] = class_names
    identity["content"] = dataset.digest_of([part.flat_values for part in objects.values()])
    notes = [statistics(f"{name} {split}", part) for split, part in objects.items()]
    data = dataset.make_data(name, identity, splits, options, class_names, notes=notes)
    data.objects = objects
    return data


def synthetic(name, model, sizes, options) -> Any:
    """Random images with one to four random boxes each, for tests and benchmarks."""
    (column,) = columns.inputs_of(model).values()
    wanted = column.shape
    options = fitting(name, model, options)
    shape = tuple(side or 96 for side in wanted[:2]) + wanted[2:]
    random, finish, rows, objects = np.random.default_rng(0), Finish(model, shape, options), {}, {}
    for split, size in sizes.items():
        counts = random.integers(1, 5, size)
        corner = random.random((counts.sum(), 2)) * 0.6
        sides = 0.1 + 0.3 * random.random((counts.sum(), 2))
        labels = random.integers(0, count_classes(model), (counts.sum(), 1))
        values = np.concatenate([corner, corner + sides, labels], axis=1).astype(np.float32)
        objects[split] = tf.RaggedTensor.from_row_lengths(values, counts)
        rows[split] = (random.integers(0, 256, (size, *shape), np.uint8), np.arange(size, dtype=np.int32))
    draw = functools.partial(options.augment.draw, size=shape[:2]) if options.augment else None
    splits = {
        split: Split(part, functools.partial(finish, objects[split]), options.batch_size, options.seed,
                     split == "train", draw if split == "train" else None)
        for split, part in rows.items()
    }  # fmt: skip
    data = dataset.make_data(name, {"name": name}, splits, options, None)
    data.objects = objects
    return data


def count_classes(model) -> int:
    """How many classes a detector tells apart."""
    return model.output["class_logits"].shape[-1]


def fitting(name, model, options) -> dataset.Options:
    """The options of a detector's data: no part of an image is cut off before its boxes are known."""
    options.require(Augmentation)
    if options.augment and options.augment.mixes:
        raise ValueError(f"mixup and cutmix mix classes; {model.name} learns boxes: choose augment='detection'")
    options = copy.copy(options)  # as it was asked for
    options.preprocessing = dataclasses.replace(options.preprocessing, crop=None)
    return options


def check_classes(name, model, classes, class_names) -> None:
    """ValueError unless a data set has as many classes of objects as a detector tells apart."""
    if classes is not None and classes != count_classes(model):
        listed = f" ({', '.join(class_names[:5])}{', ...' * (classes > 5)})" if class_names else ""
        raise ValueError(
            f"data set {name!r} has {classes} classes of objects{listed}, but {model.name} tells "
            f"{count_classes(model)} apart; build it with num_classes={classes} (--set num_classes={classes})"
        )


def _images(builder, part, resize):
    return prepared.records(builder, part, ("image",)).map(
        lambda example: resize(example["image"]), num_parallel_calls=tf.data.AUTOTUNE
    )


def _numbered(read):
    return read().enumerate().map(lambda index, image: (image, tf.cast(index, tf.int32)))


def _stack(builder, read, size):
    with prepared.damage_named(builder):
        batches = list(read().batch(256).as_numpy_iterator())
    found = sum(map(len, batches))
    if found != size:
        raise ValueError(f"{builder.data_dir}: {found} examples are there and should be {size}")
    return np.concatenate(batches)


def _read_objects(builder, part, label, classes):
    """Ragged float32 (examples, None, 5) of left, top, right, bottom and class; ValueError for what is no box."""
    rows, lengths = [], []
    with prepared.damage_named(builder):
        for index, example in enumerate(prepared.records(builder, part, ("objects",)).as_numpy_iterator()):
            found = example["objects"]
            rows.append(check_objects(f"{label}: example {index}", found["bbox"], found["label"], classes))
            lengths.append(len(rows[-1]))
    values = np.concatenate(rows) if rows else np.zeros((0, 5), np.float32)
    return tf.RaggedTensor.from_row_lengths(values, np.array(lengths, np.int64))


def check_objects(label, fractions, classes, num_classes) -> np.ndarray:
    """Boxes (n, 4) of top, left, bottom, right from 0 to 1 and classes (n,) as rows (n, 5), or ValueError.

    Rounding may put an edge a thousandth outside; it is moved to the image's.
    """
    top, left, bottom, right = np.asarray(fractions, np.float32).reshape(-1, 4).T
    for index, box in enumerate(zip(top, left, bottom, right, strict=True)):
        shown = ", ".join(f"{edge:.4g}" for edge in box)
        if not all(-SLACK <= edge <= 1 + SLACK for edge in box):
            raise ValueError(
                f"{label}, object {index}: box ({shown}) leaves the image; wanted top, left, bottom, right from 0 to 1"
            )
        if not (box[2] > box[0] and box[3] > box[1]):
            raise ValueError(f"{label}, object {index}: box ({shown}) of top, left, bottom, right has no area")
        if not 0 <= classes[index] < num_classes:
            raise ValueError(f"{label}, object {index}: label {classes[index]} is outside 0..{num_classes - 1}")
    edges = np.clip(np.stack([left, top, right, bottom], axis=1), 0, 1)
    return np.concatenate([edges, np.asarray(classes, np.float32).reshape(-1, 1)], axis=1).astype(np.float32)


def statistics(label, objects) -> str:
    """A note about a split."""
    return f"{label}: {objects.nrows():,} images, {len(objects.flat_values):,} objects"


class Finish:
    """Makes batches of images and anchors' targets; called with the boxes of a split, its rows and random numbers."""

    def __init__(self, model, shape, options):
        self.shape, self.options = shape, options
        self.wanted = tuple(model.inputs[0].shape[1:])
        self.anchors = anchors_of(model, *shape[:2]).boxes
        self.scale = np.array([shape[1], shape[0], shape[1], shape[0]], np.float32)

    def resize(self, image) -> Any:
        """One image at the input's size."""
        return resizing.resize(image, self.shape, self.options.preprocessing)

    def __call__(self, objects, rows, random):
        pictures, index = rows
        pictures = resizing.to_float(pictures)
        objects = tf.gather(objects, index)
        if random is None:
            classes, offsets = self._targets(lambda rows: self._one(rows[0]), (objects,))
        else:
            pictures = self.options.augment.apply(pictures, random, self.shape[:2])
            classes, offsets = self._targets(lambda rows: self._one(*rows), (objects, random["transforms"]))
        y = {"class_logits": classes, "box_regression": offsets}
        return resizing.to_input(pictures, self.wanted, self.options.preprocessing), y

    def _targets(self, function, rows):
        count = len(self.anchors)
        kinds = (tf.TensorSpec((count,), tf.int32), tf.TensorSpec((count, 5), tf.float32))
        return tf.map_fn(function, rows, fn_output_signature=kinds)

    def _one(self, objects, transform=None):
        edges, labels = objects[:, :4] * self.scale, tf.cast(objects[:, 4], tf.int32)
        if transform is not None:
            edges, keep = move(edges, transform, self.shape)
            edges, labels = tf.boolean_mask(edges, keep), tf.boolean_mask(labels, keep)
        return matching.targets(edges, labels, tf.constant(self.anchors))


def move(edges, transform, shape) -> tuple:
    """Boxes (n, 4) in pixels after an image of `shape` was sampled by a transform (8,), and which still show enough.

    A transform gives the place of every new pixel in the old image (`effects.move`), so corners go by its inverse. The
    new box holds the four corners, as far as they are in the image.
    """
    matrix = tf.reshape(tf.gather(transform, [0, 1, 3, 4]), (2, 2))
    offset = tf.gather(transform, [2, 5])
    corners = tf.reshape(tf.gather(edges, [0, 1, 2, 1, 2, 3, 0, 3], axis=1), (-1, 4, 2))
    # Transforms count from the middle of the first pixel, boxes from its edge.
    corners = tf.einsum("nci,ji->ncj", corners - 0.5 - offset, tf.linalg.inv(matrix)) + 0.5
    whole = tf.concat([tf.reduce_min(corners, axis=1), tf.reduce_max(corners, axis=1)], axis=1)
    inside = tf.clip_by_value(whole, 0.0, tf.constant([shape[1], shape[0]] * 2, tf.float32))
    areas = [tf.reduce_prod(one[:, 2:] - one[:, :2], axis=1) for one in (inside, whole)]
    sides = tf.reduce_min(inside[:, 2:] - inside[:, :2], axis=1)
    return inside, (areas[0] >= VISIBLE * areas[1]) & (sides >= 1)

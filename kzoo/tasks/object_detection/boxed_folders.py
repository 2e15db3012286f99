"""People's own images with boxes as training, validation and test batches."""

import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset, decoding, resizing
from kzoo.data.pictures import MEMORY_LIMIT
from kzoo.data.sources import folders
from kzoo.data.splits import Split
from kzoo.tasks.object_detection import box_files, boxed_images


def load(name, path, model, options) -> Any:
    """The `Data` of what `box_files.find` found: in memory if the images are small enough, else read in batches."""
    class_names, parts, notes = box_files.read(path)
    (column,) = columns.inputs_of(model).values()
    boxed_images.check_classes(name, model, len(class_names), class_names)
    shape = resizing.image_shape((None, None, 3), column.shape)
    if None in shape:
        raise ValueError(f"{path} holds images of any size and {model.name} takes any: build it with an input_shape")
    options = boxed_images.fitting(name, model, options)
    small = 4 * math.prod(shape) * max(map(len, parts.values())) <= MEMORY_LIMIT
    fit = functools.partial(folders.fit, shape=shape, preprocessing=options.preprocessing)
    rows, objects = {}, {}
    for split, images in parts.items():
        label = f"{name} {split}"
        checked = [
            boxed_images.check_objects(f"{one.path}", edges, classes, len(class_names))
            for one, (edges, classes) in zip(images, box_files.rows_of(class_names, images), strict=True)
        ]
        kept = [_checked(one, fit, small) for one in images]
        kept = np.stack(kept) if small and kept else np.array(kept)
        lengths = np.array([len(one) for one in checked], np.int64)
        values = np.concatenate(checked) if checked else np.zeros((0, 5), np.float32)
        objects[split] = tf.RaggedTensor.from_row_lengths(values.astype(np.float32), lengths)
        rows[split] = (kept, np.arange(len(images), dtype=np.int32))
        dataset.check_examples(label, *rows[split])
    identity = {"name": name, "class_names": class_names, "content": dataset.digest_of([rows, _values(objects)])}
    everything = objects["train"]
    notes += dataset.carve(name, rows, [rows["train"][0]], options)
    for split in {"train", "validation"} & rows.keys() - ({"validation"} & objects.keys()):
        objects[split] = tf.gather(everything, rows[split][1])
        rows[split] = (rows[split][0], np.arange(len(rows[split][1]), dtype=np.int32))
    finish = boxed_images.Finish(model, shape, options)
    draw = functools.partial(options.augment.draw, size=shape[:2]) if options.augment else None
    splits = {}
    for split, part in rows.items():
        finished = functools.partial(finish, objects[split])
        finished = finished if small else folders.from_paths(fit, finished, shape)
        splits[split] = Split(part, finished, **options.of_split(split, draw))
    notes += [boxed_images.statistics(f"{name} {split}", part) for split, part in objects.items()]
    data = dataset.make_data(name, identity, splits, options, class_names, notes=notes)
    data.objects = objects
    return data


def _values(objects):
    return [part.flat_values.numpy() for part in objects.values()]


def _checked(one, fit, small):
    """The fitted image of a file, or its path; ValueError if it has not the size that its boxes were drawn in."""
    pixels = decoding.read(one.path)
    size = pixels.shape[1::-1]
    if one.size and tuple(one.size) != size:
        raise ValueError(
            f"{one.path} has {size[0]}x{size[1]} pixels, upright as EXIF says, and its boxes are for an image of "
            f"{one.size[0]}x{one.size[1]}"
        )
    return fit(one.path.read_bytes()) if small else str(one.path)

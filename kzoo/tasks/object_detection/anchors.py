"""The anchors of a detector: the boxes that its outputs move, in the outputs' order."""

import dataclasses

import keras
import numpy as np

from kzoo import catalog

# Lin et al. 2017 (RetinaNet), section 4: three sizes within an octave, three shapes (height by width)
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
ASPECT_RATIOS = (0.5, 1.0, 2.0)


@dataclasses.dataclass(frozen=True)
class Anchors:
    """All anchors for images of one size.

    Args:
        boxes: float32 (num_anchors, 4): left, top, right, bottom.
        per_level: how many of them each level of the pyramid has.
        size: (height, width) of the images.
    """

    boxes: np.ndarray
    per_level: tuple
    size: tuple


def anchors_of(model, height=None, width=None) -> Anchors:
    """The `Anchors` of a detector for images of so many pixels, by default of its input's size.

    As torchvision has them: sizes are whole pixels, so are the corners of the anchors around 0, and a cell's step is
    the image's size divided by the number of cells, rounded down. Raises ValueError if no size is known.
    """
    size = tuple(given or known for given, known in zip((height, width), model.inputs[0].shape[1:3], strict=True))
    if None in size:
        raise ValueError(f"{model.name} takes images of any size; build it with an input_shape to know its anchors")
    parts = [
        level_anchors(base, shape, size)
        for base, shape in zip(catalog.arguments(model)["anchor_sizes"], level_shapes(model, *size), strict=True)
    ]
    return Anchors(np.concatenate(parts), tuple(map(len, parts)), size)


def level_shapes(model, height, width) -> list:
    """(rows, columns) of cells of every level of the pyramid, from the finest."""
    count = len(catalog.arguments(model)["anchor_sizes"])
    levels = [model.get_layer(f"head.classification_head.rows.{index}").input for index in range(count)]
    if model.inputs[0].shape[1:3] != (height, width):
        image = keras.KerasTensor((1, height, width, model.inputs[0].shape[3]), model.inputs[0].dtype)
        levels = keras.Model(model.input, levels).compute_output_spec(image)
    return [tuple(level.shape[1:3]) for level in levels]


def level_anchors(base, shape, size) -> np.ndarray:
    """Anchors (rows * columns * 9, 4) of one level whose smallest square is `base` pixels wide."""
    scales = np.array([int(base * scale) for scale in SCALES], "float32")
    high = np.sqrt(np.array(ASPECT_RATIOS, "float32"))
    wide = (1 / high)[:, None] * scales
    high = high[:, None] * scales
    around_zero = np.stack([-wide, -high, wide, high], axis=-1).reshape(-1, 4) / 2
    rows, columns = (
        np.arange(cells, dtype="float32") * (side // cells) for cells, side in zip(shape, size, strict=True)
    )
    top, left = (grid.reshape(-1) for grid in np.meshgrid(rows, columns, indexing="ij"))
    corners = np.stack([left, top, left, top], axis=-1)
    return (corners[:, None] + np.round(around_zero)).reshape(-1, 4).astype("float32")


def random_targets(model, shape, random) -> dict:
    """Random targets for inputs of a shape (batch, height, width, channels), as `matching.targets` gives them."""
    num_anchors = len(anchors_of(model, *shape[1:3]).boxes)
    lot = random.integers(-1, 29, (shape[0], num_anchors))
    classes = random.integers(0, model.output["class_logits"].shape[-1], lot.shape)
    is_object = lot == 0
    offsets = 0.3 * random.standard_normal((*lot.shape, 4)) * is_object[..., None]
    return {
        "class_logits": np.where(is_object, classes, np.where(lot < 0, -2, -1)).astype(np.int32),
        "box_regression": np.concatenate([offsets, is_object[..., None]], axis=-1).astype(np.float32),
    }

"""Image classification: images, or their pixels, to one of several classes."""

import types
from typing import Any

import keras

from kzoo.catalog import Card
from kzoo.tasks.base import Task


class ImageClassification(Task):
    """One class per image; auxiliary heads learn the same labels."""

    name = "image_classification"


def canvas(name, data_dir=None, manual_dir=None, download=False) -> Any:
    """What `load` needs of a model, for looking at images in their own size, or at 224 x 224 if that varies."""
    from kzoo.data.sources import folders, prepared
    from kzoo.tasks import every

    root = folders.find(name)
    shape, classes = (None, None, 3), 2
    if root is not None:
        classes = len(folders.survey(root)[0])
    elif name != "synthetic" and not any(name in task.generated_data for task in every()):
        builder = prepared.find(name, data_dir, manual_dir, download)
        image, label = (builder.info.features[key] for key in prepared.pair(builder))
        shape, classes = tuple(image.shape), getattr(label, "num_classes", None) or 2
    if len(shape) != 3:
        raise ValueError(f"data set {name!r} holds no images that could be shown")
    return types.SimpleNamespace(
        name="the contact sheet", layers=[], outputs=[keras.KerasTensor((None, classes))],
        inputs=[keras.KerasTensor((None, shape[0] or 224, shape[1] or 224, shape[2]), name="image")],
        kzoo=Card("the contact sheet", task=ImageClassification.name),
    )  # fmt: skip


TASK = ImageClassification()

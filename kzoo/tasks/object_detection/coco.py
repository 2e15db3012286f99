"""What a detector finds in images, and how right that is: mean average precision by pycocotools."""

import contextlib
import io

import keras
import numpy as np

from kzoo.tasks.object_detection import matching
from kzoo.tasks.object_detection.anchors import anchors_of

PIXELS = 1000  # what a side counts in pycocotools, which wants no fractions


def find_objects(model, x, score_threshold=matching.SCORE_THRESHOLD, max_detections=matching.MAX_DETECTIONS) -> list:
    """The objects in a batch of inputs, one dict per image, the best score first.

    Args:
        x: float32 (batch, height, width, channels), as the model takes it.
        score_threshold: leave out what is less sure than this.

    A dict has `boxes` float32 (n, 4): left, top, right, bottom as fractions of the image; `scores` float32 (n,) and
    `labels` int32 (n,).
    """
    height, width = x.shape[1:3]
    outputs = {key: keras.ops.convert_to_numpy(value) for key, value in model.predict_on_batch(x).items()}
    found = matching.detect(outputs, anchors_of(model, height, width), score_threshold, max_detections)
    found = {key: value.numpy() for key, value in found.items()}
    scale = np.array([width, height, width, height], "float32")
    return [
        {"boxes": found["boxes"][index, :count] / scale, "scores": found["scores"][index, :count],
         "labels": found["labels"][index, :count]}
        for index, count in enumerate(found["count"])
    ]  # fmt: skip


def average_precision(model, split, objects, class_names=None) -> dict:
    """Mean average precision of a detector on a split whose true objects are `objects`, as COCO defines it.

    Returns a flat dict: `mean_average_precision` over overlaps from 0.5 to 0.95, `mean_average_precision_50` at 0.5,
    and `average_precision_50_CLASS` of every class that the split has. All from 0 to 1.
    """
    found = [row for x, *_ in split.as_it_is().dataset for row in find_objects(model, x)]
    truth = [np.asarray(rows) for rows in objects]
    num_classes = model.output["class_logits"].shape[-1]
    return score(found, truth, class_names or [str(index) for index in range(num_classes)])


def score(found, truth, class_names) -> dict:
    """The numbers of `average_precision` from what was found and what is there.

    Args:
        found: dicts as `find_objects` gives them, one an image.
        truth: arrays (n, 5) of left, top, right, bottom as fractions, and class, one an image.

    Raises ModuleNotFoundError that names the extra if pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "mean average precision needs pycocotools: install kzoo[detection], or pip install pycocotools"
        ) from error
    wanted = [
        {"image_id": image, "category_id": int(row[4]), "iscrowd": 0, **_as_coco(row[:4])}
        for image, rows in enumerate(truth)
        for row in rows
    ]
    results = [
        {"image_id": image, "category_id": int(label), "score": float(sure), **_as_coco(box)}
        for image, rows in enumerate(found)
        for box, sure, label in zip(rows["boxes"], rows["scores"], rows["labels"], strict=True)
    ]
    there = sorted({row["category_id"] for row in wanted})
    if not wanted:
        raise ValueError("mean average precision needs true objects, and there is none in these images")
    names = {f"average_precision_50_{class_names[index]}": index for index in there}
    if not results:
        return dict.fromkeys(["mean_average_precision", "mean_average_precision_50", *names], 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": image} for image in range(len(truth))],
            "categories": [{"id": index} for index in there],
            "annotations": [{"id": number, **row} for number, row in enumerate(wanted, 1)],
        }
        known.createIndex()
        judge = COCOeval(known, _loaded(COCO, known.dataset, results), "bbox")
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][..., 0, -1]  # (overlaps, recalls, classes), objects of any size
    return {
        "mean_average_precision": float(precision.mean()),
        "mean_average_precision_50": float(precision[0].mean()),
        **{name: float(precision[0, :, there.index(index)].mean()) for name, index in names.items()},
    }


def _loaded(kind, dataset, results):
    """Results as pycocotools keeps them; its own `loadRes` refuses classes that are not in the truth."""
    detections = kind()
    detections.dataset = {
        **dataset,
        "annotations": [{"id": number, "iscrowd": 0, **row} for number, row in enumerate(results, 1)],
    }
    detections.createIndex()
    return detections


def _as_coco(box):
    left, top, right, bottom = (float(edge) * PIXELS for edge in box)
    return {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}

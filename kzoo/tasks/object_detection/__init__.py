"""Object detection: boxes of objects in images, and what each of them shows.

Boxes are (left, top, right, bottom) in pixels, counted from the outer edge of the first pixel, unless said otherwise.
"""

from typing import Any

from kzoo.tasks import base
from kzoo.tasks.object_detection.focal_losses import BoxLoss, FocalLoss, ObjectAccuracy
from kzoo.tasks.wanted_outputs import require_named_outputs

RECIPE = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4, "schedule": "cosine", "clip_norm": 1.0,
    "augment": "detection", "epochs": 60, "batch_size": 8,
}  # fmt: skip


class ObjectDetection(base.Task):
    """Any number of boxes per image, learned by anchors (Lin et al. 2017)."""

    name = "object_detection"
    default_data = "voc/2007"
    recipe = RECIPE

    def check_suits(self, model) -> None:
        require_named_outputs(self, model, "class_logits", "box_regression")

    def loss(self, model, label_smoothing=0.0) -> dict:
        """The sum of both losses, as in the paper."""
        if label_smoothing:
            raise ValueError(f"the focal loss takes no label_smoothing, got {label_smoothing!r}; leave it at 0")
        return {"class_logits": FocalLoss(), "box_regression": BoxLoss()}

    def metrics(self, model) -> list | dict:
        return {"class_logits": [ObjectAccuracy()]}

    def takes(self, builder) -> bool:
        from kzoo.tasks.object_detection import boxed_images

        return boxed_images.has_boxes(builder)

    def width_of(self, name, model, how) -> int | None:
        from kzoo.tasks.object_detection import box_files

        path = box_files.find(name)
        return None if path is None else len(box_files.read(path)[0])

    def batches(self, name, model, how) -> Any:
        from kzoo.data.sources import folders
        from kzoo.tasks.object_detection import box_files, boxed_folders, boxed_images

        path = box_files.find(name)
        if path is not None:
            return boxed_folders.load(name, path, model, how.options)
        if folders.find(name) is not None or name == "digits":
            raise ValueError(
                f"{name!r} has no boxes of objects, which {model.name} learns from: wanted COCO's JSON, Pascal VOC's "
                "XML or YOLO's text files"
            )
        return boxed_images.from_tfds(name, self.prepared(name, how), model, how.options)

    def synthetic(self, name, model, how) -> Any:
        from kzoo.tasks.object_detection import boxed_images

        return boxed_images.synthetic(name, model, base.SYNTHETIC_SIZES, how.options)

    def arrays(self, name, parts, model, options, class_names=None) -> None:
        raise ValueError(
            f"from_arrays takes one label per image; {model.name} learns boxes: name a data set that has them"
        )

    def random_targets(self, model, x, random, length) -> tuple | dict:
        """One anchor in 30 stands for an object, and as many do not count."""
        from kzoo.tasks.object_detection.anchors import random_targets

        return random_targets(model, x.shape, random), None

    def predict(self, model, x, batch_size=64) -> list:
        from kzoo.tasks.object_detection.coco import find_objects

        return [row for part in base.in_batches(x, batch_size) for row in find_objects(model, part)]

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> list:
        from kzoo.tasks.object_detection import findings

        return findings.for_files(model, paths, model.kzoo.class_names, skip_bad=skip_bad)

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        from kzoo.tasks.object_detection import findings

        return findings.for_data(model, data, split, limit)

    def line(self, row) -> str:
        from kzoo.tasks.object_detection import findings

        return findings.line(row)

    def draw(self, path, model, rows, data=None, split="test") -> None:
        from kzoo.data import decoding, resizing
        from kzoo.tasks.object_detection import findings

        read = [decoding.in_channels(decoding.read(row["file"]), 3) for row in rows if "file" in row]
        images = [resizing.to_float(one).numpy() for one in read] or findings.pictures(data, split, len(rows))
        findings.draw(path, images, rows)

    def score(self, model, data, split, numbers) -> dict:
        """COCO's mean average precision and each class's at an overlap of 0.5."""
        from kzoo.tasks.inference import choose_split
        from kzoo.tasks.object_detection import coco

        if not data.objects:
            return {}
        return coco.average_precision(model, choose_split(data, split), data.objects[split], data.class_names)

    def output_words(self, model) -> dict:
        told = {
            "class_logits": "logits of every anchor (sigmoid gives the probability of each class)",
            "box_regression": "offsets of every anchor's box, as Ren et al. 2015 scale them",
        }
        return {name: told[name] for name in base.keyed(model.output)}

    def endpoints(self, model) -> dict:
        from kzoo.tasks.object_detection import serving_boxes

        # The anchors need a size.
        return {} if None in model.inputs[0].shape[1:] else serving_boxes.endpoints(model)

    def check_pixels(self, model, format) -> None:
        super().check_pixels(model, format)
        if format != "saved_model":
            raise ValueError(
                f"with_preprocessing: {model.name} finds objects, and their boxes are decoded by `serve_images` of "
                f"format saved_model alone; format {format!r} holds the model's own inputs and outputs"
            )


TASK = ObjectDetection()

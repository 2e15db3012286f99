"""What a detector learns by: focal loss of the classes, absolute error of the boxes, and how often objects are right.

Lin et al. 2017 (RetinaNet), equation 5 and section 4.1. Targets are those of `matching.targets`.
"""

from typing import Any

import keras
from keras import ops

ALPHA, GAMMA = 0.25, 2.0


def focal(targets, logits, alpha=ALPHA, gamma=GAMMA) -> Any:
    """-alpha_t (1 - p_t)^gamma log(p_t) of each logit, with targets 0 or 1 of the same shape; float32."""
    targets, logits = (ops.cast(x, "float32") for x in (targets, logits))
    probability = ops.sigmoid(logits)
    cross_entropy = ops.maximum(logits, 0) - logits * targets + ops.log1p(ops.exp(-ops.abs(logits)))
    wrong = targets * (1 - probability) + (1 - targets) * probability
    return (alpha * targets + (1 - alpha) * (1 - targets)) * wrong**gamma * cross_entropy


def _per_object(total, is_object):
    """Sums of images (batch,) divided by how many anchors stand for an object, or by 1."""
    return total / ops.maximum(ops.sum(ops.cast(is_object, "float32"), axis=1), 1.0)


@keras.saving.register_keras_serializable("kzoo")
class FocalLoss(keras.losses.Loss):
    """The focal loss of all anchors and classes, for each image divided by its number of anchors of objects.

    Labels int (batch, num_anchors): the class, -1 for nothing, -2 for an anchor that does not count; predictions
    `class_logits` (batch, num_anchors, num_classes).
    """

    def __init__(self, alpha=ALPHA, gamma=GAMMA, name="focal_loss"):
        super().__init__(name=name, dtype="float32")
        self.alpha, self.gamma = alpha, gamma

    def call(self, y_true, y_pred) -> Any:
        labels = ops.cast(y_true, "int32")
        wanted = ops.cast(ops.expand_dims(labels, -1) == ops.arange(y_pred.shape[-1], dtype="int32"), "float32")
        counts = ops.cast(labels >= -1, "float32")
        losses = ops.sum(focal(wanted, y_pred, self.alpha, self.gamma), axis=-1) * counts
        return _per_object(ops.sum(losses, axis=1), labels >= 0)

    def get_config(self) -> dict:
        return {"alpha": self.alpha, "gamma": self.gamma, "name": self.name}


@keras.saving.register_keras_serializable("kzoo")
class BoxLoss(keras.losses.Loss):
    """The absolute error of the offsets of anchors of objects, for each image divided by the number of these anchors.

    Targets (batch, num_anchors, 5): offsets and 1 for an object; predictions `box_regression` (batch, num_anchors, 4).
    """

    def __init__(self, name="box_loss"):
        super().__init__(name=name, dtype="float32")

    def call(self, y_true, y_pred) -> Any:
        is_object = y_true[..., 4]
        errors = ops.sum(ops.abs(y_true[..., :4] - ops.cast(y_pred, "float32")), axis=-1) * is_object
        return _per_object(ops.sum(errors, axis=1), is_object)

    def get_config(self) -> dict:
        return {"name": self.name}


@keras.saving.register_keras_serializable("kzoo")
class ObjectAccuracy(keras.metrics.Mean):
    """How often the largest logit of an anchor of an object is the object's class."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._direction = "up"

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        labels = ops.cast(y_true, "int32")
        right = ops.cast(ops.argmax(y_pred, axis=-1), "int32") == labels
        super().update_state(ops.cast(right, "float32"), ops.cast(labels >= 0, "float32"))

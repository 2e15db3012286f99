"""What classifiers learn by: cross-entropy that takes labels or shares, accuracy, and means that no batch changes."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("kzoo")
class SparseCrossEntropy(keras.losses.Loss):
    """Cross-entropy between labels and logits or probabilities, averaged over the weights' sum.

    With `label_smoothing` e the target is 1 - e on the label plus e spread evenly over all classes (Szegedy et al.
    2016, section 7). Predictions (..., num_classes); labels (...,) int, or the share of every class (..., num_classes),
    as mixup gives them. Computed in float32.
    """

    def __init__(self, from_logits=True, label_smoothing=0.0, name="cross_entropy"):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype="float32")
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred) -> Any:
        if _are_shares(y_true, y_pred):
            loss = ops.categorical_crossentropy(y_true, y_pred, from_logits=self.from_logits)
        else:
            y_true = ops.cast(y_true, "int32")
            loss = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=self.from_logits)
        if not self.label_smoothing:
            return loss
        log_probabilities = ops.log_softmax(y_pred) if self.from_logits else ops.log(ops.maximum(y_pred, 1e-7))
        return (1 - self.label_smoothing) * loss - self.label_smoothing * ops.mean(log_probabilities, axis=-1)

    def get_config(self) -> dict:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing, "name": self.name}


class EveryMean(keras.metrics.Mean):
    """The mean over all values that count, however they fall into batches and however long a batch is padded.

    Keras' own averages a row before it adds it up, so that a token in a batch of shorter rows counts for more.
    """

    def update_state(self, values, sample_weight=None) -> None:
        """Takes values (batch, ...), and weights of the same shape or of its first axes."""
        values = ops.cast(values, self.dtype)
        weights = ops.ones_like(values) if sample_weight is None else ops.cast(sample_weight, self.dtype)
        weights = ops.reshape(weights, (*ops.shape(weights), *[1] * (len(values.shape) - len(weights.shape))))
        weights = ops.broadcast_to(weights, ops.shape(values))
        super().update_state(ops.reshape(values, [-1]), ops.reshape(weights, [-1]))


@keras.saving.register_keras_serializable("kzoo")
class MeanLoss(keras.metrics.MeanMetricWrapper, EveryMean):
    """The mean of a `keras.losses.Loss` over every example or token by its weight.

    Keras averages the means of batches: by their examples where tokens count, by nothing where there are several
    outputs.
    """

    def __init__(self, fn, name="mean_loss", dtype=None):
        # Not copy.copy, for which Keras writes a loss out and reads it again: one of the user's own may not be written.
        each = object.__new__(type(fn))
        vars(each).update(vars(fn), reduction=None)
        super().__init__(each, name, dtype)


@keras.saving.register_keras_serializable("kzoo")
class Accuracy(keras.metrics.MeanMetricWrapper, EveryMean):
    """How often the largest output is the label, or the class with the largest share in the target."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(_are_right, name=name, dtype=dtype)
        self._direction = "up"

    def get_config(self) -> dict:
        return {"name": self.name, "dtype": self.dtype}


def _are_shares(y_true, y_pred):
    return len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1] > 1


def _are_right(y_true, y_pred):
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    shares = _are_shares(y_true, y_pred)
    labels = ops.argmax(y_true, axis=-1) if shares else ops.reshape(y_true, ops.shape(y_pred)[:-1])
    return ops.cast(ops.equal(ops.cast(labels, "int32"), ops.cast(ops.argmax(y_pred, axis=-1), "int32")), "float32")

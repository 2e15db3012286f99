"""Binary classification: one of two classes, for a single logit."""

from typing import Any

import keras

from kzoo.data import columns
from kzoo.tasks.base import Task, gives_probabilities
from kzoo.tasks.feeding.any_input import batches_by_input
from kzoo.tasks.wanted_outputs import require_outputs

INSTEAD_OF = ("image_classification", "sequence_classification", "text_classification")


class BinaryClassification(Task):
    """One logit per example, whose sigmoid is the probability of the second class."""

    name = "binary_classification"
    default_data = "digits/zero_one"
    takes_texts = True

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=2, least=1, most=1, hint=": pass num_classes=1")

    def width_of(self, name, model, how) -> None:
        return None

    def batches(self, name, model, how) -> Any:
        return batches_by_input(self, name, model, how)

    def target(self, model) -> Any:
        return columns.Logit(2)

    def loss(self, model, label_smoothing=0.0) -> Any:
        return keras.losses.BinaryCrossentropy(not gives_probabilities(model), label_smoothing, dtype="float32")

    def metrics(self, model) -> list | dict:
        return [keras.metrics.BinaryAccuracy("accuracy", threshold=0.5 if gives_probabilities(model) else 0.0)]


TASK = BinaryClassification()

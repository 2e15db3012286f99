"""Binary classification: one of two classes, for a single logit."""

import keras

from kzoo.data import columns
from kzoo.tasks.base import Task, gives_probabilities


class BinaryClassification(Task):
    """One logit per example, whose sigmoid is the probability of the second class."""

    name = "binary_classification"
    default_data = "digits/zero_one"

    def target(self, model):
        return columns.Logit(2)

    def loss(self, model, label_smoothing=0.0):
        return keras.losses.BinaryCrossentropy(not gives_probabilities(model), label_smoothing, dtype="float32")

    def metrics(self, model) -> list | dict:
        return [keras.metrics.BinaryAccuracy("accuracy", threshold=0.5 if gives_probabilities(model) else 0.0)]


TASK = BinaryClassification()

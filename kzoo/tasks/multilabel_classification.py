"""Multi-label classification: any number of labels per example, each with a probability of its own."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.data import columns
from kzoo.tasks.base import gives_probabilities, num_outputs
from kzoo.tasks.feeding.any_input import AnyInput

INSTEAD_OF = ("image_classification", "sequence_classification", "text_classification", "dna_classification")


class MultilabelClassification(AnyInput):
    """A sigmoid and the binary cross-entropy for every label; `accuracy` is the share of labels that are right."""

    name = "multilabel_classification"

    def target(self, model) -> Any:
        return columns.LabelSet(model.outputs[0].shape[-1], num_outputs(model))

    def bare_output(self, model) -> tuple:
        if gives_probabilities(model):
            return self.results, "the probability of each label"
        return "logits", "logits (sigmoid gives the probability of each label)"

    def loss(self, model, label_smoothing=0.0) -> Any:
        return keras.losses.BinaryCrossentropy(not gives_probabilities(model), label_smoothing, dtype="float32")

    def metrics(self, model) -> list | dict:
        return [keras.metrics.BinaryAccuracy("accuracy", threshold=0.5 if gives_probabilities(model) else 0.0)]

    def check_suits(self, model) -> None:
        super().check_suits(model)
        if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
            raise ValueError(f"{model.name} ends in a softmax, which lets one label hold; {self.words} needs a sigmoid")

    def read(self, model, outputs) -> Any:
        """The probability of every label (batch, num_classes); of several outputs the first."""
        outputs = outputs[0] if isinstance(outputs, list | tuple) else outputs
        return outputs if gives_probabilities(model) else ops.sigmoid(outputs)

    def decide(self, results) -> Any:
        return np.asarray(results) > 0.5

    def rows(self, results, class_names, top=3) -> list:
        """The labels that are likelier than not, and the likeliest with their probabilities."""
        from kzoo.tasks import reading

        classes = reading.classes(results, class_names, top)
        return [
            {"labels": self._names(row > 0.5, class_names), **chances}
            for row, chances in zip(results, classes, strict=True)
        ]

    def shown(self, target, class_names) -> dict:
        return {"target": self._names(np.asarray(target) > 0.5, class_names)}

    def _names(self, holds, class_names):
        from kzoo.tasks import reading

        return [reading.name_of(index, class_names) for index in np.flatnonzero(holds)]

    def score(self, model, data, split, numbers) -> dict:
        """F1 at a probability of 0.5 and the average precision, both the plain mean over labels."""
        import warnings

        from sklearn import metrics

        from kzoo.tasks.inference import choose_split

        targets, found = [], []
        for x, y in choose_split(data, split).as_it_is().dataset:
            targets.append(keras.tree.flatten(y)[0].numpy())
            found.append(ops.convert_to_numpy(self.read(model, model.predict_on_batch(x))))
        targets, found = np.concatenate(targets), np.concatenate(found)
        with warnings.catch_warnings():  # a label that no example has counts as 0
            warnings.simplefilter("ignore")
            return {
                "macro_f1": float(metrics.f1_score(targets, self.decide(found), average="macro", zero_division=0)),
                "macro_average_precision": float(metrics.average_precision_score(targets, found, average="macro")),
            }


TASK = MultilabelClassification()

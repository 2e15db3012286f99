"""Regression: one or several numbers per example."""

from typing import Any

import keras

from kzoo.data import columns
from kzoo.tasks.base import gives_probabilities, num_outputs
from kzoo.tasks.feeding.any_input import AnyInput

INSTEAD_OF = (
    "image_classification", "sequence_classification", "text_classification", "binary_classification",
    "dna_classification",
)  # fmt: skip


class Regression(AnyInput):
    """Numbers by the mean squared error. Targets are learned as they are: scale them if they are far from 1."""

    name = "regression"
    results = "values"

    def check_suits(self, model) -> None:
        super().check_suits(model)
        if gives_probabilities(model):
            raise ValueError(f"{model.name} gives probabilities; {self.words} needs an output without an activation")

    def target(self, model) -> Any:
        return columns.Values(model.outputs[0].shape[-1], num_outputs(model))

    def bare_output(self, model) -> tuple:
        return self.results, "numbers as they were learned"

    def loss(self, model, label_smoothing=0.0) -> Any:
        if label_smoothing:
            raise ValueError(f"label_smoothing={label_smoothing} is for classes; {model.name} is for {self.words}")
        return keras.losses.MeanSquaredError(dtype="float32")

    def metrics(self, model) -> list | dict:
        return [keras.metrics.MeanAbsoluteError(), keras.metrics.RootMeanSquaredError()]

    def width_of(self, name, model, how) -> int | None:
        from kzoo.data.sources import table_files

        return super().width_of(name, model, how) if table_files.find(name) else None

    def prepared(self, name, how) -> Any:
        builder = super().prepared(name, how)
        keys = builder.info.supervised_keys
        label = keys[1] if isinstance(keys, tuple) and len(keys) == 2 else "label"
        if label in builder.info.features and hasattr(builder.info.features[label], "num_classes"):
            raise ValueError(f"data set {name!r}: {label!r} is a class, and {self.words} learns numbers")
        return builder

    def read(self, model, outputs) -> Any:
        """The numbers (batch, num_classes) as the model gives them; of several outputs the first."""
        return outputs[0] if isinstance(outputs, list | tuple) else outputs

    def decide(self, results) -> None:
        raise ValueError("data: numbers are neither right nor wrong, so there is no accuracy to compare; leave it out")

    def rows(self, results, class_names, top=3) -> list:
        from kzoo.tasks import reading

        return [{"values": reading.values(row, class_names)} for row in results]

    def shown(self, target, class_names) -> dict:
        from kzoo.tasks import reading

        return {"target": reading.values(target, class_names)}


TASK = Regression()

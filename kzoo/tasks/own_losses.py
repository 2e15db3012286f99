"""A loss and metrics of the user's, as Keras takes them, for models whose outputs are logits."""

import functools
import inspect
import re
from typing import Any

import keras

from kzoo.data import columns
from kzoo.tasks.base import gives_probabilities


class OwnLoss(keras.losses.Loss):
    """A function of targets and outputs as a loss: the mean of what it gives for each example."""

    def __init__(self, function, name):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype="float32")
        self.function = function

    def call(self, y_true, y_pred) -> Any:
        return self.function(y_true, y_pred)


class OfProbabilities(keras.metrics.Metric):
    """A metric of probabilities, for a model that gives logits."""

    def __init__(self, metric, activation):
        super().__init__(name=metric.name)
        self.metric, self.activation = metric, activation

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        """Takes targets and logits."""
        self.metric.update_state(y_true, self.activation(y_pred), sample_weight)

    def result(self) -> Any:
        """What the metric of probabilities gives."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Forgets what the metric has seen."""
        self.metric.reset_state()


def _activation(model, task):
    """What makes probabilities of a model's outputs; None where they are those, or are none."""
    target = task.target(model)
    if isinstance(target, dict):
        raise ValueError(f"{model.name} has a loss and metrics for every output; leave out loss and metrics")
    if gives_probabilities(model) or type(target) is columns.Values:
        return None
    return keras.ops.sigmoid if isinstance(target, columns.Logit | columns.LabelSet) else keras.ops.softmax


def loss_of(loss, model, task, label_smoothing=0.0) -> Any:
    """A loss of Keras, its name or a function as a loss, or None where there is none.

    A name of Keras reads outputs as what they are, logits or probabilities. Raises ValueError for a loss of Keras that
    takes them for the other, or that compares numbers where targets are the places of classes.
    """
    if loss is None:
        return None
    if label_smoothing:
        raise ValueError(f"label_smoothing={label_smoothing} belongs to the task's loss; give it to your own instead")
    are_logits, found = _activation(model, task) is not None, keras.losses.get(loss)
    name = getattr(found, "name", None) or getattr(found, "__name__", "") or type(found).__name__
    is_keras = inspect.getmodule(found if inspect.isfunction(found) else type(found)).__name__.startswith("keras.")
    target = task.target(model)
    if is_keras and "sparse" not in name and not isinstance(target, columns.Values | columns.Logit):
        raise ValueError(
            f"loss {name} compares numbers, and {model.name} learns the places of classes: wanted "
            "sparse_categorical_crossentropy, a function of your own, or a model built with another task="
        )
    if isinstance(found, keras.losses.Loss):
        if are_logits and getattr(found, "from_logits", True) is False and is_keras:
            raise ValueError(f"loss {name} takes probabilities, and {model.name} gives logits: pass from_logits=True")
        return found
    if is_keras and "from_logits" in inspect.signature(found).parameters:
        found = functools.partial(found, from_logits=are_logits)
    return OwnLoss(found, re.sub(r"\W+", "_", name).strip("_") or "loss")


def metrics_beside(more, model, task) -> Any:
    """The task's metrics and the user's, which see probabilities where the task has any."""
    own = task.metrics(model)
    if not more:
        return own
    activation, names = _activation(model, task), {metric.name for metric in own}
    found = [metric for metric in more if not (isinstance(metric, str) and metric in names)]
    return [*own, *(_metric(metric, activation) for metric in found)]


def _metric(metric, activation):
    found = keras.metrics.get(metric)
    if not isinstance(found, keras.metrics.Metric):
        name = re.sub(r"\W+", "_", metric if isinstance(metric, str) else found.__name__).strip("_")
        found = keras.metrics.MeanMetricWrapper(found, name or "metric")
    takes_logits = getattr(found, "from_logits", False) or getattr(found, "_from_logits", False)
    return found if activation is None or takes_logits else OfProbabilities(found, activation)

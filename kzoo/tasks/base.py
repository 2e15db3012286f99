"""What a task is: its loss, its metrics, how its outputs read, its default data and recipe. One row a task."""

import dataclasses
from collections.abc import Callable

import keras
from keras import ops

from kzoo.catalog import card_of
from kzoo.tasks.detection.focal_losses import BoxLoss, FocalLoss, ObjectAccuracy


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

    def call(self, y_true, y_pred):
        if _are_shares(y_true, y_pred):
            loss = ops.categorical_crossentropy(y_true, y_pred, from_logits=self.from_logits)
        else:
            y_true = ops.cast(y_true, "int32")
            loss = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=self.from_logits)
        if not self.label_smoothing:
            return loss
        log_probabilities = ops.log_softmax(y_pred) if self.from_logits else ops.log(ops.maximum(y_pred, 1e-7))
        return (1 - self.label_smoothing) * loss - self.label_smoothing * ops.mean(log_probabilities, axis=-1)

    def get_config(self):
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing, "name": self.name}


@keras.saving.register_keras_serializable("kzoo")
class Accuracy(keras.metrics.MeanMetricWrapper):
    """How often the largest output is the label, or the class with the largest share in the target."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(_are_right, name=name, dtype=dtype)
        self._direction = "up"

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


def _are_shares(y_true, y_pred):
    return len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1] > 1


def _are_right(y_true, y_pred):
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    shares = _are_shares(y_true, y_pred)
    labels = ops.argmax(y_true, axis=-1) if shares else ops.reshape(y_true, ops.shape(y_pred)[:-1])
    return ops.cast(ops.equal(ops.cast(labels, "int32"), ops.cast(ops.argmax(y_pred, axis=-1), "int32")), "float32")


@dataclasses.dataclass(frozen=True)
class Task:
    """One kind of work; `loss(model, label_smoothing)` and `metrics(model)` give fresh Keras objects."""

    name: str
    default_data: str
    loss: Callable
    metrics: Callable
    recipe: dict


def gives_probabilities(model):
    """Whether a classifier ends in softmax or sigmoid instead of logits."""
    return getattr(model.layers[-1], "activation", None) in (keras.activations.softmax, keras.activations.sigmoid)


def probabilities(model, outputs):
    """Class probabilities (batch, ..., num_classes) of a model's outputs; two classes for a single logit.

    Of several outputs the first is meant: the others are auxiliary heads. Raises ValueError for results by name.
    """
    if isinstance(outputs, dict):
        raise ValueError(
            f"{model.name} gives {', '.join(outputs)}, and predictions are for models of one result: build it with "
            "another head, or call the model itself"
        )
    outputs = outputs[0] if isinstance(outputs, list | tuple) else outputs
    if not gives_probabilities(model):
        outputs = ops.sigmoid(outputs) if outputs.shape[-1] == 1 else ops.softmax(outputs)
    return ops.concatenate([1 - outputs, outputs], axis=-1) if outputs.shape[-1] == 1 else outputs


def num_classes(model):
    """How many different labels a classifier's outputs stand for."""
    return max(2, model.outputs[0].shape[-1])


def _sparse_loss(model, label_smoothing=0.0):
    return SparseCrossEntropy(not gives_probabilities(model), label_smoothing)


def _sparse_metrics(model):
    return [Accuracy()]


def _binary_loss(model, label_smoothing=0.0):
    return keras.losses.BinaryCrossentropy(not gives_probabilities(model), label_smoothing, dtype="float32")


def _binary_metrics(model):
    return [keras.metrics.BinaryAccuracy("accuracy", threshold=0.5 if gives_probabilities(model) else 0.0)]


def _token_metrics(model):
    """The cross-entropy without label smoothing, in nats per token, beside the accuracy."""
    return [
        keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True),
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
    ]


def _pretraining_loss(model, label_smoothing=0.0):
    """The sum of both losses, Devlin et al. 2018, section A.2."""
    return {name: SparseCrossEntropy(True, label_smoothing) for name in model.output}


def _pretraining_metrics(model):
    return {name: [Accuracy()] for name in model.output}


def _detection_loss(model, label_smoothing=0.0):
    """The sum of both losses, as in the paper."""
    if label_smoothing:
        raise ValueError(f"the focal loss takes no label_smoothing, got {label_smoothing!r}; leave it at 0")
    return {"class_logits": FocalLoss(), "box_regression": BoxLoss()}


def _detection_metrics(model):
    return {"class_logits": [ObjectAccuracy()]}


ADAM = {"optimizer": "adam", "learning_rate": 1e-3, "epochs": 10, "batch_size": 64}
# Vaswani et al. 2017, sections 5.3 and 5.4
TRANSFORMER = {
    "optimizer": "adam", "beta_2": 0.98, "epsilon": 1e-9, "schedule": "transformer", "warmup_steps": 4000,
    "learning_rate": 1.0, "label_smoothing": 0.1, "clip_norm": 1.0, "epochs": 10, "batch_size": 64,
}  # fmt: skip
# Devlin et al. 2018, section A.2 for pre-training, with a higher rate for small models; A.3 for fine-tuning
LANGUAGE_MODEL = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "decay_vectors": False, "clip_norm": 1.0,
    "schedule": "cosine", "warmup_steps": 100, "epochs": 10, "batch_size": 64,
}  # fmt: skip
DETECTION = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4, "schedule": "cosine", "clip_norm": 1.0,
    "augment": "detection", "epochs": 60, "batch_size": 8,
}  # fmt: skip
FINE_TUNING = {**LANGUAGE_MODEL, "learning_rate": 5e-5, "epochs": 3, "batch_size": 32}

TASKS = {
    task.name: task
    for task in (
        Task("image_classification", "digits", _sparse_loss, _sparse_metrics, ADAM),
        Task("binary_classification", "digits/zero_one", _binary_loss, _binary_metrics, ADAM),
        Task("sequence_classification", "digits/zero_one", _sparse_loss, _sparse_metrics, ADAM),
        Task("translation", "reverse_digits", _sparse_loss, _token_metrics, TRANSFORMER),
        Task("language_modeling", "shakespeare", _sparse_loss, _token_metrics, LANGUAGE_MODEL),
        Task("masked_language_modeling", "shakespeare", _sparse_loss, _token_metrics, LANGUAGE_MODEL),
        Task("sentence_pair_pretraining", "shakespeare", _pretraining_loss, _pretraining_metrics, LANGUAGE_MODEL),
        Task("text_classification", "movie_sentiment", _sparse_loss, _sparse_metrics, FINE_TUNING),
        Task("object_detection", "voc/2007", _detection_loss, _detection_metrics, DETECTION),
        Task("token_classification", "synthetic", _sparse_loss, _sparse_metrics, FINE_TUNING),
    )
}


AUXILIARY_WEIGHT = 0.3


def num_heads(model):
    """How many outputs learn the same labels: auxiliary heads make a list, several results of one head a dict."""
    return len(model.output) if isinstance(model.output, list | tuple) else 1


def plain_names(model, logs):
    """Logs of Keras with the first output's metrics called as if it were the only one: `accuracy`, not `fc_accuracy`.

    The losses of every head keep their names, since `loss` is their weighted sum.
    """
    if num_heads(model) == 1:
        return logs
    mine = f"{model.output_names[0]}_"
    return {_plain(key, "val_" + mine, "val_") or _plain(key, mine, "") or key: value for key, value in logs.items()}


def _plain(key, prefix, instead):
    rest = key.removeprefix(prefix)
    return instead + rest if key.startswith(prefix) and rest != "loss" else None


def of(model):
    """The task of a catalogue model; ValueError for a model that `kzoo.build` did not make."""
    card = card_of(model)
    if card.task is None:
        raise ValueError(f"{model.name} was not built by kzoo.build, so its task is not known")
    return find(card.task, model.name)


def find(name, model_name):
    """The row of that task; ValueError if the model gives what no label is compared with, such as features."""
    if name not in TASKS:
        raise ValueError(
            f"{model_name} is for {name.replace('_', ' ')}, which has no loss here; build it with a head that has one, "
            "such as head='classification'"
        )
    return TASKS[name]


def compile_model(model, optimizer="sgd", label_smoothing=0.0, **options):
    """Compiles a catalogue model with its task's loss and metrics; further options go to `model.compile`.

    Auxiliary heads learn the same labels, each with 0.3 of the weight (Szegedy et al. 2015, section 5).
    """
    task = of(model)
    loss, metrics = task.loss(model, label_smoothing), task.metrics(model)
    if num_heads(model) > 1:
        others = num_heads(model) - 1
        options["loss_weights"] = [1.0] + [AUXILIARY_WEIGHT] * others
        loss, metrics = [task.loss(model, label_smoothing) for _ in model.outputs], [metrics] + [[]] * others
    model.compile(optimizer=optimizer, loss=loss, weighted_metrics=metrics, **options)

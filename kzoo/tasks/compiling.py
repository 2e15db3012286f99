"""Keras' `compile` with a task's loss and metrics, and what it logs as exact means under the names people know."""

from kzoo.tasks import base, own_losses
from kzoo.tasks.losses import MeanLoss


def compile_model(model, optimizer="sgd", label_smoothing=0.0, loss=None, metrics=(), **options) -> None:
    """Compiles a model with its task's loss and metrics; further options go to `model.compile`.

    A `loss` takes the place of the task's and `metrics` stand beside its own, both as Keras takes them. A step follows
    the gradient of the loss's mean over the examples of its batch, or over the tokens that count in it, as torch's
    CrossEntropyLoss(ignore_index=...) does. Auxiliary heads learn the same labels, each with 0.3 of the weight (Szegedy
    et al. 2015, section 5). Raises ValueError for a task that has no loss, such as the extraction of features.
    """
    from kzoo.tasks import of

    task = of(model)
    task.check_trains(model.name)
    task.check_suits(model)
    own = own_losses.loss_of(loss, model, task, label_smoothing)
    loss, metrics = own or task.loss(model, label_smoothing), own_losses.metrics_beside(metrics, model, task)
    others = base.num_outputs(model) - 1
    if others:
        options["loss_weights"] = list(_weights(model).values())
        loss = [own or task.loss(model, label_smoothing) for _ in model.outputs]
        metrics = [metrics] + [[]] * others
    if not model.losses:  # which no metric sees: a model with penalties of its own keeps Keras' averages
        metrics = _with_means(loss, metrics)
    model.compile(optimizer=optimizer, loss=loss, weighted_metrics=metrics, **options)


def measured(model, split) -> dict:
    """Loss and metrics of a model on a split, as floats; one that was compiled by hand is measured as it was."""
    if not model.compiled:
        compile_model(model)
    numbers = model.evaluate(split.dataset, verbose=0, return_dict=True)
    return {key: float(value) for key, value in plain_names(model, numbers).items()}


def _weights(model):
    """What the loss of every output counts for, by the prefix of its logs."""
    names = model.output if isinstance(model.output, dict) else model.output_names
    names = [f"{name}_" for name in names] if len(model.outputs) > 1 else [""]
    weight = base.AUXILIARY_WEIGHT if base.num_outputs(model) > 1 else 1.0
    return {name: weight if index else 1.0 for index, name in enumerate(names)}


def _with_means(loss, metrics):
    if isinstance(loss, dict):
        return {name: [*metrics.get(name, []), MeanLoss(one)] for name, one in loss.items()}
    if isinstance(loss, list):
        return [[*mine, MeanLoss(one)] for mine, one in zip(metrics, loss, strict=True)]
    return [*metrics, MeanLoss(loss)]


def plain_names(model, logs) -> dict:
    """Logs of Keras with losses that are means over all that counts, instead of means of batches' means.

    `loss` is the weighted sum of every output's. The metrics of the first of several heads are called as if it were the
    only one, `accuracy` and not `fc_accuracy`; the losses of every head keep their names.
    """
    weights, logs = _weights(model), dict(logs)
    for split in ("", "val_"):
        keys = {name: f"{split}{name}mean_loss" for name in weights}
        if all(key in logs for key in keys.values()):
            means = {name: logs.pop(key) for name, key in keys.items()}
            logs.update({f"{split}{name}loss": mean for name, mean in means.items()})
            logs[f"{split}loss"] = sum(weights[name] * mean for name, mean in means.items())
    if base.num_outputs(model) == 1:
        return logs
    mine = f"{model.output_names[0]}_"
    return {_plain(key, "val_" + mine, "val_") or _plain(key, mine, "") or key: value for key, value in logs.items()}


def _plain(key, prefix, instead):
    rest = key.removeprefix(prefix)
    return instead + rest if key.startswith(prefix) and rest != "loss" else None

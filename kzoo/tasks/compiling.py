"""Keras' `compile` with a task's loss and metrics, and the names of what it logs."""

from kzoo.tasks import base, own_losses


def compile_model(model, optimizer="sgd", label_smoothing=0.0, loss=None, metrics=(), **options) -> None:
    """Compiles a model with its task's loss and metrics; further options go to `model.compile`.

    A `loss` takes the place of the task's and `metrics` stand beside its own, both as Keras takes them.
    Auxiliary heads learn the same labels, each with 0.3 of the weight (Szegedy et al. 2015, section 5). Raises
    ValueError for a task that has no loss, such as the extraction of features.
    """
    from kzoo.tasks import of

    task = of(model)
    task.check_trains(model.name)
    task.check_suits(model)
    own = own_losses.loss_of(loss, model, task, label_smoothing)
    loss, metrics = own or task.loss(model, label_smoothing), own_losses.metrics_beside(metrics, model, task)
    others = base.num_outputs(model) - 1
    if others:
        options["loss_weights"] = [1.0] + [base.AUXILIARY_WEIGHT] * others
        loss = [own or task.loss(model, label_smoothing) for _ in model.outputs]
        metrics = [metrics] + [[]] * others
    model.compile(optimizer=optimizer, loss=loss, weighted_metrics=metrics, **options)


def plain_names(model, logs) -> dict:
    """Logs of Keras with the first output's metrics called as if it were the only one: `accuracy`, not `fc_accuracy`.

    The losses of every head keep their names, since `loss` is their weighted sum.
    """
    if base.num_outputs(model) == 1:
        return logs
    mine = f"{model.output_names[0]}_"
    return {_plain(key, "val_" + mine, "val_") or _plain(key, mine, "") or key: value for key, value in logs.items()}


def _plain(key, prefix, instead):
    rest = key.removeprefix(prefix)
    return instead + rest if key.startswith(prefix) and rest != "loss" else None

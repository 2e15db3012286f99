"""Training: checks what it is given, prepares the run folder and the model, and runs the loop."""

import contextlib
import dataclasses
import functools
import logging
import os
import pathlib

import keras

import kzoo.data  # whose names import TensorFlow when they are used, which other backends have no need of
from kzoo import graph, tasks
from kzoo.catalog import update_card
from kzoo.support import forks
from kzoo.tasks.feeding import given
from kzoo.training import backup, execution
from kzoo.training.pruning import pruned, sparsity
from kzoo.training.recipe import make_optimizer, make_recipe, with_short_warmup
from kzoo.training.reports import metrics_of
from kzoo.training.resuming import State, identity, restored
from kzoo.training.run_folder import open_run
from kzoo.training.run_loop import Loop


@dataclasses.dataclass(repr=False)
class Run:
    """What `fit` returns: where the files are, and a history with one row of numbers for each epoch.

    `kept_epoch` is the epoch (from 1) whose weights the model holds: the best with early stopping, else the last.
    `execution` says how the steps ran: with XLA or not and why, how many between two returns to Python, and in which
    dtype policy. `sparsity` is the `kzoo.sparsity` of a model that was pruned, and None for others.
    """

    folder: pathlib.Path | None
    history: list
    kept_epoch: int
    message: str
    execution: str
    sparsity: dict | None = None

    def __repr__(self) -> str:
        last = metrics_of(self.history[-1]) if self.history else {}
        values = "; ".join(f"{key} {value:.4g}" for key, value in last.items())
        return f"<kzoo run in {self.folder or 'no folder'}: {self.message}{values and '; last epoch: '}{values}>"


def fit(
    model, data=None, *more, y=None, validation_data=None, columns=None, run_folder=None, loss=None, metrics=None,
    resume=False, overwrite=False, force=False, callbacks=(), progress=True, **choices,
) -> Run:  # fmt: skip
    """Trains a model by its task's recipe: `fit(model, "digits", "runs/digits")`, or `fit(model, x, y, "runs/mine")`.

    Args:
        model: a model of `kzoo.build` or `kzoo.adopt`; it is compiled here.
        data: a `kzoo.data.Data`; the name or path of a data set, None for the task's default; x; a pair (x, y); a frame
            of pandas or a data set of Hugging Face; a `tf.data.Dataset`, or anything with a length, of batches (x, y).
            Inputs are arrays, texts where the model takes tokens, and a list or dict of them where it takes several.
        *more: y where `data` is x, and `run_folder`.
        y: targets, words among them, or the name of a table's column.
        validation_data: in the same forms; by default a part of the training examples is set aside.
        columns: those of a table, in a file or in memory, that are meant, by name or by number from 0: "text,label",
            the last one to be learned, or "width,height:price,rent".
        run_folder: where weights, full-state backups, history, curves and events go; with None nothing is written.
        loss: a loss of Keras, its name or a function, in place of the task's.
        metrics: metrics of Keras or their names, beside the task's.
        resume: continue the run in `run_folder` from its last backup; the weights come out bit for bit as if it had
            never stopped. In a folder that is empty or does not exist, a new run starts.
        overwrite: start again in a `run_folder` that holds a run, deleting it.
        force: resume although the epochs, early stopping, learning rate or versions differ.
        callbacks: further `keras.callbacks.Callback`s; state that they keep in themselves is not saved.
        progress: show a progress bar on standard error.
        **choices: any field of `kzoo.training.Recipe`, such as `epochs=3, learning_rate=1e-4`.

    Returns a `Run`. Raises ValueError or TypeError for bad input before the first step, and `NonFiniteError` if the
    loss or a weight stops being finite: the last good state is kept in the run folder and restored into the model.
    SIGINT and SIGTERM save the full state after the steps under way and raise KeyboardInterrupt or SystemExit(143).
    """
    forks.check("kzoo.fit")
    task = tasks.of(model)
    task.check_trains(model.name)
    y, run_folder = _told_apart(more, y, run_folder)
    data = given.read(model, data, y, validation_data, columns)
    recipe = make_recipe(_defaults(model, task, data, choices), choices)
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    trainee = task.trainee(model)
    trainee.use(loss, metrics)
    data = _load_data(trainee, data, recipe, columns)
    folder = _open_folder(run_folder, resume, overwrite)
    # What the data say of the model's inputs and classes travels with its weights from here on.
    known = {"tokenizer": data.tokenizer, "class_names": data.class_names, "trims_silence": data.trims_silence}
    update_card(model, preprocessing=data.preprocessing, **{key: value for key, value in known.items() if value})
    _freeze(trainee, recipe.train_from)
    num_batches = data.train.num_batches
    begun = open_run(folder).facts if folder and resume else {}
    epochs = begun["recipe"].get("epochs", recipe.epochs) if begun else recipe.epochs
    recipe = with_short_warmup(recipe, choices, epochs * num_batches)  # a run that goes on keeps its own
    num_steps = recipe.epochs * num_batches
    optimizer_of = functools.partial(make_optimizer, recipe, num_steps=num_steps)
    chosen = trainee.compile(recipe, optimizer_of, functools.partial(execution.choose, recipe, num_batches=num_batches))
    trainee.build(next(iter(data.train.epoch(0))))
    with (
        open_run(folder).locked() if folder else contextlib.nullcontext(),
        pruned(trainee, recipe, num_steps) as pruning,
        execution.in_effect(trainee.networks, chosen.fuse),
    ):
        if folder:  # again, since another run may have come and gone while the data were loaded
            open_run(folder).prepare(resume, overwrite)
        if folder and overwrite:  # only now that nothing speaks against the new run
            open_run(folder).clear()
        facts = identity(trainee, recipe, data, chosen.fuse)
        state = restored(trainee, folder, facts, force) if resume else State()
        loop = Loop(trainee, data, recipe, folder, facts, state, pruning=pruning)
        message = _train(loop, callbacks, progress)
    how = execution.describe(trainee, chosen)
    return Run(folder, state.history, loop.kept_epoch(), message, how, sparsity(model) if recipe.prune else None)


def _train(loop, callbacks, progress):
    """Runs a loop to its end and puts the weights to keep into the model; returns a sentence about what was done."""
    state, folder = loop.state, loop.folder
    if state.finished:
        loop.trainee.load_weights(folder)
        return f"already complete (epoch {state.epoch}/{loop.recipe.epochs}); nothing was trained"
    if folder:
        open_run(folder).describe(loop.trainee, loop.identity)
    if folder and not isinstance(loop.data.train, kzoo.data.Split):
        logging.getLogger("kzoo").warning("; ".join(loop.data.notes))
    try:
        loop.run(callbacks, progress)
    except backup.NonFiniteError as error:
        raise backup.NonFiniteError(f"{error}; {loop.return_to_last_backup()}") from error
    except Exception as error:
        if fault := getattr(loop.data.train, "fault", None):
            raise fault from error
        raise
    loop.return_to_kept_epoch()
    return f"trained {state.epoch} epochs, kept the weights of epoch {loop.kept_epoch()}"


def _told_apart(more, y, run_folder):
    """Targets and the run's folder, of which both may come by place."""
    for value in more:
        if value is None or isinstance(value, str | os.PathLike):
            if run_folder is not None:
                raise TypeError(f"fit got two run folders, {run_folder} and {value}")
            run_folder = value
        elif y is not None:
            raise TypeError("fit got y twice; wanted fit(model, x, y, run_folder)")
        else:
            y = value
    return y, run_folder


def _defaults(model, task, data, choices):
    """The task's recipe with what loaded data has already settled; ValueError where a choice says otherwise."""
    card = model.kzoo
    recipe = tasks.recipe_of(card.name, card.overrides) if card.architecture else task.recipe
    if not isinstance(data, kzoo.data.Data):
        return recipe
    if data.train is None:
        raise ValueError(f"no training examples: data set {data.name} has no training split")
    settled = {"batch_size": data.train.batch_size, "augment": data.augment}
    for key, value in settled.items():
        if choices.get(key, value) != value:
            raise ValueError(
                f"data {data.name} was loaded with {key}={value} and fit is asked for {key}={choices[key]}; "
                f"load the data with {key}={choices[key]}"
            )
    return {**recipe, **settled}


def _load_data(trainee, data, recipe, columns):
    options = {"batch_size": recipe.batch_size, "seed": recipe.seed, "augment": recipe.augment}
    if not isinstance(data, kzoo.data.Data):
        data = given.loaded(trainee.model, data, names=columns, **options)
    trainee.check(data)
    if recipe.early_stopping and data.validation is None:
        raise ValueError(f"early_stopping needs validation data, and {data.name} has none")
    return data


def _open_folder(run_folder, resume, overwrite):
    """The run folder as a path, ready for a run; None for a run that writes nothing."""
    if resume and overwrite:
        raise ValueError("resume=True continues a run and overwrite=True deletes it; pass one of them")
    if run_folder is None:
        if resume:
            raise ValueError("resume=True needs the run_folder to resume")
        return None
    run = open_run(run_folder)
    run.prepare(resume, overwrite)
    return run.path


def _freeze(trainee, train_from):
    """Makes what comes before `train_from` untrainable; Keras then also runs its batch norms in inference mode."""
    if train_from is None:
        return
    model = trainee.model
    if len(trainee.parts) > 1:
        raise ValueError(f"train_from={train_from!r} is for one network; {model.name} trains {len(trainee.parts)}")
    if any(row["rewrite"] == "lora" for row in model.kzoo.rewrites):
        raise ValueError(
            f"train_from={train_from!r} would train the frozen layers of {model.name}, which has low-rank updates; "
            "name more layers to train in kzoo.lora(..., train=) (--lora-train)"
        )
    frozen = graph.layers_before(model, train_from)
    for layer in model.layers:
        layer.trainable = layer not in frozen
    if not model.trainable_variables:
        raise ValueError(f"train_from={train_from!r} leaves nothing to train in {model.name}")

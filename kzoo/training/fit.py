"""The training loop: initialise, forward, loss, backward, update, repeat; interrupted anywhere, resumed bit for bit."""

import dataclasses
import json
import pathlib
import shutil
import sys
import time

import keras

from kzoo import atomic, checkpoint, tasks
from kzoo.training import backup, reports
from kzoo.training.callbacks import OneRun, ProgressBar, Signals, StepWatch
from kzoo.training.recipe import make_optimizer, make_recipe

RUN_FILE = "run.json"
# Differences between a backup and the run that resumes it: these change no number, ...
HARMLESS = {"recipe.tensorboard", "recipe.backup_steps", "recipe.steps_per_execution"}
# ... these change what follows, which the user may want (force=True); any other difference is another run.
FORCIBLE = {"recipe.epochs", "recipe.early_stopping", "recipe.learning_rate", "recipe.deterministic", "keras", "backend"}
SMALL_MODEL = 5_000_000  # parameters; below, the way back to Python between steps costs more than it tells


@dataclasses.dataclass
class State:
    """Where a run stands; stored in every backup."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done in the epoch after those
    history: list = dataclasses.field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    finished: bool = False


@dataclasses.dataclass
class Run:
    """What `fit` returns: where the files are and one row of numbers an epoch.

    `kept_epoch` is the epoch (from 1) whose weights the model holds: the best with early stopping, else the last.
    """

    folder: pathlib.Path | None
    history: list
    kept_epoch: int
    message: str


def fit(
    model, data=None, run_folder=None, *, resume=False, overwrite=False, force=False, callbacks=(), progress=True, **choices
):
    """Trains a catalogue model by its task's recipe.

    Args:
        model: a model of `kzoo.build`; compiled here.
        data: a `kzoo.data.Data`, the name of a data set, or None for the task's default.
        run_folder: where weights, full-state backups, history, curves and events go; None writes nothing.
        resume: continue the run in `run_folder` from its last backup; weights come out bit for bit as if it had never
            stopped. With no backup there, start.
        overwrite: start again in a `run_folder` that holds something, deleting it.
        force: resume although epochs, early stopping, learning rate or versions differ.
        callbacks: more `keras.callbacks.Callback`s.
        progress: show a progress bar on standard error.
        **choices: any field of `kzoo.training.Recipe`, such as `epochs=3, learning_rate=1e-4`.

    Returns a `Run`. Raises ValueError or TypeError for bad input before the first step, and `NonFiniteError` if the loss
    or a weight stops being finite: the last good state is kept in the run folder and restored into the model.
    """
    task = tasks.of(model)
    recipe = make_recipe(task.recipe, choices)
    _seed(recipe)
    data = _load_data(model, data, recipe, task)
    if data.train is None:
        raise ValueError(f"no training examples: data set {data.name} has no training split")
    if recipe.early_stopping and data.validation is None:
        raise ValueError(f"early_stopping needs validation data, and {data.name} has none")
    folder = _prepare_folder(run_folder, resume, overwrite)
    num_batches = data.train.num_batches
    _compile(model, recipe, data, num_batches)

    identity = _identity(model, recipe, data)
    state = _resume(model, folder, identity, force) if resume and folder else State()
    if state.finished:
        checkpoint.load_weights(model, folder)
        message = f"already complete (epoch {state.epoch}/{recipe.epochs}); nothing was trained"
        return Run(folder, state.history, _kept_epoch(state, recipe), message)
    if folder and not state.history and not state.step:
        _describe_run(folder, model, data, identity)

    def save(step=0):
        state.step = step
        if hasattr(model, "jax_state_sync"):  # on JAX the variables lag behind until asked
            model.jax_state_sync()
        if folder:
            backup.write(folder, model, {"identity": identity, **dataclasses.asdict(state)})

    with Signals() as signals:
        bar = ProgressBar(recipe.epochs, num_batches) if progress else None
        watch = StepWatch(data.train, signals, save, recipe.backup_steps)
        extra = [bar] if bar else []
        loop = _Loop(model, data, recipe, folder, state, save, signals, watch, bar, [watch, *extra, *callbacks])
        try:
            loop.run()
        except backup.NonFiniteError as error:
            raise backup.NonFiniteError(f"{error}; {_return_to_last_good_state(folder, model)}") from error
        finally:
            if bar:
                bar.close()
    if folder:
        reports.draw_curves(folder / "curve.png", state.history, f"{model.kzoo.name} on {data.name}")
    kept = _kept_epoch(state, recipe)
    if kept != state.epoch:
        checkpoint.load_weights(model, folder)
    return Run(folder, state.history, kept, f"trained {state.epoch} epochs, kept the weights of epoch {kept}")


class _Loop:
    """One run from its current state to its last epoch."""

    def __init__(self, model, data, recipe, folder, state, save, signals, watch, bar, callbacks):
        self.model, self.data, self.recipe, self.folder, self.state = model, data, recipe, folder, state
        self.save, self.signals, self.watch, self.bar = save, signals, watch, bar
        self.callbacks = OneRun(callbacks, add_history=True, model=model)
        self.events = reports.EventWriter(folder / "tensorboard") if folder and recipe.tensorboard else None

    def run(self):
        state = self.state
        if state.step:
            self.watch.metrics_state = [keras.ops.convert_to_numpy(v.value) for v in self.model.metrics_variables]
        self.callbacks.begin()
        if not state.epoch and not state.step:
            self.save()  # a state to return to, whatever happens in the first epoch
        for epoch in range(state.epoch, self.recipe.epochs):
            row = self._train_epoch(epoch)
            self._keep(row)
            if self.bar:
                self.bar.epoch_done(row)
            if state.finished:
                break
            if self.signals.received:
                self.signals.act()
        self.callbacks.end()
        if self.events:
            self.events.close()

    def _train_epoch(self, epoch):
        begin = time.perf_counter()
        skipped = self.state.step
        self.watch.start(epoch, skipped)
        if self.bar:
            self.bar.skipped = skipped
        validation = self.data.validation
        history = self.model.fit(
            self.data.train.epoch(epoch, skipped),
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=validation.dataset if validation else None,
            callbacks=self.callbacks,
            shuffle=False,  # the split shuffles
            verbose=0,
        )
        row = {"epoch": epoch + 1, **{key: float(values[-1]) for key, values in history.history.items()}}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.perf_counter() - begin, 3)
        return row

    def _keep(self, row):
        """Books a finished epoch. The backup comes after the weights: killed between, the epoch is done again, alike."""
        state, patience = self.state, self.recipe.early_stopping
        state.history.append(row)
        state.epoch = row["epoch"]
        improved = not patience or state.best is None or row["val_loss"] < state.best
        if improved:
            state.best, state.best_epoch = row.get("val_loss"), row["epoch"]
        stopped = bool(patience) and row["epoch"] - state.best_epoch >= patience
        state.finished = stopped or self.model.stop_training or row["epoch"] == self.recipe.epochs
        if not self.folder:
            return
        backup.check_finite(self.model)
        if improved:
            checkpoint.save_weights(self.model, self.folder / checkpoint.WEIGHTS_FILE)
        self.save()
        reports.write_history(self.folder, state.history)
        if self.events:
            self.events.write(row)


def _kept_epoch(state, recipe):
    return state.best_epoch if recipe.early_stopping else state.epoch


def _seed(recipe):
    keras.utils.set_random_seed(recipe.seed)
    if recipe.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _load_data(model, data, recipe, task):
    if data is not None and not isinstance(data, str):
        if data.train is not None and data.train.batch_size != recipe.batch_size:
            raise ValueError(f"data {data.name} was loaded with batch_size={data.train.batch_size} and the recipe says "
                             f"{recipe.batch_size}; pass fit the same batch_size")  # fmt: skip
        return data
    from kzoo.data import load

    return load(
        data or task.default_data, model, batch_size=recipe.batch_size, seed=recipe.seed, augment=recipe.augment
    )


def _prepare_folder(run_folder, resume, overwrite):
    if run_folder is None:
        if resume:
            raise ValueError("resume=True needs the run_folder to resume")
        return None
    folder = pathlib.Path(run_folder)
    if folder.is_dir() and any(folder.iterdir()) and not resume:
        if not overwrite:
            raise ValueError(
                f"{folder} is not empty; resume the run in it (--resume), start again in it (--overwrite), "
                "or name another folder"
            )
        if not (folder / RUN_FILE).exists():
            raise ValueError(f"{folder} is not empty and holds no training run, so it is not overwritten; name another folder")
        shutil.rmtree(folder)
    atomic.require_writable(folder)
    return folder


def _compile(model, recipe, data, num_batches):
    """Compiles, and builds optimizer and metrics now, so that a backup can be restored before the first step."""
    optimizer = make_optimizer(recipe, model, recipe.epochs * num_batches)
    steps = recipe.steps_per_execution or (20 if model.count_params() < SMALL_MODEL else 1)
    tasks.compile_model(
        model, optimizer, recipe.label_smoothing, steps_per_execution=max(1, min(steps, num_batches))
    )
    model.optimizer.build(model.trainable_variables)
    x, y, weight = keras.utils.unpack_x_y_sample_weight(next(iter(data.train.epoch(0))))
    outputs = model(x, training=False)
    model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weight)
    model.compute_metrics(x, y, outputs, sample_weight=weight)
    model.reset_metrics()


def _identity(model, recipe, data):
    """What a resumed run must share with the run that was interrupted."""
    identity = {
        "model": {"name": model.kzoo.name, "overrides": model.kzoo.overrides},
        "recipe": dataclasses.asdict(recipe),
        "data": data.fingerprint,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
    return json.loads(json.dumps(identity))  # tuples become lists, as they will in the backup


def _resume(model, folder, identity, force):
    path, saved, warning = backup.read_state(folder)
    if path is None:
        return State()
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    then, now = _flat(saved.pop("identity")), _flat(identity)
    differing = {key for key in then.keys() | now.keys() if then.get(key) != now.get(key)} - HARMLESS
    longer = now["recipe.epochs"] >= then["recipe.epochs"] and then["recipe.schedule"] != "cosine"
    if longer:
        differing.discard("recipe.epochs")
    if differing - FORCIBLE or (differing and not force):
        listed = "; ".join(f"{key} was {then.get(key)!r}, now {now.get(key)!r}" for key in sorted(differing))
        hint = "start another run" if differing - FORCIBLE else "pass force=True (--force) to go on all the same"
        raise ValueError(f"{folder} cannot be resumed like this: {listed}; {hint}")
    state = State(**saved)
    if longer and now["recipe.epochs"] > state.epoch and state.epoch == then["recipe.epochs"]:
        state.finished = False
    backup.restore(path, model)
    return state


def _flat(nested, prefix=""):
    if not isinstance(nested, dict):
        return {prefix[:-1]: nested}
    return {key: value for name, item in nested.items() for key, value in _flat(item, f"{prefix}{name}.").items()}


def _describe_run(folder, model, data, identity):
    """Writes `run.json` and what is needed to use the weights without the run: `model.json` and the tokenizer."""
    checkpoint.write_description(model, folder, class_names=data.class_names)
    if getattr(data, "tokenizer", None):
        data.tokenizer.save(folder / "tokenizer.json")
    with atomic.file(folder / RUN_FILE) as temporary:
        temporary.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")


def _return_to_last_good_state(folder, model):
    if not folder:
        return "no run folder was given, so there is no last good state to return to"
    path, state, _ = backup.read_state(folder)
    backup.restore(path, model)
    return f"the last good state (epoch {state['epoch']}, step {state['step']}) is kept in {folder}"

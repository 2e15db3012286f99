"""The training loop: epoch after epoch through `model.fit`, each recorded and saved so that it can be repeated."""

import contextlib
import dataclasses
import math
import pathlib
import shlex
import signal
import sys
import time

import keras

from kzoo.training import averaging, backup, reports
from kzoo.training.callbacks import OneRun, ProgressBar, Signals, StepWatch, learning_rate
from kzoo.training.recipe import Recipe
from kzoo.training.resuming import State
from kzoo.training.run_folder import IN_MEMORY


@dataclasses.dataclass
class Loop:
    """One run from its current state to its last epoch."""

    trainee: object  # a `kzoo.tasks.trainee.Trainee`, compiled and built
    data: object
    recipe: Recipe
    folder: pathlib.Path | None
    identity: dict
    state: State
    best_weights: list | None = None  # kept here where there is no folder
    pruning: object = None  # the `Pruning` of a run that prunes

    def run(self, callbacks, progress) -> None:
        """Trains to the end with the user's callbacks and, if wanted, a progress bar."""
        self.watch = StepWatch(self)
        bar = ProgressBar(self) if progress else None
        events = reports.EventWriter(self.folder / "tensorboard") if self.folder and self.recipe.tensorboard else None
        with contextlib.ExitStack() as stack:
            self.signals = stack.enter_context(Signals())
            for report in filter(None, (bar, events)):
                stack.callback(report.close)
            watching = [self.watch, bar] if bar else [self.watch]
            everyone = OneRun([*watching, *callbacks], self.trainee.logs, add_history=True, model=self.trainee.runner)
            everyone.begin()
            if not self.state.epoch and not self.state.step:
                self.save()  # a state to return to, whatever happens in the first epoch
            for epoch in range(self.state.epoch, self.recipe.epochs):
                row = self._train_epoch(epoch, everyone)
                self._keep(row, events)
                if bar:
                    bar.epoch_done(row)
                if self.state.finished:
                    break
                if self.signals.received:
                    self.stop()
            everyone.end()

    def _train_epoch(self, epoch, callbacks):
        begin = time.perf_counter()
        self.watch.start(epoch, self.state.step)
        validation = self.data.validation
        history = self.trainee.runner.fit(
            self.data.train.epoch(epoch, self.state.step),
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=validation.dataset if validation else None,
            callbacks=callbacks,
            shuffle=False,  # the split shuffles
            verbose=0,
        )
        last = {key: float(values[-1]) for key, values in history.history.items()}
        seconds = round(time.perf_counter() - begin, 3)
        return {"epoch": epoch + 1, **last, "learning_rate": learning_rate(self.trainee), "seconds": seconds}

    def _keep(self, row, events):
        """Records a finished epoch. The backup comes last: a run killed before it repeats the epoch identically."""
        if self.pruning and row["epoch"] == self.recipe.epochs:
            self.pruning.finish()
        try:
            backup.check_finite(self.trainee)
        except backup.NonFiniteError as error:
            raise backup.NonFiniteError(f"{error} {self.watch.where()}") from error
        state, patience = self.state, self.recipe.early_stopping
        state.history.append(row)
        state.epoch, state.step = row["epoch"], 0
        loss = row.get("val_loss", math.inf)
        loss = loss if math.isfinite(loss) else sys.float_info.max
        improved = not patience or state.best is None or loss < state.best
        if improved:
            # An epoch that is not sparse enough yet is the best only until the next one.
            settled = not self.pruning or self.pruning.is_complete()
            state.best, state.best_epoch = loss if settled else None, row["epoch"]
        stopped = bool(patience) and row["epoch"] - state.best_epoch >= patience
        state.finished = stopped or self.trainee.runner.stop_training or row["epoch"] == self.recipe.epochs
        self.trainee.epoch_done(self.folder, row["epoch"])
        if not self.folder:
            if patience and improved:
                with averaging.averaged(self.trainee.networks):
                    self.best_weights = [keras.ops.convert_to_numpy(weight) for weight in self.trainee.weights]
            return
        if improved:
            with averaging.averaged(self.trainee.networks):
                self.trainee.save_weights(self.folder)
        reports.write_history(self.folder, state.history)
        if events:
            events.write(row)
        if state.finished:
            title = f"{self.trainee.model.kzoo.name} on {self.data.name}"
            reports.draw_curves(self.folder / "curve.png", state.history, title)
        self.save()

    def save(self, step=0) -> None:
        """Writes the full state, with `step` steps of the epoch under way done."""
        self.state.step = step
        if self.folder:
            backup.write(self.folder, self.trainee, {"identity": self.identity, **dataclasses.asdict(self.state)})

    def stop(self) -> None:
        """Raises, at a safe point, what a signal means: KeyboardInterrupt for SIGINT, SystemExit(143) for SIGTERM."""
        state = self.state
        where = f"in epoch {state.epoch + 1} after step {state.step}" if state.step else f"after epoch {state.epoch}"
        saved = "nothing is saved, since no run folder was given"
        if self.folder:
            how = f"kzoo train --run-folder {shlex.quote(str(self.folder))} --resume"
            if self.data.name in IN_MEMORY:
                how = f"kzoo.fit(model, ..., run_folder={str(self.folder)!r}, resume=True)"
            saved = f"the full state is saved; go on with: {how}"
        message = f"interrupted {where}; {saved}"
        if self.signals.received == signal.SIGINT:
            raise KeyboardInterrupt(message)
        print(f"kzoo: {message}", file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM)

    def kept_epoch(self) -> int:
        """The epoch (from 1) whose weights the run keeps: the best with early stopping, else the last."""
        return self.state.best_epoch if self.recipe.early_stopping else self.state.epoch

    def return_to_kept_epoch(self) -> None:
        """Puts the weights of the kept epoch into the model, which ends training with those of the last epoch."""
        averaging.settle(self.trainee.networks)
        if self.folder and self.kept_epoch() != self.state.epoch:
            self.trainee.load_weights(self.folder)
        elif self.best_weights:
            for weight, value in zip(self.trainee.weights, self.best_weights, strict=True):
                weight.assign(value)

    def return_to_last_backup(self) -> str:
        """Restores the last good state after a failure; returns a sentence that says which it is."""
        if not self.folder:
            return "no run folder was given, so there is no last good state to return to"
        path, state, _ = backup.read_state(self.folder)
        if path is None:
            return "there was no good state before it"
        backup.restore(path, self.trainee)
        return (
            f"the last good state (epoch {state['epoch']}, step {state['step']}) is kept in {self.folder}; "
            "to go on from it with a lower learning_rate, resume with force=True (--resume --force)"
        )

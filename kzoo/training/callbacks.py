"""What happens between two steps: watching for NaN, backups, interruption, progress."""

import contextlib
import math
import signal
import threading

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kzoo.training.backup import NonFiniteError


class OneRun(keras.callbacks.CallbackList):
    """A callback list for a run that calls `model.fit` once an epoch: training begins and ends once, not every epoch."""

    def on_train_begin(self, logs=None):
        pass

    def on_train_end(self, logs=None):
        pass

    def begin(self):
        super().on_train_begin()

    def end(self):
        super().on_train_end()


class Signals:
    """While entered, the first SIGINT or SIGTERM is only noted, so that a safe point can act on it; a second one acts."""

    received = None

    def __enter__(self):
        self.previous = {}
        if threading.current_thread() is threading.main_thread():
            self.previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number, frame):
        self.received = number
        signal.signal(number, self.previous[number])

    def __exit__(self, *error):
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def act(self):
        """Raises what the noted signal means: KeyboardInterrupt, or SystemExit(143) for SIGTERM."""
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)


class StepWatch(keras.callbacks.Callback):
    """After each execution of steps: stops on NaN, backs up when due, and on a signal saves and stops.

    `save(step)` writes the full state with `step` steps of the current epoch done.
    """

    def __init__(self, split, signals, save, backup_steps=None):
        super().__init__()
        self.split = split
        self.signals = signals
        self.save = save
        self.backup_steps = backup_steps
        self.skipped = 0
        self.metrics_state = None

    def start(self, epoch, skipped):
        """Announces the epoch and how many of its steps were done before an interruption."""
        self.current_epoch, self.skipped, self.done, self.saved = epoch, skipped, skipped, skipped

    def on_epoch_begin(self, epoch, logs=None):
        if self.metrics_state is not None:  # keras resets the metrics just before
            for variable, value in zip(self.model.metrics_variables, self.metrics_state, strict=True):
                variable.assign(value)
            self.metrics_state = None

    def on_train_batch_end(self, batch, logs=None):
        first, self.done = self.done, min(self.skipped + batch + 1, self.split.num_batches)
        if logs and not math.isfinite(logs["loss"]):
            raise NonFiniteError(self._where(first, logs["loss"]))
        due = self.backup_steps and self.done - self.saved >= self.backup_steps
        if (due or self.signals.received) and self.done < self.split.num_batches:
            self.save(self.done)
            self.saved = self.done
            if self.signals.received:
                self.signals.act()

    def _where(self, first, loss):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        size = self.split.batch_size
        ids = self.split.example_ids(self.current_epoch)[first * size : self.done * size]
        steps = f"step {self.done}" if self.done == first + 1 else f"steps {first + 1} to {self.done}"
        return (
            f"the loss became {loss} in epoch {self.current_epoch + 1}, {steps} "
            f"(learning rate {rate:.3g}, examples {', '.join(str(i) for i in ids[:4])}, ...)"
        )


def summary(row, num_epochs):
    """One line about an epoch."""
    values = "  ".join(
        f"{key} {value:.4g}" for key, value in row.items() if key not in ("epoch", "seconds", "learning_rate")
    )
    return f"epoch {row['epoch']}/{num_epochs}  {values}  {row['seconds']:.1f} s"


class ProgressBar(keras.callbacks.Callback):
    """A bar for the epoch under way, and a line for each one done; on a plain stream the lines alone."""

    def __init__(self, num_epochs, num_batches):
        super().__init__()
        self.num_epochs, self.num_batches, self.skipped = num_epochs, num_batches, 0
        self.console = Console(stderr=True)
        self.bar = None

    def on_epoch_begin(self, epoch, logs=None):
        if not self.console.is_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[values]}"))  # fmt: skip
        self.bar = Progress(*columns, console=self.console, transient=True)
        self.task = self.bar.add_task(
            f"epoch {epoch + 1}/{self.num_epochs}", total=self.num_batches, completed=self.skipped, values=""
        )
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None):
        if self.bar:
            values = "  ".join(f"{key} {float(value):.4g}" for key, value in (logs or {}).items())
            done = min(self.skipped + batch + 1, self.num_batches)
            self.bar.update(self.task, completed=done, values=values)

    def epoch_done(self, row):
        self.close()
        self.skipped = 0
        self.console.print(summary(row, self.num_epochs), highlight=False, soft_wrap=True)

    def close(self):
        if self.bar:
            with contextlib.suppress(Exception):
                self.bar.stop()
            self.bar = None

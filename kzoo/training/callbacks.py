"""What happens between two steps: watching for NaN, backups, interruption, progress."""

import contextlib
import math
import signal
import threading

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kzoo.training.backup import NonFiniteError
from kzoo.training.reports import metrics_of


class OneRun(keras.callbacks.CallbackList):
    """A callback list for a run that calls `model.fit` once per epoch: training begins and ends only once.

    Args:
        plain: `plain(logs)` gives what Keras logs by the names that people read.
    """

    def __init__(self, callbacks, plain, **options):
        super().__init__(callbacks, **options)
        self.plain = plain

    def on_train_batch_end(self, batch, logs=None) -> None:
        super().on_train_batch_end(batch, logs and self.plain(logs))

    def on_test_batch_end(self, batch, logs=None) -> None:
        super().on_test_batch_end(batch, logs and self.plain(logs))

    def on_test_end(self, logs=None) -> None:
        super().on_test_end(logs and self.plain(logs))

    def on_epoch_end(self, epoch, logs=None) -> None:
        super().on_epoch_end(epoch, logs and self.plain(logs))

    def on_train_begin(self, logs=None) -> None:
        pass

    def on_train_end(self, logs=None) -> None:
        pass

    def begin(self) -> None:
        super().on_train_begin()

    def end(self) -> None:
        super().on_train_end()


class Signals:
    """While entered, notes the first SIGINT or SIGTERM, to be acted on at a safe point; a second one acts at once."""

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


class StepWatch(keras.callbacks.Callback):
    """After each execution of steps of a `Loop`: stops on NaN, backs up when due, and on a signal saves and stops."""

    def __init__(self, loop):
        super().__init__()
        self.loop, self.split, self.metrics_state = loop, loop.data.train, None

    def start(self, epoch, skipped) -> None:
        """Prepares for an epoch, `skipped` of whose steps were done before an interruption."""
        self.epoch, self.skipped = epoch, skipped
        self.first = self.done = self.saved = skipped
        if skipped:
            self.metrics_state = [keras.ops.convert_to_numpy(v.value) for v in self.model.metrics_variables]

    def on_epoch_begin(self, epoch, logs=None) -> None:
        if self.metrics_state is not None:  # Keras resets the metrics just before this
            for variable, value in zip(self.model.metrics_variables, self.metrics_state, strict=True):
                variable.assign(value)
            self.metrics_state = None

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.first, self.done = self.done, min(self.skipped + batch + 1, self.split.num_batches)
        for name, value in (logs or {}).items():
            if name.endswith("loss") and not math.isfinite(value):
                raise NonFiniteError(f"the {name.replace('_', ' ')} became {float(value)} {self.where()}")
        backup_steps = self.loop.recipe.backup_steps
        due = backup_steps and self.done - self.saved >= backup_steps
        if not (due or self.loop.signals.received) or self.done == self.split.num_batches:
            return
        self._sync()
        try:
            self.loop.save(self.done)
        except NonFiniteError as error:
            raise NonFiniteError(f"{error} {self.where()}") from error
        self.saved = self.done
        if self.loop.signals.received:
            self.loop.stop()

    def _sync(self):
        if hasattr(self.model, "jax_state_sync"):  # on JAX the variables are empty between steps until asked for
            self.model.jax_state_sync()

    def where(self) -> str:
        """The last steps done, as a phrase for an error: epoch, steps, learning rate and the first examples."""
        self._sync()
        rate, size = learning_rate(self.loop.trainee), self.split.batch_size
        ids = self.split.example_ids(self.epoch)[self.first * size : self.done * size][:4]
        steps = f"step {self.done}" if self.done == self.first + 1 else f"steps {self.first + 1} to {self.done}"
        examples = f"examples {', '.join(map(str, ids))}, ..."
        return f"in epoch {self.epoch + 1}, {steps} (learning rate {rate:.3g}, {examples})"


def learning_rate(trainee) -> float:
    """The learning rate of the next step of the first network."""
    return float(keras.ops.convert_to_numpy(trainee.networks[0][1].learning_rate))


def _in_words(values):
    return "  ".join(f"{key} {float(value):.4g}" for key, value in values.items())


class ProgressBar(keras.callbacks.Callback):
    """A bar for the epoch of a `Loop` under way, and a line for each one done; on a plain stream the lines alone."""

    def __init__(self, loop):
        super().__init__()
        self.loop, self.num_epochs, self.num_batches = loop, loop.recipe.epochs, loop.data.train.num_batches
        self.console = Console(stderr=True)
        self.bar = None

    def on_epoch_begin(self, epoch, logs=None) -> None:
        if not self.console.is_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[values]}"))  # fmt: skip
        self.bar, self.skipped = Progress(*columns, console=self.console, transient=True), self.loop.state.step
        name = f"epoch {epoch + 1}/{self.num_epochs}"
        self.task = self.bar.add_task(name, total=self.num_batches, completed=self.skipped, values="")
        self.bar.start()

    def on_train_batch_end(self, batch, logs=None) -> None:
        if self.bar:
            done = min(self.skipped + batch + 1, self.num_batches)
            self.bar.update(self.task, completed=done, values=_in_words(logs or {}))

    def epoch_done(self, row) -> None:
        """Takes the bar away and prints one line about the epoch."""
        self.close()
        line = f"epoch {row['epoch']}/{self.num_epochs}  {_in_words(metrics_of(row))}  {row['seconds']:.1f} s"
        self.console.print(line, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Takes the bar away, whatever state the terminal is in."""
        if self.bar:
            with contextlib.suppress(Exception):
                self.bar.stop()
            self.bar = None

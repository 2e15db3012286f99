"""Small training runs for the tests: a model and its data, stopped where a test wants them to stop."""

import os
import pathlib
import subprocess
import sys

import keras

import kzoo

_loaded = {}  # a data set changes no more once it is loaded, and most tests want the same one
CHOICES = {
    "epochs": 3,
    "batch_size": 16,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup_steps": 5,
    "backup_steps": 3,
    "steps_per_execution": 1,
}
NUM_BATCHES = 13


def make(name="mlp", data="digits", seed=0, dtype=None, batch_size=16, augment=True, num_examples=200, **overrides):
    """A freshly seeded model and 200 training examples for it: 13 steps an epoch."""
    keras.utils.set_random_seed(seed)
    if name == "mlp":
        overrides.setdefault("hidden_dims", (16,))
    model = kzoo.build(name, dtype=dtype, **overrides)
    from kzoo.data import load

    options = {"batch_size": batch_size, "seed": seed, "augment": augment, "num_examples": num_examples}
    key = (data, name, dtype, *options.values(), repr(overrides))
    if key not in _loaded:
        _loaded[key] = load(data, model, **options)
    return model, _loaded[key]


def make_translator():
    """A transformer with dropout everywhere, and digits to reverse."""
    sizes = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 32, "vocabulary_size": 32}
    return make("transformer_tiny", "reverse_digits", augment=False, dropout=0.2, **sizes)


def run(folder, made=None, **choices):
    """`kzoo.fit` of the small recipe; `made` is what `make` gave."""
    model, data = made or make()
    return kzoo.fit(model, data, folder, progress=False, **{**CHOICES, **choices})


class Stop(keras.callbacks.Callback):
    """Calls `action` at a step, or at the end, of an epoch (both from 1)."""

    def __init__(self, action, epoch, step=None):
        super().__init__()
        self.action, self.at = action, (epoch, step)
        self.steps = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.steps = epoch + 1, 0

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch + 1) == self.at:
            self.action()

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1, None) == self.at:
            self.action()


def fail():
    raise RuntimeError("the user's own words")


def rows_without_seconds(path):
    """The rows of a `history.csv` without the only column that differs from run to run."""
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    place = header.index("seconds")
    return [row[:place] + row[place + 1 :] for row in (header, *rows)]


def equal(folder, other):
    """Whether two run folders hold the same weights; their histories must be the same."""
    assert rows_without_seconds(folder / "history.csv") == rows_without_seconds(other / "history.csv")
    return (folder / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()


def on_jax(script, folder):
    """Runs a script in a process on the JAX backend, in which `small_runs` and `folder` are known; what it printed."""
    path = pathlib.Path(__file__).parent
    known = f"import pathlib, sys\nsys.path.insert(0, {str(path)!r})\nimport small_runs\n"
    known += f"folder = pathlib.Path({str(folder)!r})\n"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", known + script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout

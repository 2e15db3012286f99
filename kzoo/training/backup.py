"""The full state of a training run in one atomic file, in two generations.

Weights, optimizer, dropout seeds and the running metrics are tensors; epoch, step and history are metadata. Restoring it
is all-or-nothing, and since data order is a pure function of (seed, epoch, index), training goes on bit for bit.
"""

import json
import pathlib

import keras
import numpy as np

from kzoo import tensors

FILE = "backup.safetensors"
PREVIOUS = "backup.previous.safetensors"


class NonFiniteError(ArithmeticError):
    """The loss or a weight became NaN or infinite."""


def _variables(model):
    groups = {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    return {
        f"{group}.{index}": variable  # names of optimizers and unnamed layers count up within a process
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }


def write(folder, model, state):
    """Saves the full state of a compiled model beside `state`, a JSON-able dict; the last backup becomes the previous.

    Raises NonFiniteError, writing nothing, if a weight is NaN or infinite.
    """
    folder = pathlib.Path(folder)
    check_finite(model)
    arrays = {name: keras.ops.convert_to_numpy(variable.value) for name, variable in _variables(model).items()}
    if (folder / FILE).exists():
        (folder / FILE).replace(folder / PREVIOUS)
    tensors.write(folder / FILE, arrays, {"state": json.dumps(state)})


def check_finite(model):
    """Raises NonFiniteError that names the first weight which is NaN or infinite."""
    for variable in model.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32"))).all():
            raise NonFiniteError(f"weight {variable.path} is not finite")


def read_state(folder):
    """(file, state) of the newest intact backup and a warning if it is the previous one; (None, None, None) if none.

    Raises ValueError if backups are there and none is intact.
    """
    warning, found = None, False
    for name in (FILE, PREVIOUS):
        path = pathlib.Path(folder) / name
        if not path.exists():
            continue
        found = True
        try:
            _, metadata = tensors.describe(path)
            return path, json.loads(metadata["state"]), warning
        except (ValueError, KeyError) as error:
            warning = f"{error}; going back to the previous backup"
    if found:
        raise ValueError(f"no intact backup in {folder}: {warning.partition(';')[0]}; start again with overwrite=True")
    return None, None, None


def restore(path, model):
    """Assigns the full state of a backup to a compiled model with built optimizer and metrics, all or nothing."""
    arrays = tensors.read(path)
    variables = _variables(model)
    wrong = [name for name in variables.keys() ^ arrays.keys()] + [
        name for name in variables.keys() & arrays.keys() if tuple(variables[name].shape) != arrays[name].shape
    ]
    if wrong:
        raise ValueError(f"{path} is a backup of another run; {len(wrong)} variables differ, first: {sorted(wrong)[:3]}")
    for name, variable in variables.items():
        variable.assign(arrays[name])

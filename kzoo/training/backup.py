"""The full state of a training run in one atomic file, in two generations.

Weights, optimizer, dropout seeds and the running metrics are tensors; epoch, step and history are metadata. Restoring
is all-or-nothing, and since data order is a pure function of (seed, epoch, index), training goes on bit for bit.
"""

import json
import pathlib

import keras
import numpy as np

from kzoo.weights import files

FILE = "backup.safetensors"
PREVIOUS = "backup.previous.safetensors"
NEW = "backup.new.safetensors"  # there only while it takes the place of FILE


class NonFiniteError(ArithmeticError):
    """The loss or a weight became NaN or infinite."""


def _variables(trainee):
    return {
        f"{group}.{index}": variable  # names of optimizers and unnamed layers count up within a process
        for group, variables in trainee.variables().items()
        for index, variable in enumerate(variables)
    }


def write(folder, trainee, state):
    """Saves a compiled trainee's full state beside `state`, a JSON-able dict; the last backup becomes the previous.

    Raises NonFiniteError, writing nothing, if a weight is NaN or infinite.
    """
    folder = pathlib.Path(folder)
    check_finite(trainee)
    arrays = {name: keras.ops.convert_to_numpy(variable.value) for name, variable in _variables(trainee).items()}
    # Complete before a generation moves: whenever this is killed, whichever file is damaged, an intact one is there.
    files.write(folder / NEW, arrays, {"state": json.dumps(state)})
    if (folder / FILE).exists():
        (folder / FILE).replace(folder / PREVIOUS)
    (folder / NEW).replace(folder / FILE)


def check_finite(trainee):
    """Raises NonFiniteError that names the first weight which is NaN or infinite."""
    for variable in trainee.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32"))).all():
            raise NonFiniteError(f"weight {variable.path} is not finite")


def read_state(folder):
    """(file, state) of the newest intact backup and a warning if a newer one is damaged; (None, None, None) if none.

    Raises ValueError if backups are there and none is intact.
    """
    damage = []
    for path in (pathlib.Path(folder) / name for name in (NEW, FILE, PREVIOUS)):
        if not path.exists():
            continue
        try:
            file = files.File(path)
            file.verify()
            if "state" not in file.metadata:
                raise ValueError(f"{path} is not a backup of a training run")
        except ValueError as error:
            damage.append(str(error))
        else:
            return path, json.loads(file.metadata["state"]), "; ".join(damage)
    if damage:
        raise ValueError(
            f"no intact backup in {folder} ({'; '.join(damage)}); start again with overwrite=True (--overwrite)"
        )
    return None, None, None


def restore(path, trainee):
    """Assigns the full state of a backup to a compiled trainee with built optimizers and metrics, all or nothing."""
    arrays = files.File(path).read()
    variables = _variables(trainee)
    wrong = list(variables.keys() ^ arrays.keys()) + [
        name for name in variables.keys() & arrays.keys() if tuple(variables[name].shape) != arrays[name].shape
    ]
    if wrong:
        raise ValueError(f"{path} is a backup of another run; {len(wrong)} variables differ: {sorted(wrong)[:3]}, ...")
    for name, variable in variables.items():
        variable.assign(np.array(arrays[name]))  # not the file, which is written again

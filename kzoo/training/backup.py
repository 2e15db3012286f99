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
        f"{group}.{index}": variable  # numbered, since Keras numbers optimizers and unnamed layers anew in each process
        for group, variables in trainee.variables().items()
        for index, variable in enumerate(variables)
    }


def write(folder, trainee, state) -> None:
    """Saves a compiled trainee's full state beside `state`, a JSON-able dict; the last backup becomes the previous one.

    Raises NonFiniteError, writing nothing, if a weight is NaN or infinite.
    """
    folder = pathlib.Path(folder)
    check_finite(trainee)
    arrays = {name: keras.ops.convert_to_numpy(variable.value) for name, variable in _variables(trainee).items()}
    # It is complete before a generation moves, so that an intact file is there whenever this process is killed.
    files.write(folder / NEW, arrays, {"state": json.dumps(state)})
    if (folder / FILE).exists():
        (folder / FILE).replace(folder / PREVIOUS)
    (folder / NEW).replace(folder / FILE)


def check_finite(trainee) -> None:
    """Raises NonFiniteError that names the first weight that is NaN or infinite."""
    for variable in trainee.weights:
        if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32"))).all():
            raise NonFiniteError(f"weight {variable.path} is not finite")


def read_state(folder) -> tuple:
    """The newest intact backup: (file, state, warning), or (None, None, None) if there is none.

    The warning says which newer backups are damaged; it is empty if none is. Raises ValueError if there are backups and
    none is intact.
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


def restore(path, trainee) -> bool:
    """Assigns the full state of a backup to a compiled trainee with built optimizers and metrics, all or nothing.

    Returns whether that includes the running metrics: an earlier release kept others, which are left out. Raises
    ValueError that names the first variables that differ in shape or are missing on one side.
    """
    arrays, variables = files.File(path).read(), _variables(trainee)
    theirs, ours = ({name: tuple(one.shape) for name, one in group.items()} for group in (arrays, variables))
    wrong = sorted({name for name, _ in theirs.items() ^ ours.items()})
    with_metrics = not any(name.startswith("metrics.") for name in wrong)
    if not with_metrics:
        variables = {name: one for name, one in variables.items() if not name.startswith("metrics.")}
        wrong = [name for name in wrong if not name.startswith("metrics.")]
    if wrong:
        raise ValueError(f"{path} is a backup of another run; {len(wrong)} variables differ: {wrong[:3]}, ...")
    for name, variable in variables.items():
        variable.assign(np.array(arrays[name]))  # a copy, since the file is written again
    return with_metrics

"""Weights between a model and safetensors files in the reference implementation's names and layout.

A layer carries the name of its tensor in the reference checkpoint, so one table, from layer class to suffix and layout,
moves any model's weights both ways. Loading is all-or-nothing: names, shapes and dtypes are compared from the header,
then every array is read and converted, and only then is the first variable assigned.
"""

import json
import math
import pathlib

import keras
import numpy as np
from keras import layers

from kzoo import atomic, catalog, tensors
from kzoo.version import __version__

WEIGHTS_FILE = "weights.safetensors"
MODEL_FILE = "model.json"
FLOATS = {"F64", "F32", "F16", "BF16"}


def _same(array):
    return (array,)


def _transposed(*axes):
    """Read and write functions for a tensor whose axes are permuted: reference = transpose(variable, axes)."""
    back = tuple(np.argsort(axes))
    return lambda array: np.transpose(array, back), lambda variable: (np.transpose(variable, axes),)


def _split_bias(variable):
    """Torch adds two biases where an LSTM or simple cell has one."""
    return variable, np.zeros(variable.shape, variable.dtype)


def _swap_gates(array):
    """Between Keras's order of GRU gates (update, reset, candidate) and torch's (reset, update, candidate)."""
    update, reset, candidate = np.split(array, 3)
    return np.concatenate([reset, update, candidate])


def _swap_gru_bias(variable):
    return tuple(_swap_gates(bias) for bias in variable)


IDENTITY = (lambda array: array, _same)
MATRIX = _transposed(1, 0)
GRU_MATRIX = (lambda array: _swap_gates(array).T, lambda variable: (_swap_gates(variable.T),))
RECURRENT_BIAS = (lambda input_bias, recurrent_bias: input_bias + recurrent_bias, _split_bias)
GRU_BIAS = (lambda *biases: np.stack([_swap_gates(bias) for bias in biases]), _swap_gru_bias)

# layer class -> rows of (suffixes of the reference's tensors, path of the variable in the layer, (read, write))
LAYOUTS = (
    (layers.Dense, ((("weight",), "kernel", MATRIX), (("bias",), "bias", IDENTITY))),
    (layers.Conv2D, ((("weight",), "kernel", _transposed(3, 2, 0, 1)), (("bias",), "bias", IDENTITY))),
    (layers.Embedding, ((("weight",), "embeddings", IDENTITY),)),
    (layers.LayerNormalization, ((("weight",), "gamma", IDENTITY), (("bias",), "beta", IDENTITY))),
    (
        layers.BatchNormalization,
        (
            (("weight",), "gamma", IDENTITY),
            (("bias",), "beta", IDENTITY),
            (("running_mean",), "moving_mean", IDENTITY),
            (("running_var",), "moving_variance", IDENTITY),
        ),
    ),
    (
        layers.GRU,
        (
            (("weight_ih_{}",), "cell.kernel", GRU_MATRIX),
            (("weight_hh_{}",), "cell.recurrent_kernel", GRU_MATRIX),
            (("bias_ih_{}", "bias_hh_{}"), "cell.bias", GRU_BIAS),
        ),
    ),
    (
        (layers.LSTM, layers.SimpleRNN),
        (
            (("weight_ih_{}",), "cell.kernel", MATRIX),
            (("weight_hh_{}",), "cell.recurrent_kernel", MATRIX),
            (("bias_ih_{}", "bias_hh_{}"), "cell.bias", RECURRENT_BIAS),
        ),
    ),
)


class _Slot:
    """One variable of the model with the names, shapes and layout of its tensors in the reference."""

    def __init__(self, variable, names, layout):
        self.variable = variable
        self.names = names
        self.read, self.write = layout
        self.shapes = [array.shape for array in self.write(np.broadcast_to(np.float32(0), variable.shape))]


def _slots(model):
    """All weights of a flat model in graph order; a layer that the table does not know keeps its own names and layout."""
    slots, seen = [], set()
    for layer in model.layers:
        if id(layer) in seen or not layer.weights:
            continue
        seen.add(id(layer))
        rows = next((rows for kind, rows in LAYOUTS if isinstance(layer, kind)), None)
        if rows is None:
            rows = [((variable.name,), index, IDENTITY) for index, variable in enumerate(layer.weights)]
        for suffixes, path, layout in rows:
            variable = layer.weights[path] if isinstance(path, int) else layer
            for part in path.split(".") if isinstance(path, str) else ():
                variable = getattr(variable, part, None)
            if variable is not None:
                slots.append(_Slot(variable, [_tensor_name(layer.name, suffix) for suffix in suffixes], layout))
    return slots


def _tensor_name(layer_name, suffix):
    """`fc` + `weight` is `fc.weight`; `rnn.l0` + `weight_ih_{}` is `rnn.weight_ih_l0`."""
    if "{}" not in suffix:
        return f"{layer_name}.{suffix}"
    module, _, leaf = layer_name.rpartition(".")
    return f"{module}.{suffix.format(leaf)}"


def save_weights(model, path):
    """Writes a model's weights as safetensors in the reference's names and layout, with its sha256 inside.

    The file is written beside `path` and renamed, so a full disk or a kill leaves what stood there before.
    """
    arrays = {}
    for slot in _slots(model):
        value = keras.ops.convert_to_numpy(slot.variable.value)
        arrays.update(zip(slot.names, slot.write(value), strict=True))
    origin = getattr(model, "kzoo", None)
    # transformers loads a file only if its metadata names a framework's layout
    tensors.write(path, arrays, {"format": "pt", "kzoo.name": origin.name if origin else model.name})


def load_weights(model, path):
    """Loads safetensors in the reference's names and layout into a model, all or nothing.

    Args:
        path: a `.safetensors` file, or a folder that holds `weights.safetensors`. float16, bfloat16 and float64
            tensors are converted to the variables' dtype.

    Raises ValueError that lists the first missing, unexpected and mis-shaped names, or says how the file is damaged;
    the model is unchanged then.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / WEIGHTS_FILE
    specification, _ = tensors.describe(path)
    slots = _slots(model)
    derived = _derived(model, specification)
    _compare(model, path, slots, specification, derived)
    arrays = tensors.read(path)
    _check_derived(path, arrays, derived)
    values = []
    for slot in slots:
        value = slot.read(*(np.asarray(arrays[name]) for name in slot.names))
        values.append(value.astype(keras.backend.standardize_dtype(slot.variable.dtype)))
    for slot, value in zip(slots, values, strict=True):
        slot.variable.assign(value)


def _derived(model, specification):
    """Tensors of the file that the reference stores and this graph computes or ties: {name: where it comes from}."""
    origin = getattr(model, "kzoo", None)
    table = catalog.literals(origin.architecture).get("DERIVED", {}) if origin else {}
    found = {name: source for name, source in table.items() if name in specification}
    found.update({name: "computed" for name in specification if name.endswith(".num_batches_tracked")})
    return found


def _check_derived(path, arrays, derived):
    """A tied tensor must equal the one it is tied to, and one that the graph leaves out must be zero."""
    for name, source in derived.items():
        if source == "zeros" and np.any(arrays[name]):
            raise ValueError(f"{path}: {name} is not zero, and this architecture has no such weight")
        if source in arrays and not np.array_equal(arrays[name], arrays[source]):
            raise ValueError(f"{path}: {name} differs from {source}, and this architecture ties the two")


def _compare(model, path, slots, specification, derived):
    wanted = {name: shape for slot in slots for name, shape in zip(slot.names, slot.shapes, strict=True)}
    problems = {
        "missing": [name for name in wanted if name not in specification],
        "unexpected": [name for name in specification if name not in wanted and name not in derived],
        "mis-shaped": [
            f"{name} {specification[name][0]}, wanted {tuple(shape)}"
            for name, shape in wanted.items()
            if name in specification and specification[name][0] != tuple(shape)
        ],
        "not floating point": [
            f"{name} {specification[name][1]}"
            for name in wanted
            if name in specification and specification[name][1] not in FLOATS
        ],
    }
    if any(problems.values()):
        listed = [
            f"{len(names)} {kind}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for kind, names in problems.items()
            if names
        ]
        raise ValueError(
            f"{path} does not fit {model.name}, which is unchanged; {'; '.join(listed)}{_head_hint(slots, specification)}"
        )


def _head_hint(slots, specification):
    """The usual reason for mis-shaped names is a head with another number of classes."""
    head = slots[-1]
    shapes = [specification[name][0] for name in head.names if name in specification]
    if len(shapes) == len(head.shapes) and shapes and shapes[0] and shapes[0][0] != head.shapes[0][0]:
        return f". For a file with {shapes[0][0]} outputs build the model with num_classes={shapes[0][0]}"
    return ""


def save(model, folder):
    """Saves a catalogue model as a folder: `weights.safetensors` and `model.json` (name, overrides, versions).

    Raises ValueError for a model that `kzoo.build` did not make, since the catalogue could not rebuild it.
    """
    folder = pathlib.Path(folder)
    if getattr(model, "kzoo", None) is None:
        raise ValueError(f"{model.name} was not built by kzoo.build, so its architecture cannot be rebuilt from a "
                         "folder; use kzoo.save_weights for the weights alone")  # fmt: skip
    atomic.require_writable(folder)
    save_weights(model, folder / WEIGHTS_FILE)
    write_description(model, folder)


def write_description(model, folder, **extra):
    """Writes `model.json`: all that the catalogue needs to rebuild the graph, and `extra` facts about its outputs."""
    description = {
        "name": model.kzoo.name,
        "overrides": model.kzoo.overrides,
        "num_parameters": sum(math.prod(variable.shape) for variable in model.trainable_variables),
        "kzoo": __version__,
        "keras": keras.__version__,
        **extra,
    }
    with atomic.file(pathlib.Path(folder) / MODEL_FILE) as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load(folder, dtype=None):
    """Rebuilds a model from a folder that `kzoo.save` or a training run wrote, from kzoo's own catalogue.

    Raises ValueError if the folder is not such a folder, is damaged, or needs a newer kzoo.
    """
    description = read_description(folder)
    overrides = {key: tuple(v) if isinstance(v, list) else v for key, v in description.get("overrides", {}).items()}
    return catalog.build(description["name"], weights=folder, dtype=dtype, **overrides)


def read_description(folder):
    """The content of a folder's `model.json`; ValueError if there is none or this kzoo is too old for it."""
    path = pathlib.Path(folder) / MODEL_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no {MODEL_FILE}, so it is neither a saved model nor a training run")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        written_by = tuple(int(part) for part in description["kzoo"].split(".")[:2])
        catalog.find(description["name"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if written_by > tuple(int(part) for part in __version__.split(".")[:2]):
        raise ValueError(f"{path} needs kzoo >= {description['kzoo']}; this is {__version__}")
    return description

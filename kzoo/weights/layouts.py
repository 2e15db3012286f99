"""Names and layouts of a model's weights in its reference implementation.

A layer carries the name of its tensor in the reference checkpoint, so one table, from layer class to tensors and
layouts, serves every model, reading and writing. A layer class of kzoo's own says in its attribute `TENSORS` what
Keras's classes have in this table: {variable: (tensor, layout)}. `LAYOUTS` of a model file, {class of a layer or last
part of its name: {variable: (tensor, layout)}}, holds the exceptions of its reference. What neither knows is an error.
"""

import numpy as np
from keras import layers

from kzoo import catalog


def _read_kernel(array):
    """(outputs, inputs, *places) to (*places, inputs, outputs); a matrix has no places."""
    return array.transpose(*range(2, array.ndim), 1, 0)


def _write_kernel(variable):
    return (variable.transpose(variable.ndim - 1, variable.ndim - 2, *range(variable.ndim - 2)),)


def _write_depthwise(variable):
    """Torch counts the outputs of all input channels as one axis, and one input for each."""
    return _write_kernel(variable.reshape(*variable.shape[:-2], 1, -1))


def _split_bias(variable):
    """Torch adds two biases where an LSTM or simple cell has one."""
    return variable, np.zeros(variable.shape, variable.dtype)


def _swap_gates(array):
    """Between Keras's order of GRU gates (update, reset, candidate) and torch's (reset, update, candidate)."""
    update, reset, candidate = np.split(array, 3)
    return np.concatenate([reset, update, candidate])


# layout -> how tensors of the reference become a variable, but for its shape, and how a variable becomes those tensors
CONVERSIONS = {
    "same": (lambda array: array, lambda variable: (variable,)),
    "row": (lambda array: array, lambda variable: (variable[None],)),  # with an axis of one before the others
    "flat": (lambda array: array, lambda variable: (variable.reshape(-1),)),  # without its axes of one
    "kernel": (_read_kernel, _write_kernel),
    "depthwise": (_read_kernel, _write_depthwise),
    "summed_bias": (lambda inputs, recurrent: inputs + recurrent, _split_bias),
    "gru_kernel": (lambda array: _swap_gates(array).T, lambda variable: (_swap_gates(variable.T),)),
    "gru_bias": (
        lambda *biases: np.stack([_swap_gates(bias) for bias in biases]),
        lambda variable: tuple(_swap_gates(bias) for bias in variable),
    ),
}

KERNEL = {"kernel": ("weight", "kernel"), "bias": ("bias", "same")}
SCALED = {"gamma": ("weight", "same"), "beta": ("bias", "same")}
DEPTHWISE = {"kernel": ("weight", "depthwise"), "bias": ("bias", "same")}
# two modules of torch: a depthwise convolution without a bias and a pointwise one
SEPARABLE = {
    "depthwise_kernel": ("depthwise.weight", "depthwise"),
    "pointwise_kernel": ("pointwise.weight", "kernel"),
    "bias": ("pointwise.bias", "same"),
}
RECURRENT = {
    "cell.kernel": ("weight_ih_{}", "kernel"),
    "cell.recurrent_kernel": ("weight_hh_{}", "kernel"),
    "cell.bias": ("bias_ih_{}", "bias_hh_{}", "summed_bias"),
}
GRU = {
    "cell.kernel": ("weight_ih_{}", "gru_kernel"),
    "cell.recurrent_kernel": ("weight_hh_{}", "gru_kernel"),
    "cell.bias": ("bias_ih_{}", "bias_hh_{}", "gru_bias"),
}
# layer class -> {path of a variable in the layer: (tensors of the reference, layout)}, as torch names and stores them
TENSORS = {
    layers.Dense: KERNEL,
    layers.Embedding: {"embeddings": ("weight", "same")},
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), KERNEL),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), KERNEL),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), DEPTHWISE),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), SEPARABLE),
    **dict.fromkeys((layers.LayerNormalization, layers.GroupNormalization), SCALED),
    layers.BatchNormalization: {
        **SCALED,
        "moving_mean": ("running_mean", "same"),
        "moving_variance": ("running_var", "same"),
    },
    **dict.fromkeys((layers.LSTM, layers.SimpleRNN), RECURRENT),
    layers.GRU: GRU,
    layers.RMSNormalization: {"scale": ("weight", "same")},
}


class Slot:
    """One variable of a model with the names, shapes and layout of its tensors in the reference."""

    def __init__(self, layer, variable, names, layout):
        self.layer = layer
        self.variable = variable
        self.names = names
        self._read, self.write = CONVERSIONS[layout]
        self.shapes = [array.shape for array in self.write(np.broadcast_to(np.float32(0), variable.shape))]

    def read(self, *arrays) -> np.ndarray:
        """The variable's value, in its dtype, from the reference's tensors; a view of them where that is possible."""
        # The dtype first: a sum of two biases is that of the variable's precision, not of the file's.
        dtype = np.dtype(str(self.variable.dtype))
        return self._read(*(array.astype(dtype, copy=False) for array in arrays)).reshape(self.variable.shape)


def find_slots(model) -> list[Slot]:
    """All weights of a flat model in graph order; ValueError for one whose tensor in the reference is not known."""
    exceptions = catalog.literals_of(model).get("LAYOUTS", {})
    slots, seen = [], set()
    for layer in model.layers:
        if id(layer) in seen or not layer.weights:
            continue
        seen.add(id(layer))
        unknown = {id(variable): variable for variable in layer.weights}
        for path, (*tensors, layout) in tensors_of(layer, exceptions).items():
            variable = layer
            for part in path.split("."):
                variable = getattr(variable, part, None)
            if unknown.pop(id(variable), None) is not None:
                names = [_tensor_name(layer.name, tensor) for tensor in tensors]
                slots.append(Slot(layer, variable, names, layout))
        if unknown:
            _refuse(model, layer, unknown)
    return slots


def tensors_of(layer, exceptions) -> dict:
    """{variable: (tensors, layout)} of a layer; empty if its class is not known.

    Args:
        exceptions: `LAYOUTS` of the model's file.
    """
    if isinstance(layer, layers.Bidirectional):
        sides = {"forward_layer": "", "backward_layer": "_reverse"}
        return {
            f"{side}.{path}": (*(f"{tensor}{suffix}" for tensor in tensors), layout)
            for side, suffix in sides.items()
            for path, (*tensors, layout) in tensors_of(getattr(layer, side), {}).items()
        }
    if isinstance(layer, layers.GRU) and not layer.reset_after:
        return {}  # torch has none
    known = next((TENSORS[kind] for kind in type(layer).__mro__ if kind in TENSORS), {})
    named = exceptions.get(type(layer).__name__, {}) | exceptions.get(layer.name.rpartition(".")[2], {})
    return {**getattr(layer, "TENSORS", known), **named}


def _refuse(model, layer, unknown):
    kind = type(layer).__name__
    names = [name for name, value in vars(layer).items() if id(value) in unknown] or [v.name for v in unknown.values()]
    raise ValueError(
        f"{model.name}: layer {layer.name} is of class {kind}, and no table says which tensors of a checkpoint hold "
        f"its {', '.join(names)}. Give the class TENSORS = {dict.fromkeys(names, ('weight', 'same'))}, "
        f"or add a class of Keras to TENSORS of kzoo/weights/layouts.py; the layouts are {', '.join(CONVERSIONS)}"
    )


def _tensor_name(layer_name, tensor):
    """`fc` + `weight` is `fc.weight`; `rnn.l0` + `weight_ih_{}` is `rnn.weight_ih_l0`."""
    if "{}" not in tensor:
        return f"{layer_name}.{tensor}"
    module, dot, leaf = layer_name.rpartition(".")
    return f"{module}{dot}{tensor.format(leaf)}"

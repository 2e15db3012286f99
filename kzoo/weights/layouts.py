"""Names and layouts of a model's weights in its reference implementation.

A layer carries the name of its tensor in the reference checkpoint, so one table, from layer class to suffix and layout,
serves every model, reading and writing.
"""

import numpy as np
from keras import layers

from kzoo.layers import LowRankDense


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
    ((layers.Dense, LowRankDense), ((("weight",), "kernel", MATRIX), (("bias",), "bias", IDENTITY))),
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

# as `peft` names them; its matrices are stored (out, in) whatever the frozen layer's layout is
LOW_RANK = ((("lora_A.weight",), "lora_a", MATRIX), (("lora_B.weight",), "lora_b", MATRIX))
# GPT's "Conv1D" is a linear map whose matrix is stored (in, out)
CONV1D = ((("{}.weight",), "kernel", IDENTITY), (("{}.bias",), "bias", IDENTITY))
# last part of a layer's name -> rows, where the reference keeps bare parameters or a layout of its own
BY_NAME = {
    **dict.fromkeys(("c_attn", "c_proj", "c_fc"), CONV1D),
    "final_logits_bias": ((("{}",), "bias", (lambda array: array[0], lambda variable: (variable[None],))),),
    "in_proj": ((("{}_weight",), "kernel", MATRIX), (("{}_bias",), "bias", IDENTITY)),
    "class_token": ((("{}",), "embedding", IDENTITY),),
    "pos_embedding": ((("{}",), "embeddings", (lambda array: array[0], lambda variable: (variable[None],))),),
}


class Slot:
    """One variable of a model with the names, shapes and layout of its tensors in the reference."""

    def __init__(self, layer, variable, names, layout):
        self.layer = layer
        self.variable = variable
        self.names = names
        self.read, self.write = layout
        self.shapes = [array.shape for array in self.write(np.broadcast_to(np.float32(0), variable.shape))]


def find_slots(model):
    """All weights of a flat model in graph order; a layer that the table does not know keeps its names and layout."""
    slots, seen = [], set()
    for layer in model.layers:
        if id(layer) in seen or not layer.weights:
            continue
        seen.add(id(layer))
        rows = rows_of(layer)
        if rows is None:
            rows = [((variable.name,), index, IDENTITY) for index, variable in enumerate(layer.weights)]
        if isinstance(layer, LowRankDense):
            rows = (*rows, *LOW_RANK)
        for suffixes, path, layout in rows:
            variable = layer.weights[path] if isinstance(path, int) else layer
            for part in path.split(".") if isinstance(path, str) else ():
                variable = getattr(variable, part, None)
            if variable is not None:
                names = [_tensor_name(layer.name, suffix) for suffix in suffixes]
                slots.append(Slot(layer, variable, names, layout))
    return slots


def rows_of(layer):
    """The rows of the tables for a layer; None if it has none."""
    by_class = (rows for kind, rows in LAYOUTS if isinstance(layer, kind))
    return BY_NAME.get(layer.name.rpartition(".")[2]) or next(by_class, None)


def _tensor_name(layer_name, suffix):
    """`fc` + `weight` is `fc.weight`; `rnn.l0` + `weight_ih_{}` is `rnn.weight_ih_l0`."""
    if "{}" not in suffix:
        return f"{layer_name}.{suffix}"
    module, dot, leaf = layer_name.rpartition(".")
    return f"{module}{dot}{suffix.format(leaf)}"

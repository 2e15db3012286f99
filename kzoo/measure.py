"""Parameters, multiply-accumulates and activation bytes, computed from the graph without allocating weights."""

import concurrent.futures
import math

import keras
from keras import layers

from kzoo import catalog, graph
from kzoo.layers import DotProductAttention, LowRankDense

DEFAULT_LENGTH = 128


def _dense(layer, call):
    return math.prod(call.outputs[0].shape[1:]) * layer.kernel.shape[0]


def _low_rank(layer, call):
    """The frozen matrix and, beside it, two narrow ones."""
    positions = math.prod(call.outputs[0].shape[1:-1])
    return _dense(layer, call) + positions * layer.rank * (layer.kernel.shape[0] + layer.units)


def _conv(layer, call):
    return math.prod(call.outputs[0].shape[1:]) * math.prod(layer.kernel.shape[:-1])


def _recurrent(layer, call):
    """Input and recurrent matrix products of every time step."""
    return call.inputs[0].shape[1] * (math.prod(layer.cell.kernel.shape) + math.prod(layer.cell.recurrent_kernel.shape))


def _embedding(layer, call):
    """A look-up multiplies nothing; the reversed, tied embedding is a matrix product."""
    is_reversed = call.outputs[0].shape[-1] == layer.input_dim and call.inputs[0].shape[-1] == layer.output_dim
    return math.prod(call.inputs[0].shape[1:]) * layer.input_dim if is_reversed and len(call.inputs[0].shape) > 2 else 0


def _attention(layer, call):
    """Scores and weighted sum: two products over every pair of a query and a key position."""
    query, key, value = (tensor.shape for tensor in call.inputs[:3])
    return query[1] * key[1] * (query[-1] + value[-1])


# layer class -> multiply-accumulates of one call for one example; the first class that fits counts
COUNTERS = (
    (layers.Dense, _dense),
    (LowRankDense, _low_rank),
    (layers.Conv2D, _conv),
    ((layers.LSTM, layers.GRU, layers.SimpleRNN), _recurrent),
    (layers.ReversibleEmbedding, _embedding),
    (DotProductAttention, _attention),
)
# Element by element, by look-up or by rearrangement: no products of matrices, hence none by the field's convention.
FREE = [
    "Activation",
    "AdaptiveAveragePooling2D",
    "Add",
    "AveragePooling2D",
    "BatchNormalization",
    "Bias",
    "ClassToken",
    "Concatenate",
    "Cropping1D",
    "Dropout",
    "Embedding",
    "FirstToken",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "InputLayer",
    "LayerNormalization",
    "LearnedPositions",
    "LocalResponseNormalization",
    "MaskedAveragePooling1D",
    "MaxPooling2D",
    "Multiply",
    "NearestResize",
    "Permute",
    "ReLU",
    "RelativePositionBias",
    "Rescaling",
    "Reshape",
    "Reverse",
    "RotaryPositions",
    "SinusoidalPositions",
    "Softmax",
    "Split",
    "ZeroPadding2D",
]


def measure(model, length=DEFAULT_LENGTH):
    """Counts one forward pass of a model for one example.

    Args:
        length: what unknown dimensions (sequence lengths) are taken to be.

    Returns a dict: `parameters` (trainable), `non_trainable_parameters`, `macs` (multiply-accumulates of matrix
    products and convolutions, biases and element-wise work left out), `activation_bytes` (every layer's output, which
    is what training keeps) and `uncounted` (names of operations that no rule knows; their MACs are missing).
    """
    macs, activation_bytes, uncounted = 0, 0, set()
    for call in graph.calls(model, length):
        kind = type(call.operation).__name__
        counter = next((count for kinds, count in COUNTERS if isinstance(call.operation, kinds)), None)
        if counter:
            macs += counter(call.operation, call)
        elif kind not in FREE:
            uncounted.add(kind)
        if kind != "InputLayer":
            activation_bytes += sum(_num_bytes(tensor) for tensor in call.outputs)
    return {
        "parameters": _num_parameters(model.trainable_variables),
        "non_trainable_parameters": _num_parameters(model.non_trainable_weights),
        "macs": macs,
        "activation_bytes": activation_bytes,
        "uncounted": sorted(uncounted),
    }


def _num_parameters(variables):
    return sum(math.prod(variable.shape) for variable in variables)


def _num_bytes(tensor):
    width = {"bool": 1}.get(tensor.dtype) or int("".join(c for c in tensor.dtype if c.isdigit())[:2]) // 8
    return math.prod(tensor.shape[1:]) * width


def info(name, /, length=DEFAULT_LENGTH, **overrides):
    """What a model is and what it costs, from its real graph, with no weight allocated.

    Args:
        name: a variant or architecture of the catalogue.
        length: the sequence length to count at, where the model leaves it open.
        **overrides: as for `kzoo.build`.

    Returns a dict: name, architecture, task, summary, paper, inputs and outputs {name: {shape, dtype}}, and the counts
    of `measure` per example. Raises what `kzoo.build` raises.
    """
    entry = catalog.find(name)
    if not isinstance(length, int) or length < 1:
        raise ValueError(f"length must be an int of at least 1, got {length!r}")

    def count():
        model = catalog.build(name, **overrides)
        return model, measure(model, length)

    model, counts = without_weights(count)
    return {
        "name": entry.name,
        "architecture": entry.architecture,
        "task": model.kzoo.task,
        "summary": entry.summary,
        "paper": entry.paper,
        "inputs": _signature(model.inputs),
        "outputs": _signature(model.outputs, model.output_names),
        "length": length if any(None in tensor.shape[1:] for tensor in model.inputs) else None,
        **counts,
    }


def without_weights(function):
    """What `function()` returns; variables that it makes have shapes and no values.

    It runs in a thread of its own. Keras keeps a list of the variables that still want values, one for each thread, and
    would draw them all when the next scope of that thread ends.
    """
    policy = keras.config.dtype_policy()

    def run():
        keras.config.set_dtype_policy(policy)
        with keras.StatelessScope(initialize_variables=False):
            return function()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def _signature(tensors, names=None):
    names = names or [tensor.name for tensor in tensors]
    return {
        name: {"shape": list(tensor.shape), "dtype": tensor.dtype} for name, tensor in zip(names, tensors, strict=True)
    }

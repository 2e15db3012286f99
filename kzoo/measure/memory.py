"""Bytes of tensors, and the most of them alive at once when a recorded graph runs in order."""

import math
import re

import keras

from kzoo.measure.products import kind_of

# The handle of one of TensorFlow's strings, whose characters are elsewhere.
STRING_BYTES = 24
# These only rename or reshape their input, and share its memory.
VIEWS = {
    "ActivityRegularization", "AlphaDropout", "Dropout", "ExpandDims", "Flatten", "GaussianDropout", "GaussianNoise",
    "Identity", "Masking", "Ravel", "Reshape", "SpatialDropout", "Squeeze", "StopGradient",
}  # fmt: skip


def num_bytes(shape, dtype) -> int:
    """Bytes of a tensor; 0 for a shape with an unknown size, whose call counts as uncounted."""
    if None in shape:
        return 0
    if dtype == "string":
        return math.prod(shape) * STRING_BYTES
    bits = 8 if dtype == "bool" else int(re.search(r"\d+", dtype)[0])
    return -(-math.prod(shape) * bits // 8)


def scores_bytes(operation, given) -> int:
    """Bytes of the float32 scores that a dot-product attention makes while it runs."""
    kind = kind_of(operation)
    if kind == ("operation", "DotProductAttention"):
        num_heads = given["query"].shape[2]
    elif kind in (("kzoo", "DotProductAttention"), ("layer", "MultiHeadAttention")):
        num_heads = operation.num_heads
    elif kind == ("layer", "GroupedQueryAttention"):
        num_heads = operation.num_query_heads
    else:
        return 0
    return 4 * num_heads * given["query"].shape[1] * given["value"].shape[1]


def _is_view(step, output):
    family, name = kind_of(step.layer)
    if (family, name) == ("layer", "Activation"):
        return step.layer.activation is keras.activations.linear and output.dtype == step.inputs[0].dtype
    return family is not None and name in VIEWS


def activation_peak(inputs, steps, outputs, working_bytes) -> tuple:
    """The most bytes of tensors alive at once, and the index of the step at which they are.

    Args:
        inputs, outputs: the graph's symbolic tensors; inputs are alive from the start, outputs to the end.
        steps: `kzoo.graph.Step`s in the order in which they run.
        working_bytes: for every step, what it holds while it runs besides its inputs and outputs.

    The definition is that of `kzoo.measure`.
    """
    owner, sizes, last = {}, {}, {}
    for tensor in inputs:
        owner[id(tensor)], sizes[id(tensor)] = id(tensor), num_bytes(tensor.shape, tensor.dtype)
    made = []
    for index, step in enumerate(steps):
        last.update({owner[id(tensor)]: index for tensor in step.inputs})
        made.append([])
        for tensor in keras.tree.flatten(step.outputs):
            if _is_view(step, tensor):
                owner[id(tensor)] = owner[id(step.inputs[0])]
            elif id(tensor) not in owner:
                owner[id(tensor)], sizes[id(tensor)] = id(tensor), num_bytes(tensor.shape, tensor.dtype)
                made[-1].append(id(tensor))
            last[owner[id(tensor)]] = index
    last.update({owner[id(tensor)]: len(steps) for tensor in outputs})
    ends = [[] for _ in range(len(steps) + 1)]
    for buffer, index in last.items():
        ends[index].append(buffer)
    alive = sum(sizes[id(tensor)] for tensor in inputs)
    peak, where = alive, None
    for index, working in enumerate(working_bytes):
        alive += sum(sizes[buffer] for buffer in made[index])
        if alive + working > peak:
            peak, where = alive + working, index
        alive -= sum(sizes[buffer] for buffer in ends[index])
    return peak, where

"""A model as one TensorFlow function whose weights are constants, which is what every runtime is made from."""

import dataclasses
from typing import Any

import keras

from kzoo import graph
from kzoo.rewrites import flattening, folding, fusible, precision, trimming, unrolling

MAX_GRAPH_BYTES = 2**31 - 2**26  # a protocol buffer holds 2 GiB; the rest is for the graph itself


@dataclasses.dataclass
class Frozen:
    """A model as a function, and what was done to the model on the way.

    Attributes:
        model: the rewritten functional model.
        function: a tf.function from the inputs, one argument each in the order of `names`, to a list of outputs.
        names: of the inputs, in the order of the model's flattened structure.
        specs: the tf.TensorSpec of each input.
        changes: what the report says of the rewriting.
    """

    model: object
    function: object
    names: list
    specs: list
    changes: dict

    @property
    def concrete(self) -> Any:
        """The function traced for `specs`."""
        return self.function.get_concrete_function()


def freeze(model, batch_size=None, length=None, unroll=False, one_product=False, bfloat16=False, xla=False,
           flatten=False, fuse_gelu=True, as_constants=True) -> Frozen:  # fmt: skip
    """The model as one function in the form that runs fastest: batch norm is folded, other rewrites are chosen.

    Args:
        batch_size: fixed number of examples; None leaves it open.
        length: what unknown dimensions other than the batch become; None leaves them open.
        unroll: unroll recurrent layers over `length`, which must then be known.
        one_product: then multiply an LSTM's input and state at once; not for int8, since their ranges differ.
        bfloat16: compute in it.
        xla: compile with XLA.
        flatten: make Dense layers over sequences plain products of matrices, for a function that TensorFlow runs.
        fuse_gelu: write GELU in a form that runtimes recognise.
        as_constants: hold the weights as constants of the graph; False holds them as tensors that the function
            captures, for TensorFlow alone. It orders constants once, but keeps a dozen copies of them.

    A graph that is written to a file holds at most 2 GiB of constants; `changes["constant_bytes"]` says how many bytes
    there are.
    """
    import tensorflow as tf

    changed = fusible.make_fusible(folding.fold_batch_norm(trimming.trim_flanks(model)), fuse_gelu)
    if flatten:
        changed = flattening.flatten_dense(changed)
    unrolls = unroll and unrolling.is_recurrent(changed)
    if unrolls:
        changed = unrolling.unroll(changed, length, one_product)
    if bfloat16:
        changed = precision.in_bfloat16(changed)
    values = [(variable, variable.numpy() if as_constants else tf.identity(variable)) for variable in changed.variables]
    specs = []
    for tensor in model.inputs:
        sizes = (length if size is None else size for size in tensor.shape[1:])
        specs.append(tf.TensorSpec((batch_size, *sizes), tensor.dtype, tensor.name))

    def run(*arrays):
        # Named placeholders of the model's own structure; weights are constants wherever a layer reads them.
        x = keras.tree.pack_sequence_as(changed.input, list(arrays))
        held = [(variable, tf.constant(value) if as_constants else value) for variable, value in values]
        with keras.StatelessScope(state_mapping=held):
            return keras.tree.flatten(changed(x, training=False))

    function = tf.function(run, input_signature=specs, autograph=False, jit_compile=xla or None)
    changes = {"num_layers_before": len(model.layers), "num_layers_after": len(changed.layers)}
    changes |= {"unrolled": length if unrolls else None, "constant_bytes": graph.num_bytes(changed.variables)}
    return Frozen(changed, function, [spec.name for spec in specs], specs, changes)


def check_fits_a_file(frozen, what) -> None:
    """Raises ValueError if the constants do not fit into a file that is one protocol buffer."""
    size = frozen.changes["constant_bytes"]
    if size > MAX_GRAPH_BYTES:
        raise ValueError(
            f"{frozen.model.name} has {size:,} bytes of weights and {what} holds at most {MAX_GRAPH_BYTES:,}; "
            "take a smaller variant, or format saved_model or openvino"
        )

"""Networks that read what they found before, and find it again: one iteration compiled, as many as are asked for.

Jumper et al. 2021, supplementary section 1.10.
"""

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.generation.programs import compiled

PROGRAMS = weakref.WeakKeyDictionary()  # model -> its compiled iterations
RECYCLES = 3  # how often what was found is read again, where nothing else is asked for
LONG = 128  # residues, from which on a single chain has a program of its own size
# what an iteration reads of the one before, and what that calls it
PREVIOUS = {"prev_pos": "final_atom_positions", "prev_msa_first_row": "msa_first_row", "prev_pair": "pair"}
_CA = 1


def first(model, batch_size, length) -> dict:
    """What the first iteration reads in place of what was found before it: zeros."""
    shapes = {tensor.name: tensor.shape for tensor in model.inputs if tensor.name in PREVIOUS}
    return {
        name: ops.zeros((batch_size, *(length if size is None else size for size in shape[1:])))
        for name, shape in shapes.items()
    }


def found(outputs) -> dict:
    """What the next iteration reads of the outputs of one; no gradient flows back through it."""
    return {name: ops.stop_gradient(ops.cast(outputs[source], "float32")) for name, source in PREVIOUS.items()}


def iteration(model, is_open=True) -> Callable:
    """The network as a compiled program, kept as long as the model lives.

    Args:
        is_open: whether one program serves all sizes; else one is compiled for each, in which layers know how many rows
            at once stay in a cache.
    """
    programs = PROGRAMS.setdefault(model, {})
    if is_open not in programs:
        network, symbols = weakref.proxy(model), {tensor.name: tensor for tensor in model.inputs}
        symbols = symbols if is_open else None
        programs[is_open] = compiled(lambda inputs: network(inputs, training=False), model.variables, False, symbols)
    return programs[is_open]


def moved(before, now, mask) -> float:
    """How much the distances between C-alphas changed, the root of the mean square in angstroms."""
    one, other = (_distances(np.asarray(x)[..., _CA, :]) for x in (before, now))
    pairs = mask[:, :, None] * mask[:, None, :]
    return float(np.sqrt((pairs * np.square(one - other)).sum() / pairs.sum()))


def _distances(points):
    return np.sqrt(1e-8 + np.square(points[:, :, None] - points[:, None]).sum(axis=-1))


def recycled(model, features, num_recycles, tolerance=0.0, progress=None, is_open=True) -> tuple:
    """The outputs of the last iteration, and how many came before it.

    Args:
        features: `features(index)` gives the inputs of an iteration but for PREVIOUS, with the batch first; all of one
            shape.
        num_recycles: how often what was found is read again at most.
        tolerance: how much the distances between C-alphas may still change, in angstroms, for a run to end earlier.
        progress: a function of the iterations done, of all, and of how much the last one moved, or None.
        is_open: as of `iteration`.
    """
    program, previous, outputs = iteration(model, is_open), None, None
    for index in range(num_recycles + 1):
        given = features(index)
        if previous is None:
            previous = first(model, *given["aatype"].shape)
        given = {name: ops.convert_to_tensor(x) for name, x in given.items()}
        before, outputs = outputs, program({**given, **previous})
        change = None
        if before is not None:
            mask = keras.ops.convert_to_numpy(given["seq_mask"])
            change = moved(*(keras.ops.convert_to_numpy(x["final_atom_positions"]) for x in (before, outputs)), mask)
        if progress is not None:
            progress(index + 1, num_recycles + 1, change)
        if change is not None and change < tolerance:
            break
        previous = found(outputs)
    return outputs, index


def _apart(model):
    """While entered on JAX, nothing is learned of a model's weights, and its seeds stay as they are.

    JAX can neither follow a gradient back through a loop of any length nor change a variable in one.
    """
    if keras.backend.backend() != "jax":
        return contextlib.nullcontext()
    return keras.StatelessScope(state_mapping=[(each, ops.stop_gradient(each.value)) for each in model.variables])


def unrolled(model, inputs, num_recycles, call=None) -> Any:
    """The outputs of a network after any number of iterations, as part of a larger graph.

    Args:
        inputs: tensors by name, but for PREVIOUS.
        num_recycles: an int32 tensor.
        call: what stands for the model, a function of all inputs.
    """
    call = call or model
    start = first(model, *ops.shape(inputs["aatype"]))

    def body(index, previous):
        with _apart(model):
            return index + 1, found(call({**inputs, **previous}))

    _, previous = ops.while_loop(lambda index, _: index < num_recycles, body, (ops.zeros((), "int32"), start))
    return call({**inputs, **{name: ops.stop_gradient(x) for name, x in previous.items()}})

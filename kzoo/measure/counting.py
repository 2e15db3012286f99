"""One row of costs for every call of a model's graph, and their totals."""

import concurrent.futures
import math
from typing import Any

import keras

from kzoo import graph
from kzoo.data import columns
from kzoo.generation.decoder import Decoder, writes_tokens
from kzoo.measure import memory, products

DEFAULT_LENGTH = 128


def usual_length(model) -> int:
    """The length that a model is counted at by default: 128 steps, or the samples of one second of sound."""
    _check(model)
    heard = columns.heard(model)
    return heard.sample_rate if heard else min(DEFAULT_LENGTH, graph.longest_sequence(model) or DEFAULT_LENGTH)


def measure(model, length=None, layers=False) -> dict:
    """Counts one inference pass of a flat functional (or Sequential) model for one example.

    Args:
        length: what unknown dimensions (sequence lengths, samples of sound) are taken to be; `usual_length` by default.
        layers: also give one row for every call of the graph.

    Returns a dict, by the conventions of `kzoo.measure`: `parameters` (trainable), `non_trainable_parameters`, `macs`,
    `activation_bytes`, `activation_peak_bytes`, `activation_peak_at` (the name of the layer), `cache_bytes_per_token`
    and `cache_bytes` (for `length` tokens written, after a source of `length`; None for models that write no tokens)
    and `uncounted` (kinds of operations that no rule knows, whose MACs are missing). With `layers`, also `layers`: rows
    of `name`, `kind`, `output_shape` and `output_dtype` (of the first output; batch left out), `parameters`,
    `non_trainable_parameters` (those of a shared layer at its first call), `macs` (None where no rule knows),
    `activation_bytes`, `cache_bytes`. The rows' numbers add up to the totals.

    Raises ValueError for a model that is not a graph of layers.
    """
    length = usual_length(model) if length is None else length
    inputs, steps, outputs = _record(model, length)
    caches = Decoder(model).cache_shapes(length) if writes_tokens(model) else None
    rows, working, seen, per_token = [], [], set(), 0
    for step in steps:
        row, busy = _row(step, seen)
        cached = [(memory.num_bytes(*kind), grows) for *kind, grows in (caches or {}).pop(row["name"], [])]
        row["cache_bytes"] = sum(size for size, _ in cached)
        per_token += sum(size // length for size, grows in cached if grows)
        rows.append(row)
        working.append(busy)
    peak, where = memory.activation_peak(keras.tree.flatten(inputs), steps, keras.tree.flatten(outputs), working)
    counts = {
        "parameters": _num_parameters(model.trainable_variables),
        "non_trainable_parameters": _num_parameters(model.non_trainable_weights),
        "macs": sum(row["macs"] or 0 for row in rows),
        "activation_bytes": sum(row["activation_bytes"] for row in rows),
        "activation_peak_bytes": peak,
        "activation_peak_at": None if where is None else rows[where]["name"],
        "cache_bytes_per_token": None if caches is None else per_token,
        "cache_bytes": None if caches is None else sum(row["cache_bytes"] for row in rows),
        "uncounted": sorted({row["kind"] for row in rows if row["macs"] is None}),
    }
    return {**counts, "layers": rows} if layers else counts


def _record(model, length):
    """The graph with a batch of 1 and every length known, so that no rule meets an unknown size."""
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    _check(model)
    lengths = {name: column.length_beside(length) for name, column in columns.inputs_of(model).items()}
    return graph.record(model, lengths, batch_size=1)


def _check(model):
    if not getattr(model, "inputs", None):
        name = getattr(model, "name", model)
        raise ValueError(f"{name!r} is no graph of layers; count a functional or a built Sequential model")


def _row(step, seen):
    """The costs of one call without its cache, and the bytes that it holds while it runs."""
    layer, outputs = step.layer, keras.tree.flatten(step.outputs)
    given = products.arguments(layer, step.args, step.kwargs)
    first = id(layer) not in seen and isinstance(layer, keras.layers.Layer)
    seen.add(id(layer))
    known = all(None not in tensor.shape for tensor in (*step.inputs, *outputs))
    row = {
        "name": layer.name,
        "kind": type(layer).__name__,
        "output_shape": list(outputs[0].shape[1:]),
        "output_dtype": outputs[0].dtype,
        "parameters": _num_parameters(layer.trainable_variables) if first else 0,
        "non_trainable_parameters": _num_parameters(layer.non_trainable_weights) if first else 0,
        "macs": products.count(layer, given, outputs[0]) if known else None,
        "activation_bytes": sum(memory.num_bytes(tensor.shape, tensor.dtype) for tensor in outputs),
    }
    return row, memory.scores_bytes(layer, given) if known else 0


def _num_parameters(variables):
    return sum(math.prod(variable.shape) for variable in variables)


def without_weights(function) -> Any:
    """What `function()` returns; the variables that it makes have shapes but no values.

    It runs in a thread of its own, because Keras keeps a list for each thread of the variables that still need values,
    and would draw them all when the next scope of that thread ends.
    """
    policy = keras.config.dtype_policy()

    def run():
        keras.config.set_dtype_policy(policy)
        with keras.StatelessScope(initialize_variables=False):
            return function()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()

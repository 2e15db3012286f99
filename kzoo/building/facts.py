"""What a model of the catalogue is and what it costs, without allocating its weights."""

import keras

from kzoo import catalog
from kzoo.building import published
from kzoo.building.assembly import Assembly
from kzoo.building.making import build
from kzoo.measure import measure, usual_length, without_weights

TOTALS = ("parameters", "non_trainable_parameters", "macs")


def info(model, length=None, layers=False, **overrides) -> dict:
    """What a model is and what it costs, from its real graph, with no weight allocated.

    Args:
        model: a variant or architecture of the catalogue, a published folder or address as `kzoo.build` takes it, or a
            flat functional model or an `Assembly` of your own.
        length: the sequence length to count at, where the model leaves it open; 128 by default, or for a model that
            hears the samples of one second.
        layers: also give one row of costs for every layer and operation, as `layers`.
        **overrides: as for `kzoo.build`.

    Returns a dict: name, architecture, task, summary, paper (None where a model is not from the catalogue), inputs and
    outputs {name: {shape, dtype}}, and the counts of `kzoo.measure.measure` per example. For an `Assembly` the counts
    are totals, and `parts` has the whole dict of every part. Raises what `kzoo.build` raises.
    """
    if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 1):
        raise ValueError(f"length must be an int of at least 1, got {length!r}")
    if not isinstance(model, keras.Model | Assembly):
        if published.is_place(model):
            model, overrides = published.find(model, with_weights=False).choose(overrides)
        return without_weights(lambda: info(build(model, **overrides), length, layers))
    if overrides:
        raise TypeError(f"a model that is built takes no overrides, got {', '.join(overrides)}; pass its name")
    card = catalog.card_of(model)
    entry = catalog.find(card.name) if card.architecture else None
    facts = {"name": entry.name if entry else model.name, "architecture": card.architecture, "task": card.task}
    facts |= {key: getattr(entry, key, None) for key in ("summary", "paper")}
    if isinstance(model, Assembly):
        parts = {part: info(each, length, layers) for part, each in model.items()}
        return {**facts, **{key: sum(row[key] for row in parts.values()) for key in TOTALS}, "parts": parts}
    length = usual_length(model) if length is None else length
    counts = measure(model, length, layers)  # refuses what is no graph
    return {
        **facts,
        "inputs": _signature(model.inputs),
        "outputs": _signature(model.outputs, getattr(model, "output_names", None)),
        "length": length if any(None in tensor.shape[1:] for tensor in model.inputs) else None,
        **counts,
    }


def _signature(tensors, names=None):
    named = zip(names or [tensor.name for tensor in tensors], tensors, strict=True)
    return {name: {"shape": list(tensor.shape), "dtype": tensor.dtype} for name, tensor in named}

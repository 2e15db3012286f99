"""What a model of the catalogue is and what it costs, without allocating its weights."""

import keras

from kzoo import catalog
from kzoo.building.making import build
from kzoo.measure import DEFAULT_LENGTH, measure, without_weights


def info(model, /, length=DEFAULT_LENGTH, layers=False, **overrides):
    """What a model is and what it costs, from its real graph, with no weight allocated.

    Args:
        model: a variant or architecture of the catalogue, or a flat functional model of your own.
        length: the sequence length to count at, where the model leaves it open.
        layers: also give one row of costs for every layer and operation, as `layers`.
        **overrides: as for `kzoo.build`.

    Returns a dict: name, architecture, task, summary, paper (None where a model is not of the catalogue), inputs and
    outputs {name: {shape, dtype}}, and the counts of `kzoo.measure.measure` per example. Raises what `kzoo.build`
    raises.
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise ValueError(f"length must be an int of at least 1, got {length!r}")
    if isinstance(model, keras.Model):
        if overrides:
            raise TypeError(f"a model that is built takes no overrides, got {', '.join(overrides)}; pass its name")
        return _describe(model, measure(model, length, layers), length)
    catalog.find(model)

    def count():
        built = build(model, **overrides)
        return built, measure(built, length, layers)

    return _describe(*without_weights(count), length)


def _describe(model, counts, length):
    card = catalog.card_of(model)
    entry = catalog.find(card.name) if card.architecture else None
    return {
        "name": entry.name if entry else model.name,
        "architecture": entry.architecture if entry else None,
        "task": card.task,
        "summary": entry.summary if entry else None,
        "paper": entry.paper if entry else None,
        "inputs": _signature(model.inputs),
        "outputs": _signature(model.outputs, getattr(model, "output_names", None)),
        "length": length if any(None in tensor.shape[1:] for tensor in model.inputs) else None,
        **counts,
    }


def _signature(tensors, names=None):
    names = names or [tensor.name for tensor in tensors]
    return {
        name: {"shape": list(tensor.shape), "dtype": tensor.dtype} for name, tensor in zip(names, tensors, strict=True)
    }

"""Structured pruning: whole filters and units are removed, which makes the model smaller and faster on any machine.

Li et al. 2017, https://arxiv.org/abs/1608.08710: the filters whose weights have the smallest sum of absolute values are
removed, and with each one what other layers hold for its channel.
"""

import math

import keras
import numpy as np
from keras import layers

from kzoo import graph
from kzoo.measure import measure
from kzoo.measure.counting import DEFAULT_LENGTH
from kzoo.rewrites import carry, rewrites_of
from kzoo.rewrites.channels import DEPTHWISE, MATRICES, TRANSPOSED, Channels
from kzoo.rewrites.patterns import as_list, matching, text_of
from kzoo.support.suggest import did_you_mean


def prune_filters(model, fraction=None, *, macs=None, layers=None) -> keras.Model:
    """Removes the least important filters of convolutions and units of Dense layers, which makes a smaller model.

    Filters whose channels are added, multiplied or normalised together are removed together, ranked by the sum of the
    absolute values of their weights relative to the mean of their layer. The same share of each group of filters that
    feed the same layers is removed, and one filter always stays. Batch norms, depthwise convolutions and the layers
    that read the channels become narrower accordingly. Inputs and outputs keep their shapes, and so do the channels
    that reach a layer which is not known to treat each channel by itself, such as layer normalization, attention or a
    softmax: `prune_report` shows the result for each layer.

    The given model is left as it is; the smaller one has layers of its own and loses accuracy until it is trained
    again. It can be trained, saved, exported and loaded like any model of the catalogue.

    Args:
        model: a flat functional model.
        fraction: share of each group to remove, rounded down; above 0 and below 1.
        macs: alternatively, how many multiply-accumulates are to remain: a share (0.5) or their number for one example
            (an int). No more filters are removed than that takes.
        layers: names or patterns, as for `kzoo.lora`, of layers that may lose filters, one or a list; by default all.

    Raises ValueError or TypeError for numbers out of range, patterns that match nothing, and a model that is not flat,
    has no filter that can be removed, or cannot become as small as that.
    """
    graph.require_flat(model, "prune_filters")
    _check(fraction, macs)
    found = Channels(model)
    order = _order(found, _chosen(model, layers))
    if not order:
        raise ValueError(
            f"{model.name}{'' if layers is None else f', layers {layers!r}'}: no filter can be removed; each meets a "
            "model output or a layer that does not treat every channel by itself, or is the last of its kind"
        )
    if macs is None:
        removed = [root for share, root in order if share <= fraction + 1e-9]
    else:
        removed = _least_for(model, found, [root for _, root in order], macs)
    if not removed:
        raise ValueError(
            f"fraction {fraction:g} removes no filter of {model.name}, whose first goes at {order[0][0]:.3g}; choose a "
            "larger one"
        )
    kept = {name: _kept(found, role, removed) for name, role in found.roles.items()}
    changes = {name: change for name, role in found.roles.items() if (change := _change(found, role, removed))}
    pruned = repeat(model, changes)
    for layer in model.layers:
        if layer.weights:
            pruned.get_layer(layer.name).set_weights(_sliced(layer, kept.get(layer.name, {})))
    return pruned


def repeat(model, layers) -> keras.Model:
    """The model with some layers of other sizes, for weights that are loaded later.

    Args:
        layers: dict from a layer's name to what changes in its configuration.
    """
    missing = sorted(layers.keys() - {layer.name for layer in model.layers})
    if missing:
        raise ValueError(f"{model.name} was pruned in layers that it does not have: {', '.join(missing[:3])}")

    def replace(layer):
        return type(layer).from_config({**layer.get_config(), **layers.get(layer.name, {})})

    pruned = keras.models.clone_model(model, clone_function=replace)
    return carry(model, pruned, (*rewrites_of(model), {"rewrite": "prune_filters", "layers": layers}))


def prune_report(model, pruned) -> dict:
    """What `prune_filters` did: how `pruned` differs from the model it was made from.

    Returns a dict: `parameters`, `pruned_parameters`, `macs`, `pruned_macs` (for one example) and `layers`, a row for
    each layer that has filters or units: `name`, `kind`, `filters` and `pruned_filters`.
    """
    counts = [measure(one, _length(one)) for one in (model, pruned)]
    pairs = [(layer, pruned.get_layer(layer.name)) for layer in model.layers if isinstance(layer, MATRICES)]
    rows = [
        {"name": old.name, "kind": type(old).__name__, "filters": _width(old), "pruned_filters": _width(new)}
        for old, new in pairs
    ]
    parameters = {"parameters": model.count_params(), "pruned_parameters": pruned.count_params()}
    return {**parameters, "macs": counts[0]["macs"], "pruned_macs": counts[1]["macs"], "layers": rows}


def report_line(report) -> str:
    """A `prune_report` in one line."""
    rows = report["layers"]
    whole = [row["name"] for row in rows if row["filters"] == row["pruned_filters"]]
    pairs = ((report[f"pruned_{key}"], report[key]) for key in ("parameters", "macs"))
    shares = [f"{now:,} of {then:,} {{}} ({now / max(then, 1):.1%})" for now, then in pairs]
    return (
        f"{shares[0].format('parameters')} and {shares[1].format('multiply-accumulates')} remain; "
        f"{len(rows) - len(whole)} of {len(rows)} layers lost filters; whole: {', '.join(whole[:4])}"
        f"{', ...' if len(whole) > 4 else ''}"
    )


def _width(layer):
    return layer.units if isinstance(layer, layers.Dense) else layer.filters


def _check(fraction, macs):
    if (fraction is None) == (macs is None):
        raise TypeError("prune_filters takes either fraction or macs, such as fraction=0.3 or macs=0.5")
    name, value = ("fraction", fraction) if macs is None else ("macs", macs)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    is_count = name == "macs" and isinstance(value, int) and value > 0
    if not is_count and not 0 < value < 1:
        also = " or their number, an int" if name == "macs" else ""
        raise ValueError(f"{name} must be a share above 0 and below 1{also}, got {value!r}")


def _chosen(model, patterns):
    """Names of the layers that may lose filters; ValueError for a pattern that matches none."""
    known = [layer for layer in model.layers if isinstance(layer, MATRICES)]
    if patterns is None:
        return {layer.name for layer in known}
    chosen = set()
    for pattern in as_list("layers", patterns):
        matched = {layer.name for layer in matching(model, pattern) if layer in known}
        if not matched:
            names = [layer.name for layer in known]
            raise ValueError(f"{model.name}: {did_you_mean('layer with filters', text_of(pattern), names)}")
        chosen |= matched
    return chosen


def _order(found, chosen):
    """The sets of channels that may be removed, in the order of their removal: rows (share, root).

    `share` is how much of the set's group, which depends on the same layers, has been removed with it.
    """
    makers, sizes = {}, {}
    for name, role in found.roles.items():
        channels = role.makes if role.makes is not None else role.keeps
        norms = _norms(role)
        if norms is None:
            continue
        for root, norm in zip(found.roots(channels).tolist(), norms.tolist(), strict=True):
            sizes[root] = sizes.get(root, 0.0) + norm
            if role.makes is not None:
                makers.setdefault(root, set()).add(name)
    fixed, groups = found.fixed(), {}
    for root, names in makers.items():
        if root not in fixed and names <= chosen:
            groups.setdefault(frozenset(names), []).append(root)
    rows = []
    for group in groups.values():
        group.sort(key=lambda root: (sizes[root], root))
        rows += [((place + 1) / len(group), root) for place, root in enumerate(group[:-1])]  # the largest stays
    return sorted(rows, key=lambda row: (row[0], sizes[row[1]], row[1]))


def _norms(role):
    """The sum of the absolute weights of each filter, relative to the layer's mean; None for a layer without."""
    layer = role.layer
    if isinstance(layer, layers.BatchNormalization) or role.padding is not None:
        return None
    kernel = np.abs(keras.ops.convert_to_numpy(keras.ops.cast(layer.kernel, "float32")))
    axis = kernel.ndim - (2 if isinstance(layer, TRANSPOSED + DEPTHWISE) else 1)
    norms = kernel.sum(axis=tuple(other for other in range(kernel.ndim) if other != axis), dtype="float64")
    return norms / (norms.mean() or 1.0)


def _least_for(model, found, order, macs):
    """The first sets of an order that have to be removed to leave at most that many multiply-accumulates."""
    rows = [row for row in measure(model, _length(model), layers=True)["layers"] if row["macs"]]
    total = sum(row["macs"] for row in rows)
    wanted = macs if isinstance(macs, int) else macs * total
    parts = {
        name: [found.roots(part) for part in (role.reads, role.makes, role.keeps) if part is not None]
        for name, role in found.roles.items()
    }

    def remaining(count):
        """A matrix costs its inputs times its outputs, a depthwise kernel its channels; nothing else multiplies."""
        gone = order[:count]
        share = {name: math.prod(np.mean(~np.isin(part, gone)) for part in arrays) for name, arrays in parts.items()}
        return sum(row["macs"] * share.get(row["name"], 1.0) for row in rows)

    least = remaining(len(order))
    if not least * (1 - 1e-9) <= wanted < total:
        raise ValueError(
            f"macs {macs!r} cannot be had: {model.name} has {total:,} multiply-accumulates and keeps at least "
            f"{least:,.0f}, with one filter left of each group"
        )
    low, high = 1, len(order)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if remaining(middle) <= wanted * (1 + 1e-9) else (middle + 1, high)
    return order[:low]


def _length(model):
    """The length of sequences to count at."""
    return min(DEFAULT_LENGTH, graph.longest_sequence(model) or DEFAULT_LENGTH)


def _change(found, role, removed):
    """What changes in a layer's configuration."""

    def count(channels):
        return int((~np.isin(found.roots(channels), removed)).sum())

    if role.padding is not None:
        padding = [list(role.layer.padding[0]), [count(part) for part in role.padding]]
        return {} if padding[1] == list(role.layer.padding[1]) else {"padding": padding}
    if role.makes is None or count(role.makes) == len(role.makes):
        return {}
    return {"units" if isinstance(role.layer, layers.Dense) else "filters": count(role.makes)}


def _kept(found, role, removed):
    """Which channels stay of those that a layer reads, makes or normalises: {"reads": [True, ...], ...}."""
    channels = {key: getattr(role, key) for key in ("reads", "makes", "keeps")}
    return {key: ~np.isin(found.roots(part), removed) for key, part in channels.items() if part is not None}


def _sliced(layer, kept):
    """A layer's weights without those of the removed channels."""
    weights = layer.get_weights()
    if not kept:
        return weights
    if isinstance(layer, layers.BatchNormalization):
        return [weight[kept["keeps"]] for weight in weights]
    kernel, *bias = weights
    if isinstance(layer, DEPTHWISE):
        wide = np.repeat(kept["keeps"], layer.depth_multiplier)
        return [kernel.compress(kept["keeps"], axis=-2), *(one[wide] for one in bias)]
    reads, makes = (-1, -2) if isinstance(layer, TRANSPOSED) else (-2, -1)
    if "reads" in kept:
        kernel = kernel.compress(kept["reads"], axis=reads)
    return [kernel.compress(kept["makes"], axis=makes), *(one[kept["makes"]] for one in bias)]

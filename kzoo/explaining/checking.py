"""Checks that an explanation is one: does it name what the model uses, is it stable, does it depend on the weights?

All work on one input of the model; a tap's map is enlarged to the input's places first.
"""

import dataclasses

import keras
import numpy as np
from keras import ops
from scipy import stats

from kzoo.explaining.gradient_methods import as_numpy, start_of
from kzoo.explaining.perturbing import in_shape, places_of

NUM_ORDERS = 3  # random ones, that deletion and insertion are compared with


@dataclasses.dataclass(frozen=True)
class Explained:
    """What a check starts from.

    Attributes:
        cut: the `Cut` at the model's inputs.
        again: `again(x)` gives the scores of a method for prepared arrays, {input or tap: array}, with the same target.
    """

    cut: object
    model: keras.Model
    x: object
    target: object
    scores: dict
    again: object
    seed: int = 0


def deletion_and_insertion(explained, steps=20) -> dict:
    """How fast the probability falls when the best places go first, and rises when they come first.

    Petsiuk et al. 2018: the mean of the probability while a share of the places, from none to all, is replaced by 0, or
    put back; `random_deletion` and `random_insertion` are those of random orders. A good explanation has little
    deletion and much insertion.
    """
    cut, values = explained.cut, explained.cut.values(explained.x)
    start, random = start_of(cut, explained.x, values, 0.0), np.random.default_rng(explained.seed)
    name, kind = _only_input(cut)
    array, covered = as_numpy(values[0]), as_numpy(start[0])
    sizes = places_of(kind, array.shape[1:])
    scores = over_places(next(iter(explained.scores.values())), sizes).reshape(len(array), -1)
    orders = [np.argsort(-scores, axis=1, kind="stable")]
    orders += [random.permuted(np.tile(np.arange(scores.shape[1]), (len(array), 1)), axis=1) for _ in range(NUM_ORDERS)]
    found = {"deletion": [], "insertion": []}
    for order in orders:
        ranks = np.argsort(order, axis=1).reshape(len(array), *sizes)
        for what in found:
            curve = []
            for share in np.linspace(0, 1, steps + 1):
                first = ranks < round(share * scores.shape[1])
                keep = _of_channels(~first if what == "deletion" else first, kind, array)
                seen = ops.cast(covered + keep * (array - covered), values[0].dtype)
                curve.append(_probability(cut, explained.x, seen, explained.target))
            found[what].append(np.trapezoid(np.stack(curve), dx=1 / steps, axis=0))
    return {
        key: [float(one) for one in value]
        for what, areas in found.items()
        for key, value in ((what, areas[0]), (f"random_{what}", np.mean(areas[1:], axis=0)))
    }


def infidelity(explained, samples=20, share=0.2) -> dict:
    """How far the scores of places are from what happens when these are removed: Yeh et al. 2019, definition 2.1.

    The mean square of the sum of the scores of a random `share` of places minus what the number loses without them, as
    a share of the mean square of the latter. 0 is perfect; no better than scores of 0 is 1.
    """
    cut, values = explained.cut, explained.cut.values(explained.x)
    name, kind = _only_input(cut)
    array, random = as_numpy(values[0]), np.random.default_rng(explained.seed)
    covered = as_numpy(start_of(cut, explained.x, values, 0.0)[0])
    sizes = places_of(kind, array.shape[1:])
    scores = over_places(next(iter(explained.scores.values())), sizes)
    whole = as_numpy(cut.scores(explained.x, values, explained.target))
    wrong, lost = np.zeros(len(array)), np.zeros(len(array))
    for _ in range(samples):
        gone = random.random((len(array), *sizes)) < share
        seen = ops.cast(covered + _of_channels(~gone, kind, array) * (array - covered), values[0].dtype)
        loss = whole - as_numpy(cut.scores(explained.x, [seen], explained.target))
        wrong += ((scores * gone).reshape(len(array), -1).sum(1) - loss) ** 2
        lost += loss**2
    return {"infidelity": [float(one) for one in wrong / np.maximum(lost, 1e-12)]}


def max_sensitivity(explained, samples=5, noise=0.02) -> dict:
    """The most that scores change under a small change of the input, as a share of their size: Yeh et al. 2019, 4."""
    name, _ = _only_input(explained.cut)
    x = explained.x[name] if isinstance(explained.x, dict) else explained.x
    if not np.issubdtype(np.asarray(x).dtype, np.floating):
        raise ValueError(f"max_sensitivity changes the input a little; {name} holds ids")
    random, before = np.random.default_rng(explained.seed), next(iter(explained.scores.values()))
    size = np.maximum(np.sqrt((before.reshape(len(before), -1) ** 2).sum(1)), 1e-12)
    most = np.zeros(len(before))
    for _ in range(samples):
        moved = (x + noise * x.std() * random.uniform(-1, 1, x.shape)).astype(np.float32)
        after = next(
            iter(explained.again({**explained.x, name: moved} if isinstance(explained.x, dict) else moved).values())
        )
        most = np.maximum(most, np.sqrt(((after - before).reshape(len(before), -1) ** 2).sum(1)) / size)
    return {"max_sensitivity": [float(one) for one in most]}


def randomization(explained, cascading=True, layers=6) -> dict:
    """Whether the explanation depends on the weights: Adebayo et al. 2018, section 3.1.

    The weights of layers are shuffled, from the output backwards, and the scores made anew: their rank correlation
    with the first ones should fall. The model has its own weights again afterwards.

    Args:
        cascading: whether a layer's weights stay shuffled when those before it follow; else each alone.
        layers: how many steps, spread over all layers with weights.

    Gives `randomization`, {layer: mean rank correlation over the examples of the sizes of scores}.
    """
    random = np.random.default_rng(explained.seed)
    owners = [layer for layer in explained.model.layers if layer.trainable_weights][::-1]
    ends = np.unique(np.linspace(1, len(owners), min(layers, len(owners))).round().astype(int))
    first = _ranks(explained.scores)
    kept = [
        variable.numpy() if hasattr(variable, "numpy") else as_numpy(variable) for variable in explained.model.weights
    ]
    found, begin = {}, 0
    try:
        for end in ends:
            if not cascading:
                explained.model.set_weights(kept)
                begin = end - 1
            for layer in owners[begin:end]:
                for variable in layer.trainable_weights:
                    array = as_numpy(variable)
                    variable.assign(random.permutation(array.ravel()).reshape(array.shape))
            begin = end
            found[owners[end - 1].name] = float(np.mean(_correlations(first, _ranks(explained.again(explained.x)))))
    finally:
        explained.model.set_weights(kept)
    return {"randomization": found}


CHECKS = {
    "deletion": deletion_and_insertion,
    "infidelity": infidelity,
    "sensitivity": max_sensitivity,
    "randomization": randomization,
}


def over_places(scores, sizes) -> np.ndarray:
    """Scores (batch, ...) as one number for each place of an input (batch, *sizes): channels summed, maps enlarged."""
    scores = scores.reshape(*scores.shape[: len(sizes) + 1], -1).sum(-1) if scores.ndim > len(sizes) + 1 else scores
    for axis, size in enumerate(sizes, 1):
        there = scores.shape[axis]
        if there != size:
            positions = np.clip((np.arange(size) + 0.5) * there / size - 0.5, 0, there - 1)
            low = positions.astype(int)
            share = (positions - low).reshape(-1, *[1] * (scores.ndim - axis - 1))
            high = np.minimum(low + 1, there - 1)
            scores = (1 - share) * scores.take(low, axis) + share * scores.take(high, axis)
    return scores


def _of_channels(keep, kind, array):
    """What is kept of places (batch, *places), as 0 and 1 that multiply numbers at the cut."""
    keep = in_shape(keep.astype(np.float32), kind, array.shape)
    return keep if keep.ndim == array.ndim else keep[..., None]


def _only_input(cut):
    if len(cut.names) != 1:
        raise ValueError(f"checks are for models with one explained input; this one has {', '.join(cut.names)}")
    return cut.names[0], cut.kinds[cut.names[0]]


def _probability(cut, x, seen, target):
    """The probability (batch,) of what the target means, or the number itself where it is a difference."""
    if target.against is not None:
        return as_numpy(cut.scores(x, [seen], target))
    outputs = as_numpy(cut.outputs(x, [seen])[target.output])
    chances = outputs
    if not target.of_chances:
        chances = as_numpy(ops.softmax(outputs) if outputs.shape[-1] > 1 else ops.sigmoid(outputs))
    return chances[(np.arange(len(outputs)), *target.places.T)]


def _ranks(scores):
    """The places of the sizes of scores (batch, everything) in their order, around 0 and of length 1."""
    flat = np.concatenate([np.abs(array).reshape(len(array), -1) for array in scores.values()], 1)
    ranks = stats.rankdata(flat, axis=1)  # of equal ones the mean
    ranks -= ranks.mean(1, keepdims=True)
    return ranks / np.maximum(np.linalg.norm(ranks, axis=1, keepdims=True), 1e-12)


def _correlations(first, second):
    return (first * second).sum(1)

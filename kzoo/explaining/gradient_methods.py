"""Explanations from gradients: saliency, gradient times input, integrated gradients, SmoothGrad.

Each method takes a `Cut` at a model's inputs, prepared arrays, a `Target` and its settings, and gives the scores of
each input in the input's own shape: of an id that of its vector, summed; of saliency the vector's length.
"""

import dataclasses

import numpy as np
from keras import ops

from kzoo.explaining.points import OF_IDS, Target


def saliency(cut, x, target, seed=0) -> tuple:
    """The size of the gradient: how much the number changes with each input (Simonyan et al. 2013)."""
    _, gradients = cut.gradients(x, cut.values(x), target)
    return _joined(cut, gradients, sizes=True), {}


def gradient_x_input(cut, x, target, seed=0) -> tuple:
    """The gradient times the input (Shrikumar et al. 2016)."""
    values = cut.values(x)
    _, gradients = cut.gradients(x, values, target)
    return _joined(cut, [g * ops.cast(v, g.dtype) for g, v in zip(gradients, values, strict=True)]), {}


def integrated_gradients(cut, x, target, steps=50, baseline=0.0, batch_size=32, seed=0) -> tuple:
    """The mean gradient on the straight way from a baseline, times the difference (Sundararajan et al. 2017).

    Args:
        steps: of the Gauss-Legendre quadrature.
        baseline: a number, or prepared arrays in the model's input structure, one example or as many as x has. A number
            stands for it in every input; for ids it is that number in every component of their vectors.
        batch_size: examples that are read at once.

    The check `completeness_error` is, for each example, how much the sum of all scores differs from the difference that
    the target makes between the baseline and the input, as a share of that difference.
    """
    check_count("steps", steps)
    values = cut.values(x)
    start = start_of(cut, x, values, baseline)
    positions, weights = np.polynomial.legendre.leggauss(int(steps))
    positions, weights = (positions + 1) / 2, weights / 2
    count = len(values[0])
    at_once = max(1, batch_size // count)
    sums = [0.0] * len(values)
    for begin in range(0, len(positions), at_once):
        part, share = positions[begin : begin + at_once], weights[begin : begin + at_once]
        points = [_between(first, last, part) for first, last in zip(start, values, strict=True)]
        _, gradients = cut.gradients(repeated(x, len(part)), points, repeated_target(target, len(part)))
        for place, gradient in enumerate(gradients):
            gradient = as_numpy(gradient).reshape(len(part), count, *gradient.shape[1:])
            sums[place] = sums[place] + np.tensordot(share.astype(np.float32), gradient, 1)
    difference = [as_numpy(last) - as_numpy(first) for first, last in zip(start, values, strict=True)]
    found = [total * step for total, step in zip(sums, difference, strict=True)]
    made = as_numpy(cut.scores(x, values, target)) - as_numpy(cut.scores(x, start, target))
    total = sum(array.reshape(count, -1).sum(1, dtype=np.float64) for array in found)
    error = np.abs(total - made) / np.maximum(np.abs(made), 1e-6)
    return _joined(cut, found), {"completeness_error": [float(one) for one in error]}


def smoothgrad(cut, x, target, samples=25, noise=0.15, seed=0) -> tuple:
    """Saliency's gradient, averaged over copies of the input with normal noise (Smilkov et al. 2017).

    Args:
        samples: how many copies.
        noise: its standard deviation, as a share of the range of each example's values.
    """
    check_count("samples", samples)
    values, random = cut.values(x), np.random.default_rng(seed)
    sums = [0.0] * len(values)
    for _ in range(int(samples)):
        moved = []
        for value in values:
            array = as_numpy(value)
            axes = tuple(range(1, array.ndim))
            spread = noise * (array.max(axes, keepdims=True) - array.min(axes, keepdims=True))
            moved.append(ops.cast(array + spread * random.standard_normal(array.shape, np.float32), value.dtype))
        _, gradients = cut.gradients(x, moved, target)
        sums = [total + as_numpy(gradient) for total, gradient in zip(sums, gradients, strict=True)]
    return _joined(cut, [total / samples for total in sums], sizes=True), {}


def repeated(x, times) -> np.ndarray | dict:
    """Prepared arrays in the model's input structure, as often as said."""
    again = lambda array: np.concatenate([array] * times)  # noqa: E731
    return {name: again(array) for name, array in x.items()} if isinstance(x, dict) else again(x)


def repeated_target(target, times) -> Target:
    """A target for as many copies of every example."""
    parts = {"places": target.places, "against": target.against}
    return dataclasses.replace(target, **{k: v if v is None else np.concatenate([v] * times) for k, v in parts.items()})


def start_of(cut, x, values, baseline) -> list:
    """The tensors at the cut for a baseline; ValueError for one of another shape."""
    if isinstance(baseline, int | float):
        return [ops.full_like(value, baseline) for value in values]
    arrays = baseline if isinstance(baseline, dict) else {cut.input_names[0]: baseline}
    if isinstance(x, dict):
        if unknown := set(arrays) - set(x):
            raise ValueError(f"baseline has {sorted(unknown)}; the inputs are {', '.join(x)}")
        arrays = {**x, **arrays}
    for name, array in arrays.items():
        wanted = np.shape(x[name] if isinstance(x, dict) else x)
        if np.shape(array) not in (wanted, (1, *wanted[1:])):
            raise ValueError(
                f"baseline has shape {np.shape(array)} for {name}; wanted {wanted}, or one of its examples"
            )
        arrays[name] = np.broadcast_to(array, wanted)
    return cut.values(arrays if isinstance(x, dict) else arrays[cut.input_names[0]])


def _between(first, last, positions):
    """Points (positions * batch, ...) on the straight way between two tensors (batch, ...)."""
    positions = positions.astype(np.float32).reshape(-1, *[1] * len(first.shape))
    first, last = as_numpy(first), as_numpy(last)
    points = first + positions * (last - first)
    return ops.convert_to_tensor(points.reshape(-1, *first.shape[1:]))


def _joined(cut, arrays, sizes=False):
    """{input: scores in its shape} of tensors at the cut; those of one vector become one."""
    found = {}
    for (name, kind), array in zip(cut.kinds.items(), arrays, strict=True):
        array = as_numpy(array)
        if kind in OF_IDS:
            array = np.sqrt((array**2).sum(-1)) if sizes else array.sum(-1)
        found[name] = np.abs(array) if sizes else array
    return found


def as_numpy(tensor) -> np.ndarray:
    """A tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))


def check_count(name, value) -> None:
    """ValueError unless a setting is a whole number of 1 or more."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}={value!r}; wanted a number of 1 or more")

"""Explanations that only ask what the model answers when parts of an example are missing: occlusion and RISE.

Parts are taken out where the graph is cut, so that those of a text are the vectors of its tokens.
"""

import itertools
import math

import numpy as np
from keras import ops

from kzoo.explaining.gradient_methods import as_numpy, check_count, repeated, repeated_target, start_of
from kzoo.explaining.points import OF_IDS

# how many places an input of a kind has beside its channels; other kinds are one place for each number
NUM_AXES = {"image": 2, "video": 3, "sequence": 1, "mel": 1, "tokens": 1, "letters": 1}
PARTS_ACROSS = {"image": 8, "video": 4, "waveform": 32}  # windows across each axis, where none is given


def occlusion(cut, x, target, window=None, stride=None, baseline=0.0, batch_size=32, seed=0) -> tuple:
    """How much the number falls when a window is covered (Zeiler and Fergus 2014).

    Args:
        window: places that are covered together, a number or one for each axis of places: height and width of a
            picture, steps of a sequence, samples of a waveform. By default an eighth of a picture's sides and one
            token, letter or step.
        stride: how far the window moves; half of it by default. A place that several windows cover has the mean.
        baseline: what covers, as for `integrated_gradients`.
    """
    values = cut.values(x)
    start = start_of(cut, x, values, baseline)
    whole, found = as_numpy(cut.scores(x, values, target)), {}
    for place, (name, kind) in enumerate(cut.kinds.items()):
        array, covered = as_numpy(values[place]), as_numpy(start[place])
        sizes = places_of(kind, array.shape[1:])
        window_here = _per_axis("window", window, sizes, [_window(kind, size) for size in sizes])
        stride_here = _per_axis("stride", stride, sizes, [max(1, size // 2) for size in window_here])
        masks = _windows(sizes, window_here, stride_here)
        total, count = np.zeros((len(array), *sizes), np.float32), np.zeros(sizes, np.float32)
        for part in _pieces(masks, max(1, batch_size // len(array))):
            keep = ~np.stack(part)
            answers = _answers(cut, x, values, place, array, covered, keep, target)
            for mask, answer in zip(part, answers, strict=True):
                total += mask * (whole - answer).reshape(-1, *[1] * len(sizes))
                count += mask
        found[name] = in_shape(total / np.maximum(count, 1), kind, array.shape)
    return found, {}


def rise(cut, x, target, masks=500, cells=7, keep=0.5, baseline=0.0, batch_size=32, seed=0) -> tuple:
    """The mean of random smooth masks, weighted by what the model answers through them (Petsiuk et al. 2018).

    Args:
        masks: how many.
        cells: of the coarse grid that each mask is made of, along each axis.
        keep: the share of cells that are kept.
    """
    check_count("masks", masks)
    check_count("cells", cells)
    if not 0 < keep < 1:
        raise ValueError(f"keep={keep!r}; wanted a share between 0 and 1")
    values, random, found = cut.values(x), np.random.default_rng(seed), {}
    start = start_of(cut, x, values, baseline)
    for place, (name, kind) in enumerate(cut.kinds.items()):
        array, covered = as_numpy(values[place]), as_numpy(start[place])
        sizes = places_of(kind, array.shape[1:])
        total = np.zeros((len(array), *sizes), np.float32)
        for part in _pieces(range(masks), max(1, batch_size // len(array))):
            drawn = np.stack([_smooth_mask(random, sizes, cells, keep) for _ in part])
            answers = _answers(cut, x, values, place, array, covered, drawn, target)
            total += np.tensordot(answers, drawn, (0, 0)).reshape(total.shape)
        found[name] = in_shape(total / (masks * keep), kind, array.shape)
    return found, {}


def _answers(cut, x, values, place, array, covered, keep, target):
    """The numbers (masks, batch) for one input seen through masks (masks, *places) of what is kept."""
    axes = array.ndim - keep.ndim  # of channels
    share = keep.reshape(len(keep), 1, *keep.shape[1:], *[1] * axes).astype(np.float32)
    seen = covered + share * (array - covered)
    again = [ops.concatenate([value] * len(keep)) for value in values]
    again[place] = ops.cast(seen.reshape(-1, *array.shape[1:]), values[place].dtype)
    answers = cut.scores(repeated(x, len(keep)), again, repeated_target(target, len(keep)))
    return as_numpy(answers).reshape(len(keep), len(array))


def places_of(kind, shape) -> tuple:
    """The sizes of the axes that places lie along."""
    return shape[: NUM_AXES.get(kind, len(shape))]


def in_shape(scores, kind, shape) -> np.ndarray:
    """Scores of places as those of the input: of every channel the same; of an id one number."""
    if kind in OF_IDS:
        return scores
    return np.broadcast_to(scores.reshape(*scores.shape, *[1] * (len(shape) - scores.ndim)), shape).copy()


def _window(kind, size):
    return max(1, math.ceil(size / PARTS_ACROSS[kind])) if kind in PARTS_ACROSS else 1


def _per_axis(name, given, sizes, otherwise):
    if given is None:
        return otherwise
    given = [given] * len(sizes) if isinstance(given, int) else list(given)
    if len(given) != len(sizes) or any(not isinstance(one, int) or one < 1 for one in given):
        raise ValueError(f"{name}={given}; wanted a number of 1 or more, or one for each of {len(sizes)} axes")
    return [min(one, size) for one, size in zip(given, sizes, strict=True)]


def _windows(sizes, window, stride):
    """Masks that are true inside of each window, the last of an axis cut at its end."""
    begins = [
        range(0, (math.ceil((size - width) / step) if size > width else 0) * step + 1, step)
        for size, width, step in zip(sizes, window, stride, strict=True)
    ]
    for corner in itertools.product(*begins):
        mask = np.zeros(sizes, bool)
        mask[tuple(slice(begin, begin + width) for begin, width in zip(corner, window, strict=True))] = True
        yield mask


def _smooth_mask(random, sizes, cells, keep):
    """A coarse random grid, enlarged linearly along every axis and shifted by less than a cell."""
    grid = (random.random([min(cells, size) + 1 for size in sizes]) < keep).astype(np.float32)
    for axis, size in enumerate(sizes):
        count = grid.shape[axis] - 1
        cell = size / count
        positions = (np.arange(size) + random.random() * cell) / cell
        low = np.minimum(positions.astype(int), count)
        share = np.minimum(positions - low, 1.0).astype(np.float32).reshape(-1, *[1] * (grid.ndim - axis - 1))
        high = np.minimum(low + 1, count)
        grid = (1 - share) * grid.take(low, axis) + share * grid.take(high, axis)
    return grid


def _pieces(items, count):
    """Lists of at most `count` items."""
    items = iter(items)
    while part := list(itertools.islice(items, count)):
        yield part

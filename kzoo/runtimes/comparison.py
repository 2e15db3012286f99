"""How far outputs moved, and how long calls take."""

import time

import keras
import numpy as np


def difference(ours, theirs):
    """The largest difference of two lists of arrays and the scale of the first: `(difference, scale)`.

    Raises ValueError where shapes or numbers of arrays differ.
    """
    largest, scale = 0.0, 0.0
    shapes, others = [a.shape for a in ours], [a.shape for a in theirs]
    if shapes != others:
        raise ValueError(f"outputs have shapes {others}, wanted {shapes}")
    for a, b in zip(ours, theirs, strict=True):
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        largest = max(largest, float(np.max(np.abs(a - b))))
        scale = max(scale, float(np.max(np.abs(a))))
    return largest, scale


def outputs_of(model, arrays):
    """The model's own outputs for a list of inputs, as a list of NumPy arrays."""
    x = keras.tree.pack_sequence_as(model.input, list(arrays))
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]


def interleaved(calls, seconds=1.0, min_rounds=3, max_rounds=50):
    """Times functions in turns, so that what else the machine does falls on all of them alike.

    Args:
        calls: `{name: function without arguments}`; each is called once before the clock runs.
        seconds: for all rounds together, unless `min_rounds` take longer.

    Returns `{name: {"min": ms, "median": ms, "num_rounds": count}}`.
    """
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    begin = time.perf_counter()
    for count in range(max_rounds):
        if count >= min_rounds and time.perf_counter() - begin > seconds:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {"min": round(min(ms), 4), "median": round(float(np.median(ms)), 4), "num_rounds": len(ms)}
        for name, ms in times.items()
    }

"""How far outputs moved, and how long calls take."""

import time

import keras
import numpy as np

MASKED = -1e8  # a value below stands for minus infinity, and says nothing about the scale of the others


def difference(ours, theirs, what="outputs have") -> tuple:
    """The largest difference of two lists of arrays and the largest value of the first: `(difference, scale)`.

    Raises ValueError, which begins with `what`, if they differ in their shapes or in the number of arrays.
    """
    shapes, others = [a.shape for a in ours], [a.shape for a in theirs]
    if shapes != others:
        raise ValueError(f"{what} shapes {others}, wanted {shapes}")
    pairs = [(np.asarray(a, "float64"), np.asarray(b, "float64")) for a, b in zip(ours, theirs, strict=True)]
    largest = np.max([np.max(np.abs(a - b)) for a, b in pairs])  # which keeps a NaN, as Python's max does not
    return float(largest), float(np.max([np.max(np.abs(a), where=~(a < MASKED), initial=0) for a, _ in pairs]))


def outputs_of(model, arrays) -> list:
    """The model's own outputs for a list of inputs, as a list of NumPy arrays."""
    x = keras.tree.pack_sequence_as(model.input, list(arrays))
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]


def interleaved(calls, seconds=1.0, min_rounds=3, max_rounds=50) -> dict:
    """Times functions in turns, so that whatever else the machine does affects all of them alike.

    Args:
        calls: `{name: function without arguments}`; each is called once before the clock starts.
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

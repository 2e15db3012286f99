"""What a report says of a runtime: how far outputs moved, how often they are right, how long a call takes."""

import keras
import numpy as np

from kzoo.runtimes import comparison, samples

BATCH_SIZES = (1, 3)
TOLERANCE = 1e-4  # of the outputs' scale, in float32; a runtime that is further off computes something else


def moved(model, run, settings, real=None):
    """The largest difference to the model's outputs, at two batch sizes, on real inputs if given, else on random ones.

    Returns `max_difference`, the `scale` of the outputs and `compared_on`. Raises ValueError for outputs that are no
    numbers and, in float32, for a difference beyond TOLERANCE.
    """
    largest, scale = 0.0, 0.0
    for seed, batch_size in enumerate([settings.batch_size] if settings.batch_size else BATCH_SIZES):
        if real is None:
            arrays = samples.random_inputs(model, batch_size, settings.length, seed)
        else:
            arrays = next(samples.batches(real, [tensor.name for tensor in model.inputs], batch_size))
        difference, size = comparison.difference(comparison.outputs_of(model, arrays), run(arrays))
        bound = TOLERANCE * max(size, 1e-6) if settings.precision == "float32" else np.inf
        if not difference <= bound:
            raise ValueError(
                f"outputs differ from those of {model.name} by {difference:.3g} at batch size {batch_size} (outputs up "
                f"to {size:.3g}, tolerance {TOLERANCE:g} of that); nothing was kept"
            )
        largest, scale = max(largest, difference), max(scale, size)
    return {"max_difference": largest, "scale": scale, "compared_on": "random" if real is None else "real"}


def latency(model, run, settings):
    """Milliseconds of `predict_on_batch` before and of `run` after, interleaved, and the ratio of their minima."""
    arrays = samples.random_inputs(model, settings.batch_size or 1, settings.length)
    x = keras.tree.pack_sequence_as(model.input, arrays)
    calls = {"before": lambda: model.predict_on_batch(x), "after": lambda: run(arrays)}
    times = comparison.interleaved(calls, settings.seconds)
    return {
        "measured_batch_size": settings.batch_size or 1,
        "latency_ms": times,
        "speedup": round(times["before"]["min"] / times["after"]["min"], 3),
    }


def accuracy(model, run, part, num_examples=1000):
    """How often the first output names the label, before and after, on a split of a data set of kzoo.

    Args:
        part: a split, such as `data.test`; labels of classes, or one a token with weights.
        num_examples: at most so many.

    Returns `before`, `after` (shares of 1), `num_examples` and `agreement`, how often both name the same.
    """
    totals, count = np.zeros(3), 0
    weight = 0.0
    for x, y, *rest in part.dataset:
        arrays = [np.asarray(array) for array in samples.flat(model, x)]
        ours, theirs = comparison.outputs_of(model, arrays)[0], run(arrays)[0]
        y = np.asarray(y[0] if isinstance(y, tuple) else y).reshape(ours.shape[:-1])
        w = np.asarray(rest[0]).reshape(y.shape) if rest else np.ones(y.shape)
        ours, theirs = _labels(ours), _labels(theirs)
        totals += [np.sum(w * hits) for hits in (ours == y, theirs == y, ours == theirs)]
        weight, count = weight + np.sum(w), count + len(y)
        if count >= num_examples:
            break
    before, after, agreement = (float(total / weight) for total in totals)
    return {"before": before, "after": after, "agreement": agreement, "num_examples": count}


def _labels(outputs):
    return (outputs[..., 0] > 0).astype(int) if outputs.shape[-1] == 1 else np.argmax(outputs, -1)

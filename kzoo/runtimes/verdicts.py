"""What a report says of a runtime: how far its outputs moved, how often they are right, how long a call takes."""

import keras
import numpy as np

from kzoo.runtimes import comparison, samples
from kzoo.tasks import of_or_guess

BATCH_SIZES = (1, 3)
TOLERANCE = 1e-4  # of the outputs' scale, in float32; a runtime that is further off computes something else


def require_close(what, difference, scale, batch_size, tolerance) -> None:
    """Raises ValueError, which begins with `what`, unless a difference is a number within the tolerance of a scale."""
    if not difference <= tolerance * max(scale, 1e-6):
        raise ValueError(
            f"{what} by {difference:.3g} at batch size {batch_size} (outputs up to {scale:.3g}, tolerance "
            f"{tolerance:g} of that); nothing was kept"
        )


def moved(model, run, settings, real=None) -> dict:
    """The largest difference from the model's outputs at two batch sizes, on real inputs if given, else on random ones.

    Returns `max_difference`, the `scale` of the outputs and `compared_on`. Raises ValueError for outputs that are not
    numbers and, in float32, for a difference beyond TOLERANCE.
    """
    tolerance = TOLERANCE if settings.precision == "float32" else np.inf
    largest, scale = 0.0, 0.0
    for seed, batch_size in enumerate([settings.batch_size] if settings.batch_size else BATCH_SIZES):
        if real is None:
            arrays = samples.random_inputs(model, batch_size, settings.length, seed)
        else:
            arrays = next(samples.batches(real, [tensor.name for tensor in model.inputs], batch_size))
        difference, size = comparison.difference(comparison.outputs_of(model, arrays), run(arrays))
        require_close(f"outputs differ from those of {model.name}", difference, size, batch_size, tolerance)
        largest, scale = max(largest, difference), max(scale, size)
    return {"max_difference": largest, "scale": scale, "compared_on": "random" if real is None else "real"}


def latency(model, run, settings) -> dict:
    """Milliseconds of `predict_on_batch` before and of `run` after, interleaved, and the ratio of their minima."""
    batch_size = settings.batch_size or 1
    arrays = samples.random_inputs(model, batch_size, settings.length)
    x = keras.tree.pack_sequence_as(model.input, arrays)
    calls = {"before": lambda: model.predict_on_batch(x), "after": lambda: run(arrays)}
    times = comparison.interleaved(calls, settings.seconds)
    speedup = round(times["before"]["min"] / times["after"]["min"], 3)
    return {"measured_batch_size": batch_size, "latency_ms": times, "speedup": speedup}


def accuracy(model, run, part, num_examples=1000, gives_results=False) -> dict:
    """How often the first output names the label, before and after, on a split of a data set of kzoo.

    Args:
        part: a split, such as `data.test`, with labels of classes, or one label for each token and weights.
        num_examples: read about this many; the last batch is counted whole.
        gives_results: whether `run` gives what the model's task reads from outputs, such as probabilities.

    Returns `before` and `after` (shares of 1), `agreement`, how often both name the same, and `num_examples`. Raises
    ValueError for a task whose answers are neither right nor wrong.
    """
    task = of_or_guess(model)

    def answers(outputs, are_results=False):
        results = outputs if are_results else task.read(model, keras.ops.convert_to_tensor(outputs))
        return task.decide(keras.ops.convert_to_numpy(results))

    totals, weight, count = np.zeros(3), 0.0, 0
    for x, y, *rest in part.dataset:
        arrays = [np.asarray(array) for array in samples.flat(model, x)]
        ours, theirs = comparison.outputs_of(model, arrays)[0], run(arrays)[0]
        ours, theirs = answers(ours), answers(theirs, gives_results)
        y = np.asarray(y[0] if isinstance(y, tuple) else y).reshape(ours.shape)
        w = np.asarray(rest[0]).reshape(y.shape) if rest else np.ones(y.shape)
        totals += [np.sum(w * hits) for hits in (ours == y, theirs == y, ours == theirs)]
        weight, count = weight + np.sum(w), count + len(y)
        if count >= num_examples:
            break
    before, after, agreement = (float(total / weight) for total in totals)
    return {"before": before, "after": after, "agreement": agreement, "num_examples": count}

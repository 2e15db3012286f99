"""Random batches shaped by a model's inputs and targets, for benchmarks and tests."""

import numpy as np

from kzoo.data import checks
from kzoo.data.synthetic import synthetic_inputs


def synthetic_batch(model, batch_size, seed=0, sequence_length=32) -> tuple:
    """One batch `(x, y, weight or None)` of NumPy arrays, a pure function of its arguments.

    Float inputs are uniform in [0, 1), token ids uniform over the vocabulary without the padding id 0, segments 0 or 1,
    masks ones; axes of unknown size get `sequence_length`. Labels are those of the model's task: (batch, 1) float32
    zeros and ones for one logit, (batch,) int32 for classes, (batch, length) int32 with weights of one where every
    token has a label; several outputs of one head have labels by name.

    Raises ValueError for a `batch_size` or `sequence_length` below 1.
    """
    from kzoo.tasks import of_or_guess

    batch_size = checks.check_count("batch_size", batch_size)
    length = checks.check_count("sequence_length", sequence_length)
    random = np.random.default_rng(seed)
    x = synthetic_inputs(model, batch_size, random, length)
    return x, *of_or_guess(model).random_targets(model, x, random, length)


def drawn_targets(target, random, batch_size, length) -> tuple | dict:
    """A random batch of a target or a dict of them, and weights or None."""
    if not isinstance(target, dict):
        return target.draw(random, batch_size, length)
    drawn = {name: column.draw(random, batch_size, length) for name, column in target.items()}
    ones = np.ones(batch_size, np.float32)
    return {name: y for name, (y, _) in drawn.items()}, {
        name: ones if weight is None else weight for name, (_, weight) in drawn.items()
    }

"""Random inputs for a model. NumPy only."""

from typing import Any

import numpy as np

from kzoo.data import columns


def synthetic_inputs(model, batch_size, random=0, length=32) -> Any:
    """Random arrays in the structure of a model's inputs: one array, or a dict by name.

    Args:
        random: a NumPy generator, or the seed of one.
        length: the size that axes of unknown size get.
    """
    random = np.random.default_rng(random)
    x = {name: column.draw(random, batch_size, length) for name, column in columns.inputs_of(model).items()}
    return x if len(x) > 1 else next(iter(x.values()))

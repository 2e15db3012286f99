"""Moving averages of weights (Polyak, Juditsky 1992), which a run keeps in place of the weights themselves.

Keras's optimizers move the averages and hold them among their variables, so that a backup has them. But Keras puts
them into the model at the end of every `fit`, which here is an epoch, and training would go on from them.
"""

import contextlib
from collections.abc import Iterator

from keras import ops

from kzoo.training.fused import inner


@contextlib.contextmanager
def kept_apart(optimizer) -> Iterator[None]:
    """While entered, the end of an epoch leaves the weights as they are."""
    optimizer = inner(optimizer)
    optimizer.finalize_variable_values = lambda variables: None
    try:
        yield
    finally:
        del optimizer.finalize_variable_values  # uncovers the method of the class


def _pairs(networks):
    """Pairs of a weight and its average, where an optimizer averages."""
    for _, optimizer in networks:
        optimizer = inner(optimizer)
        if optimizer.use_ema:
            yield from zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)


def settle(networks) -> None:
    """Puts the averages into networks, pairs of a Keras model and its optimizer, where there are any."""
    for weight, average in _pairs(networks):
        weight.assign(average)


@contextlib.contextmanager
def averaged(networks) -> Iterator[None]:
    """While entered, networks hold the averages; afterwards their own weights again."""
    own = [(weight, ops.convert_to_numpy(weight)) for weight, _ in _pairs(networks)]
    settle(networks)
    try:
        yield
    finally:
        for weight, value in own:
            weight.assign(value)

"""Gradients of embeddings, summed over the tokens that occur more than once before an optimizer sees them.

On TensorFlow such a gradient is a list of rows, one for every token of the batch. Keras's optimizers square each row by
itself, for Adam's second moment as well as for the norm at which gradients are clipped. That gives the sum of squares
where the square of the sum is meant, and takes other steps than torch, or Keras on JAX.
"""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def summed(optimizer) -> Iterator[None]:
    """While entered, a Keras optimizer on TensorFlow takes every gradient as one dense tensor.

    A step that was traced inside stays that way.
    """
    import tensorflow as tf

    by_rows = optimizer.apply

    def apply(grads, trainable_variables=None):
        dense = [tf.convert_to_tensor(one) if isinstance(one, tf.IndexedSlices) else one for one in grads]
        return by_rows(dense, trainable_variables)

    optimizer.apply = apply
    try:
        yield
    finally:
        del optimizer.apply  # uncovers the method of the class

"""Gradients of embeddings, summed over the tokens that come more than once before an optimizer sees them.

On TensorFlow such a gradient is a list of rows, one for every token of the batch. Keras' optimizers square each row by
itself, for Adam's second moment as for the norm at which gradients are clipped: the sum of squares where the square of
the sum is meant, which clips too late and takes other steps than torch, or Keras on JAX.
"""

import contextlib


@contextlib.contextmanager
def summed(optimizer):
    """While entered, steps of a Keras optimizer on TensorFlow take every gradient as one dense tensor.

    A step that was traced inside stays so.
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
        del optimizer.apply  # the class's own shows again

"""What the tests need from the active Keras backend itself: calls of a model, compilation by XLA, and gradients."""

import keras
import numpy as np
from keras import ops


def outputs_of(model, x):
    """A model's outputs, in inference, as NumPy arrays in its structure.

    JAX compiles an eager call operation by operation, which takes many times as long as the whole graph at once.
    """
    if keras.backend.backend() == "jax":
        return model.predict_on_batch(x)
    return keras.tree.map_structure(ops.convert_to_numpy, model(x, training=False))


def compiled(function):
    """The function under XLA."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True)


def gradients(function, *arrays):
    """Gradients, as tensors, of a weighted sum of what function(*arrays) returns with respect to every array."""

    def total(*tensors):
        output = ops.cast(function(*tensors), "float32")
        size = int(np.prod(output.shape))
        return ops.sum(output * np.cos(np.arange(size, dtype="float32")).reshape(output.shape))

    tensors = tuple(ops.convert_to_tensor(array) for array in arrays)
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(total, argnums=tuple(range(len(tensors))))(*tensors)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = total(*tensors)
    return tuple(tape.gradient(result, tensors))


def to_float64(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32")).astype("float64")

"""Bringing a coarse feature map to the size of a finer one, for pyramids of feature maps."""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kzoo")
class NearestResize(layers.Layer):
    """Repeats the cells of a map (batch, height, width, channels) until it has the height and width of another map.

    Output row i is input row floor(i * height / new_height), columns alike: torch's nearest neighbour. The sizes need
    not divide each other, and may be unknown until the graph runs.

    Call arguments:
        inputs: (batch, height, width, channels).
        like: (batch, new_height, new_width, any), of which only the size matters.
    """

    def call(self, inputs, like) -> Any:
        for axis in (1, 2):
            size, wanted = inputs.shape[axis], like.shape[axis]
            if size is None or wanted is None:
                size, wanted = ops.shape(inputs)[axis], ops.shape(like)[axis]
            elif size == wanted:
                continue
            elif wanted % size == 0:  # without a gather, whose gradient is slow
                inputs = ops.repeat(inputs, wanted // size, axis=axis)
                continue
            inputs = ops.take(inputs, ops.arange(wanted, dtype="int32") * size // wanted, axis=axis)
        return inputs

    def compute_output_shape(self, inputs_shape, like_shape) -> tuple:
        return (inputs_shape[0], *like_shape[1:3], inputs_shape[3])

"""Pooling to a fixed size: an image of any size to so many cells, a text of any length to one vector."""

from typing import Any

import keras
from keras import layers, ops


def cell_means(size, num_cells) -> keras.KerasTensor:
    """Matrix (num_cells, size) in float32 whose row i averages positions floor(i r) ... ceil((i + 1) r) - 1.

    r = size / num_cells. Cells overlap where `num_cells` does not divide `size`, and repeat where it is larger.
    """
    cells = ops.arange(num_cells, dtype="int32")[:, None]
    positions = ops.arange(size, dtype="int32")[None, :]
    start = cells * size // num_cells
    end = ((cells + 1) * size + num_cells - 1) // num_cells
    members = ops.cast(ops.logical_and(positions >= start, positions < end), "float32")
    return members / ops.cast(end - start, "float32")


@keras.saving.register_keras_serializable("kzoo")
class AdaptiveAveragePooling2D(layers.Layer):
    """Averages (batch, height, width, channels) over output_size x output_size cells, as torch's AdaptiveAvgPool2d.

    Height and width may be unknown until the graph runs. Keras's layer of this name wants them known and, on JAX,
    returns NaN for some sizes, 7 x 7 to 7 among them. Computed in float32.

    Raises ValueError for an `output_size` that is no int of at least 1.
    """

    def __init__(self, output_size, **kwargs):
        super().__init__(**kwargs)
        if type(output_size) is not int or output_size < 1:
            raise ValueError(f"output_size must be an int of at least 1, got {output_size!r}")
        self.output_size = output_size

    def call(self, inputs) -> Any:
        if inputs.shape[1:3] == (self.output_size, self.output_size):
            return inputs
        _, height, width, _ = ops.shape(inputs)
        x = ops.cast(inputs, "float32")
        # The batch first: LiteRT's converter writes no valid shape where an open batch is in the second operand.
        x = ops.einsum("bhwc,ih->biwc", x, cell_means(height, self.output_size))
        x = ops.einsum("biwc,jw->bijc", x, cell_means(width, self.output_size))
        return ops.cast(x, inputs.dtype)

    def compute_output_shape(self, input_shape) -> tuple:
        return (input_shape[0], self.output_size, self.output_size, input_shape[3])


@keras.saving.register_keras_serializable("kzoo")
class MaskedAveragePooling1D(layers.Layer):
    """The mean over the real tokens of a sequence: (batch, length, hidden_dim) to (batch, hidden_dim); no weights.

    Call arguments:
        inputs: (batch, length, hidden_dim).
        padding_mask: (batch, length), nonzero for a real token. A row without any gives zeros, where Keras's layer of
            a similar name gives NaN.

    Computed in float32.
    """

    def call(self, inputs, padding_mask) -> Any:
        real = ops.cast(ops.cast(padding_mask, "bool"), "float32")[..., None]
        total = ops.sum(ops.where(real > 0, ops.cast(inputs, "float32"), 0.0), axis=1)
        return ops.cast(total / ops.maximum(ops.sum(real, axis=1), 1.0), inputs.dtype)

    def compute_output_shape(self, inputs_shape, padding_mask_shape) -> tuple:
        return (inputs_shape[0], inputs_shape[2])

"""Frames of clips of different lengths: those after a clip's end as zeros or as blanks, and frames with neighbours."""

from typing import Any

import keras
from keras import layers, ops


def _is_own(x, num_frames, axis):
    """Which frames of (batch, ...) are a clip's own, with axes of one beside `axis`."""
    own = ops.arange(ops.shape(x)[axis], dtype="int32")[None] < num_frames[:, None]
    return ops.reshape(own, (-1, *(1,) * (axis - 1), ops.shape(x)[axis], *(1,) * (len(x.shape) - axis - 1)))


@keras.saving.register_keras_serializable("kzoo")
class FrameMask(layers.Layer):
    """Zeros after the end of each clip: float (batch, ...) and int32 (batch,) numbers of frames; no weights.

    Args:
        axis: of the frames, counted from the batch, which is 0.
    """

    def __init__(self, axis=1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs, num_frames) -> Any:
        return ops.where(_is_own(inputs, num_frames, self.axis), inputs, 0)

    def compute_output_shape(self, inputs_shape, num_frames_shape) -> tuple:
        return inputs_shape


@keras.saving.register_keras_serializable("kzoo")
class BlankPadding(layers.Layer):
    """Certain blanks after the end of each clip, so that losses and decoders of CTC need no lengths; no weights.

    Takes logits (batch, frames, num_labels) and int32 (batch,) numbers of frames; gives float32. A frame after the end
    has 0 for the blank, label 0, and -1e9 for all others.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs, num_frames) -> Any:
        blank = ops.where(ops.arange(inputs.shape[-1]) == 0, 0.0, -1e9)
        return ops.where(_is_own(inputs, num_frames, 1), inputs, blank)

    def compute_output_shape(self, inputs_shape, num_frames_shape) -> tuple:
        return inputs_shape


@keras.saving.register_keras_serializable("kzoo")
class FrameContext(layers.Layer):
    """Every frame with `size` frames before and after it, earliest first, zeros where there are none; no weights.

    (batch, frames, features) to (batch, frames, (2 * size + 1) * features): Hannun et al. 2014, section 2. Raises
    ValueError for a size that is no int of at least 0.
    """

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        if type(size) is not int or size < 0:
            raise ValueError(f"size must be an int of at least 0, got {size!r}")
        self.size = size

    def call(self, inputs) -> Any:
        length = ops.shape(inputs)[1]
        x = ops.pad(inputs, ((0, 0), (self.size, self.size), (0, 0)))
        return ops.concatenate([x[:, place : place + length] for place in range(2 * self.size + 1)], axis=-1)

    def compute_output_shape(self, input_shape) -> tuple:
        return (*input_shape[:2], (2 * self.size + 1) * input_shape[2])

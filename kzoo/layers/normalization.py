"""Local response normalisation: how networks kept activations in range before batch normalisation."""

from typing import Any

import keras
from keras import layers, ops


def local_response_normalization(x, size=5, alpha=1e-4, beta=0.75, k=2.0) -> keras.KerasTensor:
    """x / (k + alpha * s)^beta, where s sums the squares of the `size` neighbouring channels around each channel.

    Krizhevsky et al. 2012, section 3.3, with the paper's constants; channels beyond the ends count as zero, and an
    even `size` reaches one channel further down than up. torch and Caffe divide alpha by `size`: theirs is `size` times
    ours.

    Args:
        x: float tensor (..., channels).

    Returns the shape and dtype of x; computed in float32, since squares overflow float16 from 256 on.
    """
    values = ops.cast(x, "float32")
    padding = [(0, 0)] * (len(x.shape) - 1) + [(size // 2, (size - 1) // 2)]
    squares = ops.pad(ops.square(values), padding)
    channels = x.shape[-1]
    total = sum(squares[..., offset : offset + channels] for offset in range(size))
    return ops.cast(values * ops.power(k + alpha * total, -beta), x.dtype)


@keras.saving.register_keras_serializable("kzoo")
class LocalResponseNormalization(layers.Layer):
    """`local_response_normalization` over the last axis; no weights.

    Raises ValueError for a `size` that is no int of at least 1, or a `k` or `alpha` that lets the divisor reach zero.
    """

    def __init__(self, size=5, alpha=1e-4, beta=0.75, k=2.0, **kwargs):
        super().__init__(**kwargs)
        if type(size) is not int or size < 1:
            raise ValueError(f"size must be an int of at least 1, got {size!r}")
        if not (k > 0 and alpha >= 0):
            raise ValueError(f"k must be above 0 and alpha at least 0, got k {k!r}, alpha {alpha!r}")
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def call(self, inputs) -> Any:
        return local_response_normalization(inputs, self.size, self.alpha, self.beta, self.k)

    def compute_output_shape(self, input_shape) -> tuple:
        return input_shape

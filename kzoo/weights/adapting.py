"""Tensors of a checkpoint for another size of input, as timm adapts them."""

import math

import numpy as np


def adapt_channels(kernel, num_channels) -> np.ndarray:
    """A first convolution (filters, channels, height, width) over another number of input channels."""
    if num_channels == 1:
        return kernel.astype("float32").sum(axis=1, keepdims=True)
    repeated = np.tile(kernel.astype("float32"), (1, math.ceil(num_channels / kernel.shape[1]), 1, 1))
    return repeated[:, :num_channels] * (kernel.shape[1] / num_channels)


def square_grid(shape) -> int | None:
    """The side of the square of patches that positions (1, 1 + patches, width) are of; None if there is none."""
    side = math.isqrt(max(shape[1] - 1, 0)) if len(shape) == 3 else 0
    return side if side and side * side == shape[1] - 1 else None


def interpolate_positions(table, grid) -> np.ndarray:
    """Positions ([1,] 1 + side * side, width), a class token's first, for another grid (rows, columns) of patches.

    Bicubic with antialiasing in float32, as timm's `resample_abs_pos_embed` does; the class token's stays as it is.
    torchvision's `interpolate_embeddings` aligns the corners instead, and transformers does without antialiasing.
    """
    first, rest = np.split(table.astype("float32").reshape(1, -1, table.shape[-1]), [1], axis=1)
    side = math.isqrt(rest.shape[1])
    down, across = (_bicubic(side, size) for size in grid)
    patches = np.einsum("ih,jw,hwd->ijd", down, across, rest.reshape(side, side, -1))
    found = np.concatenate([first, patches.reshape(1, -1, rest.shape[2])], axis=1).astype("float32")
    return found.reshape(*table.shape[:-2], *found.shape[1:])


def _bicubic(size, wanted):
    """Weights (wanted, size) of a resize by Keys's kernel (a = -0.5), as wide as one pixel's step."""
    step = size / wanted
    centres = (np.arange(wanted) + 0.5) * step - 0.5
    x = np.abs(np.arange(size)[None, :] - centres[:, None]) / max(step, 1)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)

"""Grad-CAM and Grad-CAM++: which places of a tap speak for a class.

A tap is the output of any layer: (batch, *places, channels). That of a vision transformer has a place for each patch.
"""

import numpy as np
from keras import ops


def grad_cam(cut, x, target, seed=0) -> tuple:
    """Channels weighted by their mean gradient (Selvaraju et al. 2017), (batch, *places) at the tap, 0 or more."""
    values, gradients = _at_tap(cut, x, target)
    axes = tuple(range(1, values.ndim - 1))
    weights = gradients.mean(axes, keepdims=True)
    return {cut.names[0]: _on_grid(cut, np.maximum((weights * values).sum(-1), 0))}, {}


def grad_cam_plus_plus(cut, x, target, seed=0) -> tuple:
    """Channels weighted by their positive gradients, more where a class is seen several times.

    Chattopadhay et al. 2018, equation 19, with the exponential of the number as the function that is explained.
    """
    values, gradients = _at_tap(cut, x, target)
    axes = tuple(range(1, values.ndim - 1))
    squares, cubes = gradients**2, gradients**3
    below = 2 * squares + values.sum(axes, keepdims=True) * cubes
    shares = squares / np.where(below != 0, below, 1)
    weights = (shares * np.maximum(gradients, 0)).sum(axes, keepdims=True)
    return {cut.names[0]: _on_grid(cut, np.maximum((weights * values).sum(-1), 0))}, {}


def _at_tap(cut, x, target):
    (value,) = cut.values(x)
    if len(value.shape) < 3:
        raise ValueError(
            f"at={cut.names[0]!r} has shape {tuple(value.shape)}, without places to draw a map of; name a layer before "
            "the pooling, whose output is (batch, places..., channels)"
        )
    _, (gradient,) = cut.gradients(x, [value], target)
    return tuple(ops.convert_to_numpy(ops.cast(tensor, "float32")) for tensor in (value, gradient))


def _on_grid(cut, maps):
    """Places of patches as a picture has them; tokens before them, such as the class token, are left out."""
    shape = cut.before.inputs[0].shape
    if maps.ndim != 2 or len(shape) != 4 or None in shape[1:3]:
        return maps
    count = maps.shape[1]
    for extra in range(min(3, count)):
        height = round(((count - extra) * shape[1] / shape[2]) ** 0.5)
        if height and (count - extra) % height == 0 and height * shape[2] == (count - extra) // height * shape[1]:
            return maps[:, extra:].reshape(len(maps), height, -1)
    return maps

"""Weights that a file holds as a direction and a length, as torch's `weight_norm` splits them.

Salimans, Kingma 2016, https://arxiv.org/abs/1602.07868: w = g v / |v|, here with a length for each output, so that |v|
is over all axes but the first. A network computes the same with w in one piece, and that is what is written.
"""

import numpy as np

# how the length and the direction are called: of torch.nn.utils.weight_norm, and of its parametrization
SUFFIXES = (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1"))


def pairs(specification) -> dict:
    """{name of a weight: (length, direction)} of a file's tensors, {name: (shape, dtype)}.

    A pair whose shapes are of another normalisation, such as one length for all, stays in two pieces.
    """
    found = {}
    for name, (shape, _) in specification.items():
        for length, direction in SUFFIXES:
            other = f"{name.removesuffix(length)}{direction}"
            if name.endswith(f".{length}") and other in specification:
                wanted = specification[other][0]
                if tuple(shape) == (*wanted[:1], *[1] * (len(wanted) - 1)):
                    found[f"{name.removesuffix(length)}weight"] = name, other
    return found


def fused(length, direction) -> np.ndarray:
    """The weight of a length (outputs, 1, ...) and a direction (outputs, ...), computed in float32 at least."""
    v = direction.astype(np.result_type(direction.dtype, np.float32))
    norm = np.sqrt(np.square(v).sum(axis=tuple(range(1, v.ndim)), keepdims=True))
    return v * (length.astype(v.dtype) / norm)

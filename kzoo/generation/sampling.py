"""Choosing the next token from logits."""

from typing import Any

from keras import ops


def penalise(logits, seen, penalty) -> Any:
    """Logits in which those of tokens already seen are divided by `penalty` where positive, multiplied where negative.

    Keskar et al. 2019, https://arxiv.org/abs/1909.05858, section 4.1, in the form that does not reward negative logits.

    Args:
        logits: (batch, vocabulary_size).
        seen: bool (batch, vocabulary_size).
        penalty: scalar; 1 changes nothing.
    """
    return ops.where(seen, ops.where(logits < 0, logits * penalty, logits / penalty), logits)


def sample(logits, uniform, temperature, top_k=None, top_p=None) -> Any:
    """One token a row, drawn from softmax(logits / temperature): int32 (batch,).

    The draw inverts the cumulative distribution at a number that the caller passes, so that it depends on its arguments
    alone and is the same on every backend.

    Args:
        logits: (batch, vocabulary_size).
        uniform: (batch,) in [0, 1).
        top_k: draws from this many of the likeliest tokens; None for all.
        top_p: scalar; draws from the likeliest tokens that together reach this probability, the one that reaches it
            included (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751, section 3.1); None for all.
    """
    logits, ids = logits / temperature, None
    if top_k is not None or top_p is not None:
        logits, ids = ops.top_k(logits, top_k or logits.shape[-1], sorted=True)
    probabilities = ops.softmax(logits, axis=-1)
    if top_p is not None:
        before = ops.cumsum(probabilities, axis=-1) - probabilities
        probabilities = ops.where(before < top_p, probabilities, 0.0)
    reached = ops.cumsum(probabilities, axis=-1)
    below = ops.cast(reached <= uniform[:, None] * reached[:, -1:], "int32")
    # Rounding may leave nothing above the number, which then stands for the last token that has a probability.
    last = ops.max(ops.where(probabilities > 0, ops.arange(logits.shape[-1], dtype="int32"), 0), axis=-1)
    index = ops.minimum(ops.sum(below, axis=-1), last)
    return index if ids is None else ops.cast(ops.take_along_axis(ids, index[:, None], axis=-1)[:, 0], "int32")

"""The best label of every frame as text: repeats merged, blanks dropped, and when each word is said."""

import numpy as np
from keras import ops


def decode(logits) -> tuple:
    """The labels of the best path (Graves et al. 2006, section 3.2), compiled and exported with a model.

    Args:
        logits: (batch, frames, num_labels), the blank at 0 and in every frame after a clip's end.

    Returns ids (batch, frames) int32 with 0 after the end, and how many they are (batch,) int32.
    """
    best = ops.cast(ops.argmax(logits, axis=-1), "int32")
    before = ops.pad(best, [[0, 0], [1, 0]])[:, :-1]
    begins = ops.logical_and(ops.not_equal(best, 0), ops.not_equal(best, before))
    places = ops.arange(ops.shape(best)[1], dtype="int32")[None]
    order = ops.argsort(ops.where(begins, places, places + ops.shape(best)[1]), axis=-1)
    lengths = ops.sum(ops.cast(begins, "int32"), axis=-1)
    ids = ops.take_along_axis(best, order, axis=-1)
    return ops.where(places < lengths[:, None], ids, 0), lengths


def word_times(logits, space) -> list:
    """The words of one clip's best path, each as (ids, first frame, frame after the last).

    Args:
        logits: an array (frames, num_labels).
        space: the id that parts words, or None where the alphabet has none.
    """
    best = np.argmax(logits, axis=-1)
    edges = np.flatnonzero(np.diff(best, prepend=0, append=0))
    words, is_open = [], False
    for begin, end in zip(edges, edges[1:], strict=False):
        label = int(best[begin])
        if label == 0:
            continue
        if label == space:
            is_open = False
        elif is_open:
            ids, first, _ = words[-1]
            words[-1] = ([*ids, label], first, int(end))
        else:
            words.append(([label], int(begin), int(end)))
            is_open = True
    return words

"""A function over some rows at a time, which gives the same numbers in less memory and, in a cache, sooner."""

import keras
from keras import ops

FLOATS = 2**20  # of what a chunk makes, where its size is not given: what stays in a processor's cache


def by_chunks(function, chunk, axis, *tensors, floats=None) -> keras.KerasTensor:
    """What `function` gives for slices of tensors along an axis, put together along that axis.

    Args:
        function: takes as many tensors as are passed, and treats places along the axis apart from one another.
        chunk: how many places at once; None for all, or with `floats` for as many as stay in the cache.
        axis: of all tensors and of the result.
        floats: how many numbers each place makes, at most.
    """
    size = ops.shape(tensors[0])[axis]
    known = isinstance(size, int)
    if chunk is None and floats is not None:
        chunk = max(1, FLOATS // floats) if isinstance(floats, int) else ops.maximum(FLOATS // floats, 1)
    if chunk is None or (known and isinstance(chunk, int) and size <= chunk):
        return function(*tensors)
    known = known and isinstance(chunk, int)
    chunk = chunk if known else ops.minimum(chunk, ops.maximum(size, 1))
    steps = -(-size // chunk)

    def some(step):
        # The last chunk goes back over what the one before it had, so that all are of one size.
        start = ops.minimum(step * chunk, size - chunk)
        return function(*(_slice(x, start, chunk, axis) for x in tensors))

    found = ops.map(some, ops.arange(steps, dtype="int32"))  # (steps, ..., chunk, ...)
    found = ops.moveaxis(found, 0, axis)
    shape = ops.shape(found)
    joined = lambda x, count: ops.reshape(x, (*shape[:axis], count, *shape[axis + 2 :]))  # noqa: E731
    if known and size % chunk == 0:
        return joined(found, size)
    index = (slice(None),) * axis
    rest = size - (steps - 1) * chunk
    first = joined(found[(*index, slice(None, steps - 1))], (steps - 1) * chunk)
    last = found[(*index, steps - 1)][(*index, slice(chunk - rest, None))]
    return ops.concatenate([first, last], axis=axis)


def _slice(x, start, size, axis):
    shape = ops.shape(x)
    begin = [0] * len(shape)
    begin[axis] = start
    return ops.slice(x, begin, (*shape[:axis], size, *shape[axis + 1 :]))

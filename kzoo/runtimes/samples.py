"""Examples of a model's inputs: real ones for calibration, random ones to compare with."""

from collections.abc import Iterator

import numpy as np

from kzoo.data import check_inputs, columns, load, prepare_inputs
from kzoo.data.checks import IMAGE_DTYPES
from kzoo.data.synthetic import synthetic_inputs
from kzoo.graph import longest_sequence

NUM_EXAMPLES = 128
RANDOM_LENGTH = 32


def read(model, source, num_examples=NUM_EXAMPLES, length=None) -> dict:
    """`{input name: array (examples, ...)}` from a data set, its name, or arrays.

    Args:
        source: a name for `kzoo.data.load`, what that returns (its training split is read), batches `(x, ...)` as a
            tf.data.Dataset or any other iterable gives them, or arrays in the model's input structure.
        num_examples: read at most this many.
        length: cut or pad axes of unknown size to this one.

    Texts of different lengths are padded with zeros. Raises ValueError for data that has no example, or that does not
    fit the model.
    """
    if isinstance(source, str):
        source = load(source, model)
    if hasattr(source, "train"):
        source = source.train.dataset
    batches = [source] if isinstance(source, dict) or hasattr(source, "__array__") else (item[0] for item in source)
    rows, count = {tensor.name: [] for tensor in model.inputs}, 0
    for batch in batches:
        x = batch if isinstance(batch, dict) else {model.inputs[0].name: batch}
        if set(x) != set(rows):
            raise ValueError(f"calibration: {model.name} takes {', '.join(rows)}, got {', '.join(map(str, x))}")
        x = {name: np.asarray(value)[: num_examples - count] for name, value in x.items()}
        # Pixels come from people; floats are what a pipeline has normalised already.
        check = prepare_inputs if any(value.dtype in IMAGE_DTYPES for value in x.values()) else check_inputs
        checked = flat(model, check(model, x if len(x) > 1 else next(iter(x.values()))))
        for values, array in zip(rows.values(), checked, strict=True):
            values.append(array)
        count += len(checked[0])
        if count >= num_examples:
            break
    if not count:
        raise ValueError("calibration: there is no example in the data")
    is_open = {tensor.name: None in tensor.shape[1:2] for tensor in model.inputs}
    return {name: _padded(values, length) if is_open[name] else np.concatenate(values) for name, values in rows.items()}


def _padded(arrays, length):
    length = length or max(array.shape[1] for array in arrays)
    cut = [array[:, :length] for array in arrays]
    return np.concatenate([np.pad(a, [(0, 0), (0, length - a.shape[1])] + [(0, 0)] * (a.ndim - 2)) for a in cut])


def random_inputs(model, batch_size, length=None, seed=0) -> list:
    """Random inputs as a list in the order of the model's inputs."""
    if model.inputs[0].dtype == "uint8":
        size = (batch_size, *(open_size(model, seed) if side is None else side for side in model.inputs[0].shape[1:]))
        return [np.random.default_rng(seed).integers(0, 256, size, "uint8")]
    heard = columns.heard(model)
    if length and heard:  # a length is one of samples here
        drawn = flat(model, synthetic_inputs(model, batch_size, seed, heard.steps(length)))
        return [_padded([x], length) if x.ndim > 1 else np.minimum(x, length) for x in drawn]
    return flat(model, synthetic_inputs(model, batch_size, seed, length or open_size(model, seed)))


def open_size(model, seed=0) -> int:
    """A size for axes of unknown size: pixels of an image or steps of a sequence; another seed gives another size.

    There are never more steps than the model has positions for.
    """
    if len(model.inputs[0].shape) == 4 and (None in model.inputs[0].shape[1:] or len(model.inputs) == 1):
        return 96 + 4 * seed
    length = RANDOM_LENGTH + 4 * seed
    return min(length, longest_sequence(model) or length)


def flat(model, x) -> list:
    """Inputs in the model's structure as a list in the order of its inputs."""
    return [x[tensor.name] for tensor in model.inputs] if isinstance(x, dict) else [x]


def batches(samples, names, batch_size) -> Iterator:
    """The samples as lists of arrays of `batch_size` examples; the last is filled up with the first examples."""
    count = len(samples[names[0]])
    for begin in range(0, count, batch_size):
        rows = np.arange(begin, begin + batch_size) % count
        yield [samples[name][rows] for name in names]

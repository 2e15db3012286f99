"""Checks of arrays, with errors before the first step. NumPy only: a wrong id or label raises an error on one device,
wraps around on another and becomes NaN under XLA, so the check is made on the host.
"""

import numpy as np

from kzoo.support.suggest import did_you_mean

IMAGE_DTYPES = (np.uint8, np.uint16)  # divided by their largest value


def check_count(name, value, minimum=1) -> int:
    """An int of at least `minimum`, else ValueError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be an int of at least {minimum}, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


def check_array(name, x) -> np.ndarray:
    """`x` as a NumPy array of numbers (bool, int or float), else ValueError; complex, text and objects are refused."""
    if isinstance(x, list | tuple | dict | set | str) or not hasattr(x, "__array__"):
        raise ValueError(f"{name} is a {type(x).__name__}; pass a NumPy array with the batch as first axis (np.stack)")
    x = np.asarray(x)
    if x.dtype.name in ("bfloat16", "float16"):
        return x.astype(np.float32)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {x.dtype}; wanted numbers: uint8 images, or float32 (x.astype('float32'))")
    return x


def check_finite(name, x) -> np.ndarray:
    """`x`, else ValueError that names its first example with NaN or infinity."""
    if x.dtype.kind != "f":
        return x
    with np.errstate(all="ignore"):
        if np.isfinite(x.sum(dtype=np.float64)):  # one pass without a mask as large as the data
            return x
    bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
    if len(bad):
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise ValueError(f"{name}: example {bad[0]}{others} contains NaN or infinity; drop or repair it")
    return x


def check_token_ids(name, ids, limit) -> np.ndarray:
    """`ids` as int32, else ValueError: they must be ints from 0 to `limit` - 1 (None: no upper limit is known)."""
    if ids.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {ids.dtype}; token ids must be ints (x.astype('int32'))")
    limit = limit or 2**31
    bad = np.argwhere((ids < 0) | (ids >= limit)).tolist()
    if bad:
        raise ValueError(
            f"{name}: token id {ids[tuple(bad[0])]} at {bad[0]} is outside the vocabulary 0..{limit - 1}; "
            "use the model's own tokenizer, or build with a larger vocabulary_size"
        )
    return ids.astype(np.int32)


def check_labels(labels, classes, name="labels") -> np.ndarray:
    """Labels (examples,) as int32 in 0..classes-1, else ValueError; floats are accepted if they are whole numbers."""
    labels = check_array(name, labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; for one-hot rows pass y.argmax(axis=-1)" if labels.ndim == 2 else ""
        raise ValueError(f"{name} have shape {labels.shape}; wanted one class index per example (examples,){hint}")
    check_finite(name, labels)
    if labels.dtype.kind == "f" and (labels != np.floor(labels)).any():
        raise ValueError(f"{name} have dtype {labels.dtype} and fractions; wanted class indices 0..{classes - 1}")
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        fix = f"build the model with num_classes={int(labels.max()) + 1}" if labels.min() >= 0 else "start labels at 0"
        if classes == 2 and labels.min() >= 0:
            fix += " or use a data set of two classes such as digits/zero_one"
        raise ValueError(
            f"{name}: example {bad[0]} has label {int(labels[bad[0]])}, but the model's output distinguishes {classes} "
            f"classes (0..{classes - 1}); {fix}"
        )
    return labels.astype(np.int32)


def are_words(y) -> bool:
    """Whether labels are texts: an array, a list or a table's column of them."""
    return len(y) > 0 and not isinstance(y, str | dict) and all(isinstance(word, str) for word in np.ravel(_objects(y)))


def _objects(y):
    return np.asarray(y) if hasattr(y, "__array__") else np.array(y, dtype=object)


def objects(items) -> np.ndarray:
    """Items as an array of objects (len(items),), also where all of them have one length."""
    found = np.empty(len(items), object)
    found[:] = list(items)
    return found


def check_names(name, words, classes) -> list:
    """The names of classes as a list, else ValueError: as many as the model's output distinguishes, each once."""
    words = [str(word) for word in words]
    listed = ", ".join(words[:5]) + ", ..." * (len(words) > 5)
    if len(words) != classes:
        raise ValueError(
            f"{name}: {len(words)} classes are named ({listed}), but the model's output has {classes}; build it with "
            f"num_classes={len(words)}"
        )
    if len({*words}) < len(words):
        raise ValueError(f"{name}: a class is named twice: {listed}")
    return words


def place_of(name, word, words) -> int:
    """The place of a class among its names, else ValueError."""
    if word not in words:
        raise ValueError(f"{name}: {did_you_mean('class', word, words)}")
    return words.index(word)


def check_token_labels(labels, classes, name="labels") -> tuple:
    """Labels of tokens (examples, length) as int32 in 0..classes-1, and their weights; ValueError for other values.

    -100, as in PyTorch, says that a token has no label: its weight is 0, that of all others 1.
    """
    labels = check_array(name, labels)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise ValueError(f"{name} have shape {labels.shape}, dtype {labels.dtype}; wanted ints (examples, length)")
    counted = labels != -100
    bad = np.argwhere(counted & ((labels < 0) | (labels >= classes))).tolist()
    if bad:
        raise ValueError(
            f"{name}: label {labels[tuple(bad[0])]} at {bad[0]} is outside 0..{classes - 1}, the classes of the "
            "model's output; -100 marks a token without a label"
        )
    return np.where(counted, labels, 0).astype(np.int32), counted.astype(np.float32)


def check_scale(label, x, preprocessing=None) -> None:
    """ValueError for images whose values seem to reach 255 in another dtype than uint8, or to be normalised already.

    Args:
        preprocessing: how they will be normalised; None where they will not.
    """
    if x.dtype not in IMAGE_DTYPES and x.size and x.max() > 16 and x.min() >= 0:
        raise ValueError(
            f"{label}: values reach {x.max():g} in {x.dtype}; images are wanted as uint8 0..255 or as floats in [0, 1] "
            "(divide by 255)"
        )
    if preprocessing and preprocessing.normalises and x.dtype.kind == "f" and (x.min() < -0.5 or x.max() > 1.5):
        raise ValueError(
            f"{label}: values from {x.min():.3g} to {x.max():.3g} seem to be normalised already, and are normalised "
            "here as the model's card says; pass uint8 0..255 or floats in [0, 1], or call the model itself"
        )


def check_shape(label, x, shape) -> None:
    """ValueError, with the usual fix, unless `x` is a batch of `shape` (without the batch axis, None where open)."""

    def fits(found):
        return len(found) == len(shape) and all(want in (None, got) for want, got in zip(shape, found, strict=True))

    if x.ndim and fits(x.shape[1:]):
        return
    wanted = ", ".join("any" if size is None else str(size) for size in shape)
    fix = "reshape or resize it"
    if fits(x.shape):
        fix = "add the batch axis: x[None]"
    elif len(shape) == 3 and shape[-1] == 1 and x.ndim == 3:
        fix = "add the channel axis: x[..., None]"
    elif len(shape) == 3 and x.ndim == 4 and x.shape[1] == shape[-1] != x.shape[-1]:
        fix = "channels come last here: x.transpose(0, 2, 3, 1)"
    elif len(shape) == 3 and x.ndim == 4 and shape[-1] == 3 and x.shape[-1] == 1:
        fix = "repeat the grey channel: x.repeat(3, axis=-1)"
    raise ValueError(f"{label} has shape {x.shape}; wanted (batch, {wanted}): {fix}")

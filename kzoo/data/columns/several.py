"""The columns of targets with several numbers per example: values to come near to, and labels that hold together."""

from typing import Any

import numpy as np

from kzoo.data import checks
from kzoo.data.columns.label import Label


class Values(Label):
    """Numbers per example, float32 (examples, num_classes), as they are: nothing scales them."""

    mixes = False

    def encode(self, label, y, class_names) -> tuple:
        """Targets are numbers already; ValueError for words."""
        if checks.are_words(y):
            raise ValueError(f"{label} are words, such as {str(np.ravel(y)[0])!r}; the model learns numbers")
        return y, class_names

    def check(self, label, y, x) -> tuple:
        y = checks.check_array(label, y)
        y = y[:, None] if y.ndim == 1 and self.num_classes == 1 else y
        if y.shape[1:] != (self.num_classes,):
            fix = f": build it with num_classes={y.shape[1] if y.ndim == 2 else 1}" if y.ndim in (1, 2) else ""
            raise ValueError(
                f"{label} have shape {y.shape}; the model gives {self.num_classes} numbers per example and learns from "
                f"(examples, {self.num_classes}){fix}"
            )
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            return checks.check_finite(label, y.astype(np.float32)), None

    def draw(self, random, batch_size, length) -> tuple:
        return self.repeat(random.standard_normal((batch_size, self.num_classes), dtype=np.float32)), None

    def to_batch(self, labels) -> Any:
        import tensorflow as tf

        return tf.cast(tf.reshape(labels, (-1, self.num_classes)), tf.float32)


class LabelSet(Values):
    """Which labels hold for each example, float32 (examples, num_classes) of zeros and ones."""

    def encode(self, label, y, class_names) -> tuple:
        """Lists of the names that hold for each example become rows of zeros and ones."""
        rows = [y] if isinstance(y, str) else list(y)
        if hasattr(y, "dtype") and y.dtype.kind in "biuf":
            return y, class_names
        for place, row in enumerate(rows):
            if isinstance(row, str) or not hasattr(row, "__iter__"):
                raise ValueError(
                    f"{label}: example {place} is {row!r}; wanted a list of the names that hold, or a row of zeros and "
                    "ones"
                )
        if all(len(row) == self.num_classes and np.asarray(row).dtype.kind in "biuf" for row in rows):
            return np.asarray(rows), class_names
        known = class_names or sorted({word for row in rows for word in row})
        known = checks.check_names(label, known, self.num_classes)
        encoded = np.zeros((len(rows), len(known)), np.float32)
        for place, row in enumerate(rows):
            encoded[place, [checks.place_of(label, word, known) for word in row]] = 1
        return encoded, known

    def check(self, label, y, x) -> tuple:
        y, weight = super().check(label, y, x)
        bad = np.argwhere((y != 0) & (y != 1))
        if len(bad):
            value = y[tuple(bad[0])]
            raise ValueError(f"{label}: example {bad[0][0]} holds {value:g}; wanted 1 for a label that holds, else 0")
        return y, weight

    def draw(self, random, batch_size, length) -> tuple:
        return self.repeat(random.integers(0, 2, (batch_size, self.num_classes)).astype(np.float32)), None


class Nothing(Label):
    """The target of a model that learns from its inputs alone: zeros int32 (examples,), whatever is passed."""

    mixes = False

    def __init__(self):
        super().__init__(1)

    def encode(self, label, y, class_names) -> tuple:
        return y, None

    def check(self, label, y, x) -> tuple:
        return np.zeros(len(x), np.int32), None

"""The columns of targets: a class per example, one of two classes as a logit, a class per token."""

from typing import Any

import numpy as np

from kzoo.data import checks


class Label:
    """A class index per example, int32 (examples,).

    Args:
        num_outputs: how many outputs learn the same labels, as auxiliary heads do.
    """

    mixes = True  # whether shares of several classes may replace a single one

    def __init__(self, num_classes, num_outputs=1):
        self.num_classes, self.num_outputs = num_classes, num_outputs

    def encode(self, label, y, class_names) -> tuple:
        """Labels, words as their places in `class_names`, and the names that are known then.

        Without names the words themselves, sorted, are the names. Raises ValueError for a word that is not among them,
        and for another number of names than the model has classes.
        """
        if not checks.are_words(y):
            return y, class_names
        words = np.asarray(y).astype(str)
        known = checks.check_names(label, class_names or sorted({*words.ravel().tolist()}), self.num_classes)
        places = {word: checks.place_of(label, word, known) for word in {*words.ravel().tolist()}}
        return np.vectorize(places.get, otypes=[np.int32])(words), known

    def check(self, label, y, x) -> tuple:
        """Labels as they are stored, and a weight for each or None; ValueError for what the model cannot learn.

        Args:
            label: what errors call the labels.
            x: the checked inputs, one array or a dict of them.
        """
        return checks.check_labels(y, self.num_classes, label), None

    def draw(self, random, batch_size, length) -> tuple:
        """A random batch of labels, and weights or None."""
        return self.repeat(random.integers(0, self.num_classes, (batch_size,), dtype=np.int32)), None

    def to_batch(self, labels) -> Any:
        """Stored labels as the tensor that the loss takes."""
        import tensorflow as tf

        return tf.cast(labels, tf.int32)

    def repeat(self, labels) -> Any:
        """The labels of one output as those of all of them."""
        return (labels,) * self.num_outputs if self.num_outputs > 1 else labels


class Logit(Label):
    """One of two classes for a single logit, float32 (examples, 1)."""

    mixes = False

    def check(self, label, y, x) -> tuple:
        labels, weight = super().check(label, y, x)
        return labels.astype(np.float32)[:, None], weight

    def draw(self, random, batch_size, length) -> tuple:
        return random.integers(0, 2, (batch_size, 1)).astype(np.float32), None

    def to_batch(self, labels) -> Any:
        import tensorflow as tf

        return tf.cast(tf.reshape(labels, (-1, 1)), tf.float32)


class TokenLabel(Label):
    """A class per token, int32 (examples, length), with a weight each: 0 where there is none.

    Args:
        first: the lowest class in random batches: 1 where 0 is the padding of a vocabulary.
        length: how many tokens an example has; None where that is open.
    """

    mixes = False

    def __init__(self, num_classes, first=0, length=None):
        super().__init__(num_classes)
        self.first, self.length = first, length

    def check(self, label, y, x) -> tuple:
        """Neither tokens with label -100 (as in PyTorch) count nor those that a padding mask leaves out."""
        y, weight = checks.check_token_labels(y, self.num_classes, label)
        mask = x.get("padding_mask") if isinstance(x, dict) else None
        if mask is None:
            return y, weight
        if mask.shape != y.shape:
            raise ValueError(f"{label} have shape {y.shape}, the padding mask {mask.shape}; wanted one label per token")
        return y, weight * (mask != 0)

    def draw(self, random, batch_size, length) -> tuple:
        shape = (batch_size, self.length or length)
        labels = random.integers(self.first, max(2, self.num_classes), shape, dtype=np.int32)
        return labels, np.ones(shape, np.float32)

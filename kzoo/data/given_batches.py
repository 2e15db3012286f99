"""Batches that someone else makes, such as a tf.data.Dataset or a generator with a length, as a split."""

import itertools

import keras
import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset, pictures, resizing
from kzoo.data.inputs import check_inputs

INEXACT = "batches come in their maker's order: a resumed run repeats a whole one only if they come in that order again"


class GivenBatches:
    """A split whose batches `(x, y)` or `(x, y, weight)` come as they are; each is checked and normalised on the way.

    Their order is their maker's: a run that resumes is exact only if they come in the same order again.

    Args:
        label: what errors call them.
        source: a tf.data.Dataset of known length, or an object with `__len__` that can be iterated again and again.
        preprocessing: how images in [0, 1], or of uint8, become the model's input.

    Raises ValueError for batches without a length or an end, and for a first batch that does not fit the model.
    """

    def __init__(self, label, source, model, target, preprocessing):
        self.label, self.source, self.model, self.target = label, source, model, target
        self.fault = None
        self.how, self.columns = preprocessing, columns.inputs_of(model)
        self.num_batches = _length(label, source)
        first = self._checked(next(_batches(source)))
        self.batch_size = len(keras.tree.flatten(first)[0])
        self.num_examples = self.num_batches * self.batch_size  # until a whole pass has counted them
        self.signature = keras.tree.map_structure(
            lambda array: tf.TensorSpec((None,) * min(array.ndim, 2) + array.shape[2:], array.dtype), first
        )

    def __repr__(self) -> str:
        return f"<kzoo batches {self.label}: {self.num_batches:,}; .dataset is a tf.data.Dataset of them>"

    def epoch(self, epoch, skip_batches=0) -> tf.data.Dataset:
        """The batches from `skip_batches` on; those before are read and left out."""
        made = tf.data.Dataset.from_generator(lambda: self._all(skip_batches), output_signature=self.signature)
        left = tf.data.experimental.assert_cardinality(self.num_batches - skip_batches)
        return made.apply(left).prefetch(1)

    @property
    def dataset(self) -> tf.data.Dataset:
        """All batches."""
        return self.epoch(0)

    def as_it_is(self) -> "GivenBatches":
        """The same batches, which are changed nowhere."""
        return self

    def example_ids(self, epoch=0) -> np.ndarray:
        """The places of the examples in what is given."""
        return np.arange(self.num_examples)

    def _all(self, skip):
        count = 0
        for index, batch in enumerate(itertools.islice(_batches(self.source), self.num_batches)):
            try:
                checked = self._checked(batch) if index >= skip else None
            except (ValueError, TypeError) as error:
                self.fault = error  # TensorFlow makes something else of it
                raise
            count += len(keras.tree.flatten(batch)[0])
            if index == self.num_batches - 1:
                self.num_examples = count
            if checked is not None:
                yield checked
        if hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()

    def _checked(self, batch):
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise ValueError(f"{self.label} gives a {type(batch).__name__}; wanted batches (x, y) or (x, y, weight)")
        x, y, *weight = keras.tree.map_structure(np.asarray, tuple(batch))
        x = check_inputs(self.model, by_name(x, self.columns))
        x = {next(iter(self.columns)): x} if len(self.columns) == 1 else x
        x = {name: self._normalised(name, array) for name, array in x.items()}
        x = x if len(x) > 1 else next(iter(x.values()))
        y, own = pictures.checked_targets(f"{self.label} labels", self.target, x, y)
        weight = weight[0] if weight else own
        y = y if isinstance(self.target, dict) else self.target.repeat(y)
        return (x, y) if weight is None else (x, y, keras.tree.map_structure(lambda w: w.astype(np.float32), weight))

    def _normalised(self, name, array):
        column = self.columns[name]
        is_image = column.kind == "image" and len(column.shape) == 3
        return np.asarray(resizing.to_input(array, column.shape, self.how)) if is_image else array


def by_name(x, wanted) -> object:
    """Inputs in the order of the model as a dict by their names; anything else as it is."""
    if len(wanted) > 1 and isinstance(x, tuple | list) and len(x) == len(wanted):
        return dict(zip(wanted, x, strict=True))
    return x[0] if len(wanted) == 1 and isinstance(x, tuple | list) and len(x) == 1 else x


def _length(label, source):
    length = int(source.cardinality()) if isinstance(source, tf.data.Dataset) else len(source)
    if length == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"{label} never ends: say how many batches an epoch has, dataset.take(...)")
    if length == tf.data.UNKNOWN_CARDINALITY:
        fix = "dataset.apply(tf.data.experimental.assert_cardinality(...))"
        raise ValueError(f"{label} does not know its length: say how many batches it has, {fix}")
    if length < 1:
        raise ValueError(f"{label} has no batch")
    return length


def _batches(source):
    """The batches of one pass, as arrays or tensors."""
    if isinstance(source, tf.data.Dataset):
        return source.as_numpy_iterator()
    if isinstance(source, keras.utils.PyDataset) or not hasattr(source, "__iter__"):
        return (source[index] for index in range(len(source)))
    return iter(source)


def from_batches(name, parts, model, target, preprocessing) -> dataset.Data:
    """The `Data` of `{split: batches}`."""
    splits = {
        split: GivenBatches(f"{name} {split}", source, model, target, preprocessing) for split, source in parts.items()
    }
    options = dataset.Options(splits["train"].batch_size, preprocessing=preprocessing)
    return dataset.make_data(name, {"name": name}, splits, options, None, notes=[INEXACT])

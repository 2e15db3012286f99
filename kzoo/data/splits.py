"""A split: the examples of one part of a data set, as batches whose order and augmentation repeat exactly."""

import copy
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import checks

POOL_BATCHES = 100


class Split:
    """One part of a data set as a source of batches.

    The order of epoch e and the random numbers of example i in it are pure functions of (seed, e, i): not of the batch
    size, the threads, the global seed, or the batch at which an epoch is entered. Splits that are not shuffled
    (validation, test) give the same batches in every epoch. With `lengths` the order depends on the batch size too.

    Args:
        rows: a structure of arrays or ragged tensors whose first axis is the examples.
        finish: `finish(batch, random)` turns gathered rows into `(x, y)` or `(x, y, weight)`; `random` holds
            the rows that `draw` gave for them, or is None.
        draw: `draw(key, count)` gives random tensors (count, ...) for all examples of an epoch; None for no randomness.
        drop_remainder: whether to leave out a last batch that is not full.
        lengths: int (num_examples,): a shuffled batch gets examples of similar length, from pools of 100 batches.
    """

    def __init__(self, rows, finish, batch_size, seed=0, shuffle=False, draw=None, drop_remainder=False, lengths=None):
        self._hold(rows)
        self.finish, self.batch_size = finish, checks.check_count("batch_size", batch_size)
        self.seed, self.shuffle, self.draw = seed, shuffle, draw
        self.drop_remainder, self.lengths = drop_remainder, lengths
        if self.num_batches == 0:
            raise ValueError(
                f"no training examples: a split has {self.num_examples} and the batch size is {self.batch_size}"
                + ("; lower batch_size, or keep the last batch (drop_remainder=False)" if self.num_examples else "")
            )

    def __repr__(self) -> str:
        size = f"{self.num_examples:,} examples in {self.num_batches:,} batches"
        return f"<kzoo split: {size}; .dataset is a tf.data.Dataset of them, as Keras takes it>"

    @property
    def num_batches(self) -> int:
        """How many batches an epoch has."""
        full, rest = divmod(self.num_examples, self.batch_size)
        return full + (rest > 0 and not self.drop_remainder)

    def _hold(self, rows):
        with tf.device("CPU"):
            self.rows = tf.nest.map_structure(lambda x: x if isinstance(x, tf.RaggedTensor) else tf.constant(x), rows)
        self.num_examples = int(tf.nest.flatten(self.rows)[0].shape[0])

    def example_ids(self, epoch=0) -> np.ndarray:
        """The positions of the examples in the order of this epoch, int32 (num_examples,)."""
        return self._order(epoch).numpy()

    def epoch(self, epoch, skip_batches=0) -> tf.data.Dataset:
        """The batches of one epoch, from batch `skip_batches` on."""
        checks.check_count("epoch", epoch, minimum=0)
        if checks.check_count("skip_batches", skip_batches, minimum=0) > self.num_batches:
            raise ValueError(f"skip_batches is {skip_batches}, but an epoch has {self.num_batches} batches")
        dataset = self._batches(epoch, skip_batches).prefetch(tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.deterministic = True
        # The tuner's thread may miss its cancellation, and whoever drops the iterator then waits for it, up to a
        # minute. It gains nothing here: without it there is one parallel call per core.
        options.autotune.enabled = False
        # Whole batches are gathered from memory: there are no files to shard over workers.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return dataset.with_options(options)

    @property
    def dataset(self) -> tf.data.Dataset:
        """The batches of epoch 0."""
        return self.epoch(0)

    def as_it_is(self) -> "Split":
        """The same examples, all of them, in their stored order and without random changes."""
        plain = copy.copy(self)
        plain.shuffle, plain.draw, plain.drop_remainder = False, None, False
        return plain

    def examples(self, ids, epoch=None) -> Any:
        """The batch of the examples at these positions, augmented as in `epoch`, or unchanged without one."""
        with tf.device("CPU"):
            ids = tf.constant(list(ids), tf.int32)  # which ragged rows take, unlike a list
            return self.finish(self._rows(ids), _gather(None if epoch is None else self._random(epoch), ids))

    def _rows(self, ids):
        return _gather(self.rows, ids)

    def _batches(self, epoch, skip):
        with tf.device("CPU"):
            order, random = self._order(epoch), self._random(epoch)

        def batch(index):
            ids = order[index * self.batch_size : (index + 1) * self.batch_size]
            return self.finish(_gather(self.rows, ids), _gather(random, ids))

        return tf.data.Dataset.range(skip, self.num_batches).map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    def _key(self, epoch, purpose=None):
        # Without shuffling nothing may depend on the epoch.
        key = tf.constant([self.seed, epoch if self.shuffle else 0], tf.int64)
        return key if purpose is None else fold(key, purpose)

    def _order(self, epoch):
        with tf.device("CPU"):
            index = tf.range(self.num_examples)
            if not self.shuffle:
                return index
            order = _shuffled(index, self._key(epoch))
            return order if self.lengths is None else self._of_similar_length(order.numpy(), epoch)

    def _of_similar_length(self, order, epoch):
        """Sorts every pool of a shuffled order by length and shuffles its batches; an incomplete batch stays last."""
        num_full = self.num_examples // self.batch_size
        order, rest = np.split(order, [num_full * self.batch_size])
        pools = np.split(order, range(self.batch_size * POOL_BATCHES, len(order), self.batch_size * POOL_BATCHES))
        order = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = _shuffled(tf.range(num_full), self._key(epoch, -2)).numpy()
        order = order.reshape(num_full, self.batch_size)[batches].reshape(-1)
        return tf.constant(np.concatenate([order, rest]), tf.int32)

    def _random(self, epoch):
        return None if self.draw is None else self.draw(self._key(epoch, -1), self.num_examples)


def fold(key, purpose) -> Any:
    """The key of one purpose among several that draw from `key`."""
    return tf.random.fold_in(key, tf.cast(purpose, tf.int64), alg="philox")


def _shuffled(index, key):
    return tf.random.experimental.stateless_shuffle(index, key, alg="philox")


def _gather(structure, ids):
    return None if structure is None else tf.nest.map_structure(lambda array: tf.gather(array, ids), structure)


class StreamedSplit(Split):
    """A split that is too large for memory: read in its order on disk and shuffled in blocks of consecutive examples.

    The data sets of tensorflow-datasets are shuffled when they are prepared, so their order on disk is random already;
    each epoch permutes the examples within every block. Entering an epoch late reads the examples that it skips.

    Args:
        read: `read()` returns a `tf.data.Dataset` of single examples, always in the same order.
        num_examples: how many there are.
        block_size: how many examples a block has.
        *how, **options: what `Split` takes after its rows, except `lengths`.
    """

    def __init__(self, read, num_examples, block_size, *how, **options):
        self.num_examples, self.block_size = num_examples, min(block_size, max(num_examples, 1))
        super().__init__(read, *how, **options)

    def _hold(self, rows):
        self.read = rows

    def _rows(self, ids):
        return _gather(next(iter(self.read().batch(int(max(ids)) + 1))), ids)

    def _block_order(self, epoch, block, size):
        index = tf.range(size)
        return _shuffled(index, self._key(epoch, block)) if self.shuffle else index

    def _order(self, epoch):
        with tf.device("CPU"):
            starts = range(0, self.num_examples, self.block_size)
            sizes = [min(self.block_size, self.num_examples - start) for start in starts]
            orders = [self._block_order(epoch, block, size) for block, size in enumerate(sizes)]
            return tf.concat([start + order for start, order in zip(starts, orders, strict=True)], axis=0)

    def _batches(self, epoch, skip):
        with tf.device("CPU"):
            random = self._random(epoch)

        def shuffled(block, rows):
            # By the size that was read: a stream that ends early must fail on its length below, not here.
            order = self._block_order(epoch, block, tf.shape(tf.nest.flatten(rows)[0])[0])
            ids = order + tf.cast(block, tf.int32) * self.block_size
            return ids, _gather(rows, order)

        def batch(ids, rows):
            return self.finish(rows, _gather(random, ids))

        blocks = self.read().batch(self.block_size).enumerate().map(shuffled)
        batches = blocks.rebatch(self.batch_size, drop_remainder=self.drop_remainder).skip(skip)
        batches = batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE)
        return batches.apply(tf.data.experimental.assert_cardinality(self.num_batches - skip))

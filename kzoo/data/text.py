"""Pairs of texts as batches for translation models, with teacher forcing."""

import dataclasses
import itertools
import logging

import numpy as np
import tensorflow as tf

from kzoo import graph
from kzoo.data import checks, dataset
from kzoo.data.tokenizing.tokenizers import KINDS, Tokenizer

LENGTH_STEP = 8  # batches are padded to a multiple of this
DEFAULT_LENGTH = 128


@dataclasses.dataclass
class Choices:
    """How texts become tokens; see `kzoo.data.load`."""

    tokenizer: Tokenizer | str | None = None
    max_length: int | None = None
    whole_words: bool = False
    length_buckets: bool = True

    def fingerprint(self, max_length, tokenizer, **more):
        """What batches depend on, besides the texts and the options of every data set."""
        return {"max_length": max_length, "tokenizer": tokenizer.digest, "length_buckets": self.length_buckets, **more}


def reverse_digits(seed=0):
    """A made-up translation task: strings of 3 to 10 digits to the same digits reversed, a pure function of `seed`.

    Returns `{split: (sources, targets)}` with 20,000 / 1,000 / 1,000 pairs; no source is in two splits.
    """
    random = np.random.default_rng(seed)
    lengths = random.integers(3, 11, 30_000)
    digits = random.integers(0, 10, lengths.sum()).astype("U1")
    strings = list(dict.fromkeys("".join(part) for part in np.split(digits, np.cumsum(lengths)[:-1])))
    sizes = {"train": 20_000, "validation": 1_000, "test": 1_000}
    splits, start = {}, 0
    for name, size in sizes.items():
        sources = strings[start : start + size]
        splits[name], start = (sources, [source[::-1] for source in sources]), start + size
    return splits


def make_tokenizer(tokenizer, texts, limit, default="subwords", mask=False):
    """The tokenizer asked for: a `Tokenizer`, a path, a kind to train on `texts`, or None for the default kind.

    Raises ValueError if its vocabulary is larger than the `limit` ids the model knows.
    """
    if tokenizer is None or (isinstance(tokenizer, str) and tokenizer in KINDS):
        tokenizer = Tokenizer.train(tokenizer or default, texts, limit, mask)
    elif not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer.load(tokenizer)
    if tokenizer.vocabulary_size > limit:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocabulary_size} tokens, but the model knows {limit}; use the model's own "
            f"tokenizer, or build it with vocabulary_size={tokenizer.vocabulary_size}"
        )
    return tokenizer


def check_length(model, max_length, minimum=2):
    """How many tokens a text may have: `max_length`, or 128, or what the model has positions for if those are fewer.

    Raises ValueError for a `max_length` beyond the model's positions.
    """
    limit = graph.longest_sequence(model)
    if max_length is None:
        return min(DEFAULT_LENGTH, limit or DEFAULT_LENGTH)
    max_length = checks.check_count("max_length", max_length, minimum=minimum)
    if limit and max_length > limit:
        raise ValueError(
            f"max_length is {max_length}, but {model.name} has positions for {limit} tokens; pass max_length={limit} "
            f"or build the model with max_length={max_length}"
        )
    return max_length


def encode_pairs(pairs, tokenizer, max_length):
    """Rows for a `Split` from (sources, targets), and how many pairs were cut to `max_length` tokens.

    Sources become tokens and end, targets start, tokens and end, both ragged int32.
    """
    keep = max_length - 1  # start or end takes one place
    sources, targets = tokenizer.encode(pairs[0]), tokenizer.target.encode(pairs[1])
    cut = sum(len(source) > keep or len(target) > keep for source, target in zip(sources, targets, strict=True))
    start, end = [tokenizer.need("start", "translation")], [tokenizer.need("end", "translation")]
    sources = ragged([ids[:keep] + end for ids in sources])
    targets = ragged([start + ids[:keep] + end for ids in targets])
    return (sources, targets), cut


def ragged(rows):
    """A ragged int32 tensor of lists of ids."""
    values = np.fromiter(itertools.chain.from_iterable(rows), np.int32)
    return tf.RaggedTensor.from_row_lengths(values, np.array([len(row) for row in rows], np.int64))


def teacher_forcing(pad, limit=None):
    """The `finish` of translation: ragged rows to `(x, labels, weight)`.

    The decoder reads start and tokens, labels are tokens and end. x is a dict of int32 arrays (batch, length); labels
    int32 and weight float32 (batch, length), weight 0 on padding.
    """

    def finish(rows, _random):
        sources, targets = rows
        encoder, encoder_mask = padded(sources, pad, limit)
        decoder, _ = padded(targets[:, :-1], pad, limit)
        labels, label_mask = padded(targets[:, 1:], pad, limit)
        x = {"encoder_token_ids": encoder, "encoder_padding_mask": encoder_mask, "decoder_token_ids": decoder}
        return x, labels, tf.cast(label_mask, tf.float32)

    return finish


def padded(rows, pad=0, limit=None):
    """Ragged ids as (batch, length) with a multiple of 8, at most `limit`, for length; and a mask, 1 for a token."""
    lengths = rows.row_lengths()
    length = -(-tf.reduce_max(lengths) // LENGTH_STEP) * LENGTH_STEP
    length = length if limit is None else tf.minimum(length, limit)
    ids = rows.to_tensor(pad, shape=(None, None))
    ids = tf.pad(ids, [[0, 0], [0, length - tf.cast(tf.shape(ids)[1], tf.int64)]], constant_values=pad)
    return ids, tf.sequence_mask(lengths, length, dtype=tf.int32)


def report_cut(name, cut, total, max_length, what="pairs"):
    """One line about cut texts, logged and returned; None if there are none."""
    if not cut:
        return None
    line = f"{name}: {cut:,} of {total:,} {what} are longer than max_length={max_length} tokens and were cut"
    logging.getLogger("kzoo").warning(line)
    return line


def from_pairs(name, identity, pairs, model, options, choices):
    """Translation splits from `{split: (sources, targets)}`; the tokenizer learns from the training texts only."""
    refuse_augment(name, options)
    max_length = check_length(model, choices.max_length)
    pairs = {split: tuple(np.array(side, dtype=object) for side in pair) for split, pair in pairs.items()}
    notes = dataset.carve(name, pairs, [pairs["train"][0]], options)
    texts = [string for side in pairs["train"] for string in side]
    tokenizer = make_tokenizer(choices.tokenizer, texts, checks.vocabulary_size(model))
    rows = {}
    for split, pair in pairs.items():
        rows[split], cut = encode_pairs(pair, tokenizer, max_length)
        notes.append(report_cut(f"{name} {split}", cut, len(pair[0]), max_length))
    lengths = sum(side.row_lengths() for side in rows["train"]).numpy() if choices.length_buckets else None
    finish = teacher_forcing(tokenizer.pad_id or 0, graph.longest_sequence(model))
    splits = dataset.make_splits(rows, finish, options, lengths=lengths)
    identity |= choices.fingerprint(max_length, tokenizer)
    identity["content"] = dataset.digest_of(
        [array for side in rows["train"] for array in (side.values, side.row_splits)]
    )
    return dataset.make_data(name, identity, splits, options, None, tokenizer, [note for note in notes if note])


def refuse_augment(name, options):
    """ValueError for a choice that is for images."""
    if options.augment:
        raise ValueError(f"augment moves images; data set {name!r} is text")

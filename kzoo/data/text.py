"""Pairs of texts as batches for translation models, with teacher forcing."""

import itertools
import logging

import numpy as np
import tensorflow as tf

from kzoo.data import assembly, checks
from kzoo.data.tokenizers import KINDS, Tokenizer

LENGTH_STEP = 8  # batches are padded to a multiple of this


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


def make_tokenizer(tokenizer, texts, limit, default="subwords"):
    """The tokenizer asked for: a `Tokenizer`, a path, a kind to train on `texts`, or None for the default kind.

    Raises ValueError if its vocabulary is larger than the `limit` ids the model knows.
    """
    if tokenizer is None or (isinstance(tokenizer, str) and tokenizer in KINDS):
        tokenizer = Tokenizer.train(tokenizer or default, texts, limit)
    elif not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer.load(tokenizer)
    if tokenizer.vocabulary_size > limit:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocabulary_size} tokens, but the model knows {limit}; "
            f"build it with vocabulary_size={tokenizer.vocabulary_size}"
        )
    return tokenizer


def encode_pairs(pairs, tokenizer, max_length):
    """Rows for a `Split` from (sources, targets), and how many pairs were cut to `max_length` tokens.

    Sources become tokens and end, targets start, tokens and end, both ragged int32.
    """
    max_length = checks.check_count("max_length", max_length, minimum=2)
    keep = max_length - 1  # start or end takes one place
    sources, targets = (tokenizer.encode(texts) for texts in pairs)
    cut = sum(len(source) > keep or len(target) > keep for source, target in zip(sources, targets, strict=True))
    start, end = [tokenizer.start_id], [tokenizer.end_id]
    sources = _ragged([ids[:keep] + end for ids in sources])
    targets = _ragged([start + ids[:keep] + end for ids in targets])
    return (sources, targets), cut


def _ragged(rows):
    values = np.fromiter(itertools.chain.from_iterable(rows), np.int32)
    return tf.RaggedTensor.from_row_lengths(values, np.array([len(row) for row in rows], np.int64))


def teacher_forcing(rows, _random):
    """A batch `(x, labels, weight)` from ragged rows: the decoder reads start and tokens, labels are tokens and end.

    x is a dict of int32 arrays (batch, length); labels int32 and weight float32 (batch, length), weight 0 on padding.
    """
    sources, targets = rows
    encoder, encoder_mask = _padded(sources)
    decoder, _ = _padded(targets[:, :-1])
    labels, label_mask = _padded(targets[:, 1:])
    x = {"encoder_token_ids": encoder, "encoder_padding_mask": encoder_mask, "decoder_token_ids": decoder}
    return x, labels, tf.cast(label_mask, tf.float32)


def _padded(ragged):
    lengths = ragged.row_lengths()
    length = -(-tf.reduce_max(lengths) // LENGTH_STEP) * LENGTH_STEP
    ids = ragged.to_tensor(Tokenizer.pad_id, shape=(None, None))
    ids = tf.pad(ids, [[0, 0], [0, length - tf.cast(tf.shape(ids)[1], tf.int64)]])
    return ids, tf.sequence_mask(lengths, length, dtype=tf.int32)


def report_cut(name, cut, total, max_length):
    """One line about cut pairs, logged and returned; None if there are none."""
    if not cut:
        return None
    line = f"{name}: {cut:,} of {total:,} pairs are longer than max_length={max_length} tokens and were cut"
    logging.getLogger("kzoo").warning(line)
    return line


def from_pairs(name, identity, pairs, model, options, tokenizer, max_length):
    """Translation splits from `{split: (sources, targets)}`; the tokenizer learns from the training texts only."""
    if options.augment:
        raise ValueError(f"augment moves images; data set {name!r} is text")
    pairs = {split: tuple(np.array(side, dtype=object) for side in pair) for split, pair in pairs.items()}
    notes = assembly.carve(name, pairs, [pairs["train"][0]], options)
    texts = [string for side in pairs["train"] for string in side]
    tokenizer = make_tokenizer(tokenizer, texts, checks.vocabulary_size(model))
    rows = {}
    for split, pair in pairs.items():
        rows[split], cut = encode_pairs(pair, tokenizer, max_length)
        notes.append(report_cut(f"{name} {split}", cut, len(pair[0]), max_length))
    splits = assembly.make_splits(rows, teacher_forcing, options)
    identity |= {"max_length": max_length, "tokenizer": tokenizer.digest}
    identity["content"] = assembly.digest_of(
        [array for ragged in rows["train"] for array in (ragged.values, ragged.row_splits)]
    )
    return assembly.make_data(name, identity, splits, options, None, tokenizer, [note for note in notes if note])

"""Texts as rows of token ids: which tokenizer, how long, padded, with their mask and segments."""

import dataclasses
import itertools
import logging
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo import graph
from kzoo.data import checks, columns
from kzoo.data.tokenizing.tokenizers import KINDS, Tokenizer

LENGTH_STEP = 8  # batches are padded to a multiple of this
DEFAULT_LENGTH = 128
LEAST_SIZES = {"wordpieces": 1000, "bytes": 257}  # the smallest vocabularies in which these kinds are worth training


@dataclasses.dataclass
class TextOptions:
    """How texts become tokens; see `kzoo.data.load`."""

    tokenizer: Tokenizer | str | None = None
    max_length: int | None = None
    whole_words: bool = False
    length_buckets: bool = True

    def fingerprint(self, max_length, tokenizer, **more) -> dict:
        """What batches depend on besides the texts and the options of every data set."""
        return {"max_length": max_length, "tokenizer": tokenizer.digest, "length_buckets": self.length_buckets, **more}


def make_tokenizer(tokenizer, texts, model, default="subwords", mask=False) -> Tokenizer:
    """The tokenizer asked for: a `Tokenizer`, a path, a kind to train on `texts`, or None for the default kind.

    A vocabulary too small for the default kind is one of characters. Raises ValueError if the tokenizer has more tokens
    than the model knows.
    """
    limit = columns.vocabulary_size(model)
    if tokenizer is None:
        tokenizer = default if (limit or 0) >= LEAST_SIZES.get(default, 0) else "characters"
    if isinstance(tokenizer, str) and tokenizer in KINDS:
        tokenizer = Tokenizer.train(tokenizer, texts, limit, mask)
    elif not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer.load(tokenizer)
    if tokenizer.vocabulary_size > limit:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocabulary_size} tokens, but the model knows {limit}; use the model's own "
            f"tokenizer, or build it with vocabulary_size={tokenizer.vocabulary_size}"
        )
    return tokenizer


def check_length(model, max_length, minimum=2) -> int:
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


def ragged(rows) -> tf.RaggedTensor:
    """A ragged int32 tensor of lists of ids."""
    values = np.fromiter(itertools.chain.from_iterable(rows), np.int32)
    return tf.RaggedTensor.from_row_lengths(values, np.array([len(row) for row in rows], np.int64))


def padded(rows, pad=0, limit=None) -> tuple:
    """Ragged ids as (batch, length), a multiple of 8 but at most `limit` long, and their mask, 1 for a token."""
    lengths = rows.row_lengths()
    length = -(-tf.reduce_max(lengths) // LENGTH_STEP) * LENGTH_STEP
    length = length if limit is None else tf.minimum(length, limit)
    ids = rows.to_tensor(pad, shape=(None, None))
    ids = tf.pad(ids, [[0, 0], [0, length - tf.cast(tf.shape(ids)[1], tf.int64)]], constant_values=pad)
    return ids, tf.sequence_mask(lengths, length, dtype=tf.int32)


def report_cut(name, cut, total, max_length, what="pairs") -> list:
    """A note about cut texts, logged and returned in a list; an empty list if there are none."""
    if not cut:
        return []
    line = f"{name}: {cut:,} of {total:,} {what} are longer than max_length={max_length} tokens and were cut"
    logging.getLogger("kzoo").warning(line)
    return [line]


def refuse_augment(name, options) -> None:
    """ValueError for an option that only images have."""
    if options.augment:
        raise ValueError(f"augment moves images; data set {name!r} is text")


class Inputs:
    """Makes a model's inputs of token ids, by name, or the ids alone if the model takes nothing else.

    Raises ValueError for a model with an input that texts cannot give.
    """

    def __init__(self, model):
        self.names = [tensor.name for tensor in model.inputs]
        unknown = sorted(set(self.names) - {"token_ids", "padding_mask", "segment_ids"})
        if unknown and len(self.names) > 1:
            raise ValueError(f"{model.name} takes {', '.join(unknown)}, which texts cannot give")

    def __call__(self, ids, real, segments=None):
        """From ids (batch, length), which of them are real, and their segments: all 0 unless given."""
        segments = tf.zeros_like(ids) if segments is None else segments
        known = {"token_ids": ids, "padding_mask": tf.cast(real, tf.int32), "segment_ids": segments}
        return {name: known[name] for name in self.names} if len(self.names) > 1 else ids

    def of_ragged(self, ids, first, pad, longest=None) -> Any:
        """From ragged ids, padded; the tokens of a row after its `first` ones belong to segment 1."""
        ids, mask = padded(ids, pad, longest)
        return self(ids, mask, tf.cast(tf.range(tf.shape(ids)[1])[None] >= first[:, None], tf.int32) * mask)


def batch(model, texts, tokenizer, framed=True) -> tuple:
    """A model's inputs for a list of texts, or a pair of lists, as NumPy arrays, and which places hold a token.

    Texts longer than the model's positions, or the tokenizer's `max_length`, lose their end, those of a language model
    their beginning.

    Args:
        framed: whether a text gets the special tokens of a text of its own; else it follows an end token, as a language
            model reads it.
    """
    longest = graph.longest_sequence(model)
    if framed:
        most = min(longest or 1 << 20, tokenizer.max_length or 1 << 20)
        ids, first, cut = encode(texts if isinstance(texts, tuple) else [texts], tokenizer, most)
        report_cut(model.name, cut, len(first), most, "texts")
    else:
        before = [] if tokenizer.end_id is None else [tokenizer.end_id]
        ids = ragged([[*before, *row][-(longest or 0) :] for row in tokenizer.encode(texts)])
        first = ids.row_lengths()
    lengths = ids.row_lengths().numpy()
    if not len(texts):
        raise ValueError("no text: pass at least one")
    if not lengths.all():
        raise ValueError(
            f"text {int(np.argmin(lengths)) + 1} of {len(texts)} is empty: pass texts of at least one token"
        )
    x = Inputs(model).of_ragged(ids, tf.cast(first, tf.int32), tokenizer.pad_id or 0, longest)
    return tf.nest.map_structure(lambda array: array.numpy(), x), padded(ids, limit=longest)[1].numpy()


def encode(texts, tokenizer, max_length) -> tuple:
    """One or two columns of texts as ragged ids with the special tokens of BERT, as far as the vocabulary has them.

    Returns the ids, how many tokens of each row belong to the first text (int32), and how many rows were cut: the
    longer text of a pair loses tokens until both fit.
    """
    before = [] if tokenizer.class_id is None else [tokenizer.class_id]
    after = tokenizer.separator_id if tokenizer.separator_id is not None else tokenizer.end_id
    after = [] if after is None else [after]
    keep = max_length - len(before) - len(after) * len(texts)
    if keep < len(texts):
        raise ValueError(f"max_length {max_length} leaves no room for text beside the special tokens")
    rows, first, cut = [], [], 0
    for ids in zip(*map(tokenizer.encode, texts), strict=True):
        shares = _shares([len(part) for part in ids], keep)
        cut += sum(shares) < sum(map(len, ids))
        parts = [[*part[:share], *after] for part, share in zip(ids, shares, strict=True)]
        first.append(len(before) + len(parts[0]))
        rows.append([*before, *itertools.chain(*parts)])
    return ragged(rows), np.array(first, np.int32), cut


def _shares(lengths, keep):
    """How many tokens of each text stay, `keep` in all: the longer of two texts gives way first."""
    if len(lengths) == 1 or sum(lengths) <= keep:
        return [min(length, keep) for length in lengths]
    first, second = lengths
    kept = keep - first if first <= keep // 2 else min(second, keep // 2)
    return [keep - kept, kept]

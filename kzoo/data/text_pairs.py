"""Pairs of texts as batches in which the second is learned token by token, with its true beginning given."""

import itertools

import numpy as np
import tensorflow as tf

from kzoo import graph
from kzoo.data import dataset, token_rows


def reverse_digits(seed=0) -> dict:
    """A made-up translation task: strings of 3 to 10 digits to the same digits reversed, a pure function of `seed`.

    Returns `{split: (sources, targets)}` with 20,000 / 1,000 / 1,000 pairs; no source is in two splits.
    """
    random = np.random.default_rng(seed)
    lengths = random.integers(3, 11, 30_000)
    digits = random.integers(0, 10, lengths.sum()).astype("U1")
    strings = list(dict.fromkeys("".join(part) for part in np.split(digits, np.cumsum(lengths)[:-1])))
    parts = {"train": strings[:20_000], "validation": strings[20_000:21_000], "test": strings[21_000:22_000]}
    return {split: (sources, [source[::-1] for source in sources]) for split, sources in parts.items()}


def encode_pairs(pairs, tokenizer, max_length) -> tuple:
    """Rows for a `Split` from (sources, targets), and how many pairs were cut to `max_length` tokens.

    Sources become tokens and end, targets start, tokens and end, both ragged int32.
    """
    keep = max_length - 1  # start or end takes one place
    sources, targets = tokenizer.encode(pairs[0]), tokenizer.target.encode(pairs[1])
    cut = sum(len(source) > keep or len(target) > keep for source, target in zip(sources, targets, strict=True))
    start, end = [tokenizer.need("start", "pairs of texts")], [tokenizer.need("end", "pairs of texts")]
    sources = token_rows.ragged([ids[:keep] + end for ids in sources])
    targets = token_rows.ragged([start + ids[:keep] + end for ids in targets])
    return (sources, targets), cut


def from_pairs(name, identity, pairs, model, options, choices) -> dataset.Data:
    """Translation splits from `{split: (sources, targets)}`; the tokenizer is trained on the training texts only.

    The decoder reads start and tokens, labels are tokens and end. x is a dict of int32 arrays (batch, length); labels
    are int32 and weights float32 (batch, length), 0 on padding.
    """
    token_rows.refuse_augment(name, options)
    max_length = token_rows.check_length(model, choices.max_length)
    pairs = {split: tuple(np.array(side, dtype=object) for side in pair) for split, pair in pairs.items()}
    notes = dataset.carve(name, pairs, [pairs["train"][0]], options)
    tokenizer = token_rows.make_tokenizer(choices.tokenizer, list(itertools.chain(*pairs["train"])), model)
    rows = {}
    for split, pair in pairs.items():
        rows[split], cut = encode_pairs(pair, tokenizer, max_length)
        notes += token_rows.report_cut(f"{name} {split}", cut, len(pair[0]), max_length)
    pad, limit = tokenizer.pad_id or 0, graph.longest_sequence(model)

    def finish(rows, _random):
        sources, targets = rows
        encoder, encoder_mask = token_rows.padded(sources, pad, limit)
        decoder, _ = token_rows.padded(targets[:, :-1], pad, limit)
        labels, label_mask = token_rows.padded(targets[:, 1:], pad, limit)
        x = {"encoder_token_ids": encoder, "encoder_padding_mask": encoder_mask, "decoder_token_ids": decoder}
        return x, labels, tf.cast(label_mask, tf.float32)

    lengths = sum(side.row_lengths() for side in rows["train"]).numpy() if choices.length_buckets else None
    splits = dataset.make_splits(rows, finish, options, lengths=lengths)
    identity |= choices.fingerprint(max_length, tokenizer)
    identity["content"] = dataset.digest_of([(side.values, side.row_splits) for side in rows["train"]])
    return dataset.make_data(name, identity, splits, options, None, tokenizer, notes)

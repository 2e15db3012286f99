"""Texts, or pairs of texts, with a label each."""

import numpy as np
import tensorflow as tf

from kzoo import graph
from kzoo.data import checks, dataset, text


def from_parts(name, identity, parts, model, options, choices, class_names=None):
    """Splits for classification from `{split: (columns of texts, labels)}`, one or two columns.

    The tokenizer learns from the training texts only. Batches of training hold texts of like length.
    """
    text.refuse_augment(name, options)
    length = text.check_length(model, choices.max_length, minimum=4)
    rows = {split: _checked(f"{name} {split}", model, *part) for split, part in parts.items()}
    notes = dataset.carve(name, rows, list(rows["train"][:-1]), options)
    learn_from = [one for column in rows["train"][:-1] for one in column]
    limit = checks.vocabulary_size(model)
    tokenizer = text.make_tokenizer(
        choices.tokenizer, learn_from, limit, "wordpieces" if limit >= 1000 else "characters"
    )
    encoded = {}
    for split, (*columns, labels) in rows.items():
        ids, first, cut = encode(columns, tokenizer, length)
        notes.append(text.report_cut(f"{name} {split}", cut, len(labels), length, "texts"))
        notes += _empty(f"{name} {split}", columns)
        encoded[split] = (ids, first, labels)
    ids, *others = encoded["train"]
    digest = dataset.digest_of([ids.values, ids.row_splits, *others])
    lengths = ids.row_lengths().numpy() if choices.length_buckets else None
    build, longest = Inputs(model, tokenizer), graph.longest_sequence(model)

    def finish(rows, _random):
        ids, first, labels = rows
        return build(ids, first, longest), labels

    splits = dataset.make_splits(encoded, finish, options, lengths=lengths)
    notes.append(_statistics(f"{name} train", encoded["train"][0], splits["train"]))
    identity |= choices.fingerprint(length, tokenizer, content=digest, class_names=class_names)
    return dataset.make_data(
        name, identity, splits, options, class_names, tokenizer, [note for note in notes if note]
    )  # fmt: skip


class Inputs:
    """Makes a model's inputs of ragged ids: token ids, their mask, and segment 1 from the second text on."""

    def __init__(self, model, tokenizer):
        self.names, self.pad = list(checks.inputs(model)), tokenizer.pad_id or 0
        unknown = sorted(set(self.names) - {"token_ids", "padding_mask", "segment_ids"})
        if unknown and len(self.names) > 1:
            raise ValueError(f"{model.name} takes {', '.join(unknown)}, which texts cannot give")

    def __call__(self, ids, first, longest=None):
        ids, mask = text.padded(ids, self.pad, longest)
        segments = tf.cast(tf.range(tf.shape(ids)[1])[None] >= first[:, None], tf.int32) * mask
        known = {"token_ids": ids, "padding_mask": mask, "segment_ids": segments}
        return {name: known[name] for name in self.names} if len(self.names) > 1 else ids


def batch(model, texts, tokenizer, framed=True):
    """A model's inputs for a list of texts, as NumPy arrays, and which places hold a token, (batch, length).

    Args:
        framed: with the special tokens of a text of its own; else after an end token, as a language model reads it.

    Texts longer than the model's positions lose their end, those of a language model their beginning.
    """
    longest = graph.longest_sequence(model)
    if framed:
        ids, first, cut = encode([texts], tokenizer, longest or 1 << 20)
        text.report_cut(model.name, cut, len(texts), longest, "texts")
    else:
        before = [] if tokenizer.end_id is None else [tokenizer.end_id]
        ids = text.ragged([[*before, *one][-(longest or 0) :] for one in tokenizer.encode(texts)])
        first = ids.row_lengths()
    lengths = ids.row_lengths().numpy()
    if not len(texts) or not lengths.all():
        raise ValueError("no text: pass at least one, each of at least one token")
    x = Inputs(model, tokenizer)(ids, tf.cast(first, tf.int32), longest)
    real = (np.arange(int(text.padded(ids, limit=longest)[0].shape[1])) < lengths[:, None]).astype(np.int32)
    return tf.nest.map_structure(lambda array: array.numpy(), x), real


def encode(columns, tokenizer, max_length):
    """One or two columns of texts as ragged ids with the special tokens of BERT, as far as the vocabulary has them.

    Returns the ids, how many tokens of each row belong to the first text (int32), and how many rows were cut: the
    longer text of a pair loses tokens until both fit.
    """
    before = [] if tokenizer.class_id is None else [tokenizer.class_id]
    after = tokenizer.separator_id if tokenizer.separator_id is not None else tokenizer.end_id
    after = [] if after is None else [after]
    keep = max_length - len(before) - len(after) * len(columns)
    if keep < len(columns):
        raise ValueError(f"max_length {max_length} leaves no place for text beside the special tokens")
    rows, first, cut = [], [], 0
    encoded = [tokenizer.encode(column) for column in columns]
    for ids in zip(*encoded, strict=True):
        shares = _shares([len(one) for one in ids], keep)
        cut += sum(shares) < sum(map(len, ids))
        row = [*before, *ids[0][: shares[0]], *after]
        first.append(len(row))
        rows.append(row if len(ids) == 1 else [*row, *ids[1][: shares[1]], *after])
    return text.ragged(rows), np.array(first, np.int32), cut


def _shares(lengths, keep):
    """How many tokens of each text stay, `keep` in all: the longer of two texts gives way first."""
    if len(lengths) == 1 or sum(lengths) <= keep:
        return [min(length, keep) for length in lengths]
    first, second = lengths
    if first <= keep // 2:
        return [first, keep - first]
    return [keep - min(second, keep // 2), min(second, keep // 2)]


def _checked(label, model, columns, labels):
    columns = tuple(np.array(column, dtype=object) for column in columns)
    sizes = sorted({len(column) for column in (*columns, labels)})
    if len(sizes) > 1:
        raise ValueError(f"{label}: texts and labels have different numbers of examples: {sizes}")
    if sizes == [0]:
        raise ValueError(f"{label}: no {'training ' if label.endswith('train') else ''}examples")
    for column in columns:
        wrong = next((place for place, one in enumerate(column) if not isinstance(one, str)), None)
        if wrong is not None:
            raise ValueError(f"{label}: example {wrong} is a {type(column[wrong]).__name__}, wanted text")
    return (*columns, checks.check_labels(np.asarray(labels), checks.num_classes(model), f"{label} labels"))


def _empty(label, columns):
    count = sum(not any(one.strip() for one in example) for example in zip(*columns, strict=True))
    return [f"{label}: {count:,} texts are empty"] if count else []


def _statistics(label, ids, split):
    """How much of the first epoch's batches is padding."""
    lengths = ids.row_lengths().numpy()[split.example_ids(0)]
    batches = [lengths[start : start + split.batch_size] for start in range(0, len(lengths), split.batch_size)]
    places = sum(-(-batch.max() // text.LENGTH_STEP) * text.LENGTH_STEP * len(batch) for batch in batches)
    share = 100 * (1 - lengths.sum() / max(places, 1))
    return f"{label}: {len(lengths):,} texts, {lengths.sum():,} tokens, {share:.1f} % padding"

"""Texts, or pairs of texts, with a label each."""

import numpy as np

from kzoo import graph
from kzoo.data import dataset, token_rows


def from_parts(name, identity, parts, model, target, options, choices, class_names=None) -> dataset.Data:
    """Splits for classification from `{split: (columns of texts, labels)}`, one or two columns.

    The tokenizer is trained on the training texts only. Training batches hold texts of similar length.
    """
    token_rows.refuse_augment(name, options)
    length = token_rows.check_length(model, choices.max_length, minimum=4)
    rows = {split: _checked(f"{name} {split}", target, *part) for split, part in parts.items()}
    notes = dataset.carve(name, rows, list(rows["train"][:-1]), options)
    learn_from = [text for column in rows["train"][:-1] for text in column]
    tokenizer = token_rows.make_tokenizer(choices.tokenizer, learn_from, model, "wordpieces")
    encoded = {}
    for split, (*columns, labels) in rows.items():
        ids, first, cut = token_rows.encode(columns, tokenizer, length)
        notes += token_rows.report_cut(f"{name} {split}", cut, len(labels), length, "texts")
        empty = sum(not any(text.strip() for text in example) for example in zip(*columns, strict=True))
        notes += [f"{name} {split}: {empty:,} texts are empty"] if empty else []
        encoded[split] = (ids, first, labels)
    ids, *others = encoded["train"]
    digest = dataset.digest_of([ids.values, ids.row_splits, *others])
    lengths = ids.row_lengths().numpy()
    inputs, longest = token_rows.Inputs(model), graph.longest_sequence(model)

    def finish(rows, _random):
        ids, first, labels = rows
        return inputs.of_ragged(ids, first, tokenizer.pad_id or 0, longest), labels

    splits = dataset.make_splits(encoded, finish, options, lengths=lengths if choices.length_buckets else None)
    notes.append(_statistics(f"{name} train", lengths, splits["train"]))
    identity = {**identity, **choices.fingerprint(length, tokenizer, content=digest, class_names=class_names)}
    return dataset.make_data(name, identity, splits, options, class_names, tokenizer, notes)


def _checked(label, target, columns, labels):
    columns, labels = tuple(np.array(column, dtype=object) for column in columns), np.asarray(labels)
    dataset.check_examples(label, columns, labels)
    for column in columns:
        wrong = next((place for place, text in enumerate(column) if not isinstance(text, str)), None)
        if wrong is not None:
            raise ValueError(f"{label}: example {wrong} is a {type(column[wrong]).__name__}, wanted text")
    return (*columns, target.check(f"{label} labels", labels, columns)[0])


def _statistics(label, lengths, split):
    """How much of the first epoch's batches is padding."""
    lengths = lengths[split.example_ids(0)]
    batches = np.split(lengths, range(split.batch_size, len(lengths), split.batch_size))
    places = sum(-(-batch.max() // token_rows.LENGTH_STEP) * token_rows.LENGTH_STEP * len(batch) for batch in batches)
    share = 100 * (1 - lengths.sum() / max(places, 1))
    return f"{label}: {len(lengths):,} texts, {lengths.sum():,} tokens, {share:.1f} % padding"

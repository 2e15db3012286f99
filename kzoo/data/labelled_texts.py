"""Texts, or pairs of texts, with a label each."""

import numpy as np

from kzoo import graph
from kzoo.data import dataset, token_rows
from kzoo.data.columns import vocabulary_size


def from_parts(name, identity, parts, model, target, options, choices, class_names=None):
    """Splits for classification from `{split: (columns of texts, labels)}`, one or two columns.

    The tokenizer learns from the training texts only. Batches of training hold texts of like length.
    """
    token_rows.refuse_augment(name, options)
    length = token_rows.check_length(model, choices.max_length, minimum=4)
    rows = {split: _checked(f"{name} {split}", target, *part) for split, part in parts.items()}
    notes = dataset.carve(name, rows, list(rows["train"][:-1]), options)
    learn_from = [one for column in rows["train"][:-1] for one in column]
    limit = vocabulary_size(model)
    tokenizer = token_rows.make_tokenizer(
        choices.tokenizer, learn_from, limit, "wordpieces" if limit >= 1000 else "characters"
    )
    encoded = {}
    for split, (*columns, labels) in rows.items():
        ids, first, cut = token_rows.encode(columns, tokenizer, length)
        notes.append(token_rows.report_cut(f"{name} {split}", cut, len(labels), length, "texts"))
        notes += _empty(f"{name} {split}", columns)
        encoded[split] = (ids, first, labels)
    ids, *others = encoded["train"]
    digest = dataset.digest_of([ids.values, ids.row_splits, *others])
    lengths = ids.row_lengths().numpy() if choices.length_buckets else None
    build, longest = token_rows.Inputs(model, tokenizer), graph.longest_sequence(model)

    def finish(rows, _random):
        ids, first, labels = rows
        return build(ids, first, longest), labels

    splits = dataset.make_splits(encoded, finish, options, lengths=lengths)
    notes.append(_statistics(f"{name} train", encoded["train"][0], splits["train"]))
    identity = {**identity, **choices.fingerprint(length, tokenizer, content=digest, class_names=class_names)}
    return dataset.make_data(
        name, identity, splits, options, class_names, tokenizer, [note for note in notes if note]
    )  # fmt: skip


def _checked(label, target, columns, labels):
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
    return (*columns, target.check(f"{label} labels", np.asarray(labels), columns)[0])


def _empty(label, columns):
    count = sum(not any(one.strip() for one in example) for example in zip(*columns, strict=True))
    return [f"{label}: {count:,} texts are empty"] if count else []


def _statistics(label, ids, split):
    """How much of the first epoch's batches is padding."""
    lengths = ids.row_lengths().numpy()[split.example_ids(0)]
    batches = [lengths[start : start + split.batch_size] for start in range(0, len(lengths), split.batch_size)]
    places = sum(-(-batch.max() // token_rows.LENGTH_STEP) * token_rows.LENGTH_STEP * len(batch) for batch in batches)
    share = 100 * (1 - lengths.sum() / max(places, 1))
    return f"{label}: {len(lengths):,} texts, {lengths.sum():,} tokens, {share:.1f} % padding"

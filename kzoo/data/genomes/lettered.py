"""Sequences of letters with a label each, or with one for every letter, as batches."""

import collections
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import checks, columns, dataset
from kzoo.data.genomes import alphabet
from kzoo.data.genomes.strands import LetterAugmentation

UNLABELLED = -100  # a letter without a label, as in PyTorch


def encoded(label, texts, model, skip_bad=False) -> tuple:
    """Sequences as ids: `(list of uint8 arrays, their places among the texts, notes)`.

    Args:
        texts: strings; or arrays of ids, which are taken as they are.
        skip_bad: whether to leave out, and count, what is no sequence for the model instead of raising ValueError.
    """
    column = columns.lettered(model)
    found, places, counts, bad = [], [], collections.Counter(), []
    for place, text in enumerate(texts):
        try:
            ids, vague = text, ()
            if isinstance(text, str):
                ids, vague = alphabet.encode(f"{label}: sequence {place + 1}", text, column.letters)
            if column.shape[0] not in (None, len(ids)):
                raise ValueError(
                    f"{label}: sequence {place + 1} has {len(ids):,} letters and {model.name} takes "
                    f"{column.shape[0]:,}: cut it, or build the model with sequence_length={len(ids)} (--set "
                    f"sequence_length={len(ids)})"
                )
        except ValueError as error:
            if not skip_bad:
                raise
            bad.append(error)
            continue
        counts.update(vague)
        found.append(np.asarray(ids, np.uint8))
        places.append(place)
    notes = alphabet.told(label, counts)
    if bad:
        notes.append(f"{label}: {len(bad):,} of {len(texts):,} sequences were left out ({bad[0]})")
    return found, np.array(places, int), notes


def padded(rows) -> np.ndarray:
    """Ids of sequences as one batch, int32 (batch, longest), zeros after the end of each."""
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, own in zip(ids, rows, strict=True):
        row[: len(own)] = own
    return ids


def from_parts(name, identity, parts, model, target, options, class_names=None, skip_bad=False, notes=()) -> Any:
    """The `Data` of `{split: (sequences, labels)}`, sequences as `encoded` takes them.

    Labels are an array with a row for each sequence, or a list of arrays with a class for each letter.
    """
    options.require(LetterAugmentation)
    by_letter = isinstance(target, columns.TokenLabel)
    if by_letter and options.augment and options.augment.reverse:
        raise ValueError(
            f"augment={options.asked!r} reverses sequences, and what {model.name} learns of letters holds for one "
            "strand; pass augment='mutations', or sequences of both strands"
        )
    rows, notes = {}, list(notes)
    for split, (texts, labels) in parts.items():
        where = f"{name} {split}"
        ids, places, told = encoded(where, texts, model, skip_bad)
        notes += told
        dataset.check_examples(where, checks.objects(texts), checks.objects(labels))
        if by_letter:
            labels = [_checked_letters(f"{where} labels", target, labels[place], len(own))
                      for place, own in zip(places, ids, strict=True)]  # fmt: skip
            rows[split] = (checks.objects(ids), checks.objects(labels))
        else:
            rows[split] = (checks.objects(ids), target.check(f"{where} labels", np.asarray(labels)[places], None)[0])
    notes += dataset.carve(name, rows, [rows["train"][0]], options)
    lengths = np.array([len(own) for own in rows["train"][0]])
    as_stored = lambda part: dataset.ragged(part) if part.dtype == object else part  # noqa: E731
    rows = {split: tuple(map(as_stored, row)) for split, row in rows.items()}
    column, length = columns.lettered(model), columns.lettered(model).shape[0]
    turned = _class_of_reversed(name, options, target, class_names)

    def finish(batch, random):
        ids, labels = batch
        ids = tf.ensure_shape(tf.cast(ids.to_tensor(), tf.int32), (None, length))
        if random is not None:
            ids = options.augment.apply(ids, random, column.letters)
            if turned is not None:
                labels = tf.where(options.augment.reversed(random), tf.cast(turned, labels.dtype), labels)
        if not by_letter:
            return ids, target.repeat(target.to_batch(labels))
        labels = labels.to_tensor(UNLABELLED)
        return ids, tf.maximum(labels, 0), tf.cast(labels != UNLABELLED, tf.float32)

    is_open = length is None and len({*lengths}) > 1
    draw = options.augment.draw if options.augment else None
    splits = dataset.make_splits(rows, finish, options, draw, lengths if is_open else None)
    content = dataset.digest_of([part.values if isinstance(part, tf.RaggedTensor) else part for part in rows["train"]])
    identity = {"content": content, **identity, "class_names": class_names, "skip_bad": skip_bad}
    notes.append(f"{name} train: {len(lengths):,} sequences of {lengths.min():,} to {lengths.max():,} letters")
    return dataset.make_data(name, identity, splits, options, class_names, notes=notes)


def _class_of_reversed(name, options, target, class_names):
    """The class of sequences that an augmentation reverses; None where they keep theirs."""
    if not options.augment or options.augment.reversed_label is None:
        return None
    word = options.augment.reversed_label
    if type(target) is not columns.Label or word not in (class_names or ()):
        raise ValueError(
            f"augment={options.asked!r} makes {word!r} of sequences that it reverses, and {name} has "
            f"{'the classes ' + ', '.join(class_names) if class_names else 'no names of classes'}; pass "
            "augment=kzoo.data.LetterAugmentation(reversed_label=...) with one of them, or 'strands' where labels hold "
            "for both strands"
        )
    return class_names.index(word)


def _checked_letters(label, target, labels, length):
    """The classes of a sequence's letters, int32; ValueError unless there are as many as letters."""
    labels = np.asarray(labels)
    if labels.shape != (length,):
        raise ValueError(f"{label} have shape {labels.shape}; wanted one for each of {length:,} letters")
    checked, weight = target.check(label, labels[None], None)
    return np.where(weight[0] > 0, checked[0], UNLABELLED).astype(np.int32)

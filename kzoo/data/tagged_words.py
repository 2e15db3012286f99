"""Sentences as words with a tag each: the first token of a word learns its tag, other tokens learn nothing."""

import numpy as np
import tensorflow as tf

from kzoo import graph
from kzoo.data import dataset, token_rows

BETWEEN = "\n"  # what no word holds


def from_sentences(name, identity, parts, model, options, choices, class_names) -> dataset.Data:
    """Splits from `{split: (words, tags)}`: a text for each sentence, its words, or class indices, joined by BETWEEN.

    Devlin et al. 2018, section 5.3: a word that becomes several tokens has its tag on the first of them. x is what the
    model takes; labels are int32 and weights float32 (batch, length), 0 where there is no tag. The tokenizer is trained
    on the training words only.
    """
    token_rows.refuse_augment(name, options)
    length = token_rows.check_length(model, choices.max_length, minimum=4)
    rows = {split: tuple(np.array(column, object) for column in part) for split, part in parts.items()}
    notes = dataset.carve(name, rows, [rows["train"][0]], options)
    learn_from = [text.replace(BETWEEN, " ") for text in rows["train"][0]]
    tokenizer = token_rows.make_tokenizer(choices.tokenizer, learn_from, model, "wordpieces")
    encoded = {}
    for split, (words, tags) in rows.items():
        ids, places, cut, lost = _encode([sentence.split(BETWEEN) for sentence in words], tokenizer, length)
        notes += token_rows.report_cut(f"{name} {split}", cut, len(words), length, "sentences")
        notes += [f"{name} {split}: {lost:,} words have no token, so their tags are not learned"] if lost else []
        tags = [[int(tag) for tag in row.split(BETWEEN)] for row in tags]
        labels = [[-1 if at < 0 else own[at] for at in row] for row, own in zip(places, tags, strict=True)]
        encoded[split] = (token_rows.ragged(ids), token_rows.ragged(labels))
    inputs, longest = token_rows.Inputs(model), graph.longest_sequence(model)

    def finish(rows, _random):
        ids, tags = rows
        x = inputs.of_ragged(ids, tf.cast(ids.row_lengths(), tf.int32), tokenizer.pad_id or 0, longest)
        tags, _ = token_rows.padded(tags, -1, longest)
        return x, tf.maximum(tags, 0), tf.cast(tags >= 0, tf.float32)

    lengths = encoded["train"][0].row_lengths().numpy()
    splits = dataset.make_splits(encoded, finish, options, lengths=lengths if choices.length_buckets else None)
    digest = dataset.digest_of([part.values for part in encoded["train"]] + [lengths])
    identity = {**identity, **choices.fingerprint(length, tokenizer, content=digest)}
    return dataset.make_data(name, identity, splits, options, class_names, tokenizer, notes)


def _encode(sentences, tokenizer, length):
    """Lists of words as lists of ids, and which word begins at each of these, -1 where none does.

    Also returns how many sentences were cut, and how many words have no token.
    """
    before = [] if tokenizer.class_id is None else [tokenizer.class_id]
    after = tokenizer.separator_id if tokenizer.separator_id is not None else tokenizer.end_id
    after = [] if after is None else [after]
    keep, all_ids, all_places, cut, lost = length - len(before) - len(after), [], [], 0, 0
    found = tokenizer.engine.encode_batch(sentences, is_pretokenized=True, add_special_tokens=False)
    for sentence, encoding in zip(sentences, found, strict=True):
        places, seen = [], set()
        for word in encoding.word_ids:
            places.append(-1 if word is None or word in seen else word)
            seen.add(word)
        cut += len(places) > keep
        lost += len({*range(len(sentence))} - seen)
        all_ids.append([*before, *encoding.ids[:keep], *after])
        all_places.append([-1] * len(before) + places[:keep] + [-1] * len(after))
    return all_ids, all_places, cut, lost


def batch(model, sentences, tokenizer) -> tuple:
    """A model's inputs for lists of words, as NumPy arrays, and which word begins at each token, -1 where none does.

    Sentences longer than the model's positions lose their end.
    """
    longest = graph.longest_sequence(model)
    ids, places, cut, _ = _encode(sentences, tokenizer, longest or 1 << 20)
    token_rows.report_cut(model.name, cut, len(ids), longest, "sentences")
    ids = token_rows.ragged(ids)
    x = token_rows.Inputs(model).of_ragged(ids, tf.cast(ids.row_lengths(), tf.int32), tokenizer.pad_id or 0, longest)
    return tf.nest.map_structure(lambda array: array.numpy(), x), places

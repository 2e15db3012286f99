"""Pairs of neighbouring or unrelated segments with masked words, for BERT's pre-training on both of its tasks."""

import dataclasses
import itertools
import re

import numpy as np
import tensorflow as tf

from kzoo.data import dataset, language, token_rows
from kzoo.data.splits import Split

FOLLOWS = 0.5  # share of the pairs whose second segment is the true next one
SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")


@dataclasses.dataclass(frozen=True)
class Chunks:
    """Runs of consecutive sentences of one document each, of which a pair takes the beginning and the rest.

    Args:
        stream: int32 (num_tokens,), the sentences of all documents.
        bounds: int32 (num_sentences + 1,), where in the stream each sentence starts.
        first: int32 (num_chunks,), the first sentence of each.
        count: int32 (num_chunks,), how many it has, at least two.
        low, high: int32 (num_chunks,), the chunks from `low` up to but not including `high` are of the same document.
    """

    stream: np.ndarray
    bounds: np.ndarray
    first: np.ndarray
    count: np.ndarray
    low: np.ndarray
    high: np.ndarray


def from_texts(name, identity, texts, model, options, choices) -> dataset.Data:
    """Splits for pre-training on sentence pairs and masked words, from `{split: list of documents}`.

    Devlin et al. 2018, https://arxiv.org/abs/1810.04805, sections 3.1 and A.2. An example is a run of sentences that
    fills a row. It is cut in two at a random sentence; in half of the pairs the second segment is replaced by that of a
    run from another document (from the same one, where a split has no other). Where the two together are too long, the
    longer loses its end. x has rows of class, A, separator, B, separator; y `masked_words` (batch, length) and
    `next_sentence` (batch,), 0 where B follows A. In training all of it is drawn anew in every epoch.

    Raises ValueError for a model without the inputs of the two heads, or if no document has two sentences.
    """
    token_rows.refuse_augment(name, options)
    length = token_rows.check_length(model, choices.max_length, minimum=8)
    texts, notes = language.carve(name, texts, options)
    tokenizer = token_rows.make_tokenizer(choices.tokenizer, texts["train"], model, "wordpieces", mask=True)
    for role in ("class", "separator", "pad", "mask"):
        tokenizer.need(role, "pre-training on sentence pairs")
    splits = {}
    for split, part in texts.items():
        chunks, left_out = find_chunks([_sentences(tokenizer, document) for document in part], length - 3)
        count = len(chunks.first)
        if left_out:
            notes.append(f"{name} {split}: {left_out:,} of {len(part):,} texts have one sentence and were left out")
        if count < 2 and split == "train":
            raise ValueError(
                f"no training examples: {name} has {count} runs of at least two sentences and two are needed for pairs "
                "that do not follow; pass longer texts, more of them, or a smaller max_length"
            )
        if count < 2:
            notes.append(f"{name} {split}: too little text for pairs, so there is no such split")
            continue
        splits[split] = _split(chunks, length, split, model, tokenizer, options, choices.whole_words)
        notes.append(
            f"{name} {split}: {len(part) - left_out:,} texts, {len(chunks.stream):,} tokens in {count:,} pairs of at "
            f"most {length} tokens"
        )
        if split == "train":
            identity["content"] = dataset.digest_of([chunks.stream, chunks.bounds])
    identity |= choices.fingerprint(length, tokenizer, whole_words=choices.whole_words)
    return dataset.make_data(name, identity, splits, options, None, tokenizer, notes)


def _sentences(tokenizer, document):
    """Token ids of the sentences of a document, a list of lists without empty ones."""
    parts = [part for part in SENTENCE_ENDS.split(document) if part.strip()]
    return [ids for ids in tokenizer.encode(parts) if ids]


def find_chunks(documents, room) -> tuple:
    """`Chunks` of documents, each a list of sentences as lists of ids; and how many documents have only one sentence.

    A chunk takes sentences as long as they fit into `room` tokens, but at least two. A sentence longer than half of
    that is cut into several.
    """
    pieces, chunks, sizes, left_out = [], [], [], 0
    half = room // 2
    for document in documents:
        own = [ids[start : start + half] for ids in document for start in range(0, len(ids), half)]
        if len(own) < 2:
            left_out += 1
            continue
        run = _pack([len(ids) for ids in own], room)
        chunks += [(len(pieces) + first, count) for first, count in run]
        pieces += own
        sizes.append(len(run))
    first, count = np.array(chunks, np.int32).reshape(-1, 2).T
    if len(sizes) == 1:  # no other document: every other chunk stands for one
        sizes = [1] * len(chunks)
    ends = np.cumsum(sizes, dtype=np.int32)
    low, high = np.repeat(ends - np.array(sizes, np.int32), sizes), np.repeat(ends, sizes)
    stream = np.fromiter(itertools.chain.from_iterable(pieces), np.int32)
    bounds = np.cumsum([0, *map(len, pieces)], dtype=np.int32)
    return Chunks(stream, bounds, first, count, low, high), left_out


def _pack(lengths, room):
    """(first sentence, number of sentences) of every chunk of one document."""
    chunks, first, total = [], 0, 0
    for index, length in enumerate(lengths):
        if index > first + 1 and total + length > room:
            chunks.append((first, index - first))
            first, total = index, 0
        total += length
    if len(lengths) - first == 1:  # a single one at the end is paired with the one before
        first -= 1
    return [*chunks, (first, len(lengths) - first)]


def _split(chunks, length, split, model, tokenizer, options, whole_words):
    build = _Pairs(chunks, length, tokenizer)
    inputs, choose = token_rows.Inputs(model), language.Masking(tokenizer, whole_words)

    def draw(key, count):
        return tf.random.stateless_uniform([count, 4], key, dtype=tf.float64), choose.draw(key, count)

    def finish(index, random):
        ids, segments, real, follows = build(index, random[0])
        changed, chosen = choose(ids, random[1])
        y = {"masked_words": ids, "next_sentence": tf.cast(~follows, tf.int32)}
        weight = {"masked_words": tf.cast(chosen, tf.float32), "next_sentence": tf.ones_like(index, tf.float32)}
        return inputs(changed, real, segments), y, weight

    # Validation and test are paired and masked too, alike in every epoch, whatever the seed.
    rows = np.arange(len(chunks.first), dtype=np.int32)
    return Split(rows, finish, **options.of_split(split) | {"draw": draw})


class _Pairs:
    """Rows of class, A, separator, B, separator from chunks (batch,) and four random numbers for each, (batch, 4)."""

    def __init__(self, chunks, length, tokenizer):
        with tf.device("CPU"):
            self.chunks = Chunks(*(tf.constant(value) for value in dataclasses.astuple(chunks)))
        self.length = length
        self.first, self.last, self.pad = tokenizer.class_id, tokenizer.separator_id, tokenizer.pad_id

    def __call__(self, index, numbers):
        """Ids and segments int32, which places are real bool, (batch, length) each; and which pairs follow, (batch,).

        The numbers choose where the chunk is cut, whether B follows, whose end is B otherwise, and where that is cut.
        """
        chunks, follows = self.chunks, numbers[:, 1] < FOLLOWS
        low, high = tf.gather(chunks.low, index), tf.gather(chunks.high, index)
        other = _pick(numbers[:, 2], tf.size(chunks.first) - (high - low))
        other = tf.where(other < low, other, other + high - low)
        start, middle, end = self._cut(index, numbers[:, 0])
        _, other_middle, other_end = self._cut(other, numbers[:, 3])
        second, second_end = tf.where(follows, middle, other_middle), tf.where(follows, end, other_end)
        count, second_count = _cut_longer(middle - start, second_end - second, self.length - 3)

        count, second_count = count[:, None], second_count[:, None]
        places = tf.range(self.length)[None]
        begin = count + 2  # of B
        in_second = places >= begin
        at = tf.where(in_second, second[:, None] + places - begin, start[:, None] + places - 1)
        ids = tf.gather(chunks.stream, tf.clip_by_value(at, 0, tf.size(chunks.stream) - 1))
        ids = tf.where(places == 0, self.first, ids)
        ids = tf.where((places == count + 1) | (places == begin + second_count), self.last, ids)
        real = places <= begin + second_count
        return tf.where(real, ids, self.pad), tf.cast(in_second & real, tf.int32), real, follows

    def _cut(self, index, number):
        """Where in the stream chunks start, are cut and end, (batch,) each; both parts have at least one sentence."""
        first, count = tf.gather(self.chunks.first, index), tf.gather(self.chunks.count, index)
        middle = first + 1 + _pick(number, count - 1)
        return tuple(tf.gather(self.chunks.bounds, place) for place in (first, middle, first + count))


def _pick(number, count):
    """An int from 0 to count - 1 for a number in [0, 1)."""
    return tf.minimum(tf.cast(number * tf.cast(count, number.dtype), tf.int32), count - 1)


def _cut_longer(first, second, room):
    """How many tokens of both segments stay, `room` at most together: the longer gives way until both are alike."""
    half = room // 2
    kept = tf.where(first <= room - half, room - first, tf.minimum(second, half))
    kept = tf.where(first + second > room, kept, second)
    return tf.minimum(first, room - kept), kept

"""Texts as rows of tokens for language models: packed without padding, or with tokens masked anew in every epoch."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from kzoo.data import dataset, token_rows
from kzoo.data.splits import Split, fold

MASKED_SHARE = 0.15  # Devlin et al. 2018, section 3.1 and A.1
MASKED, REPLACED = 0.8, 0.1  # of the chosen: shares that become the mask token and a random one; the rest stay
MASKING = "masked language modelling"


@dataclasses.dataclass(frozen=True)
class Rows:
    """How a stream of tokens is cut into rows.

    Args:
        stream: int32 (num_tokens,), a tensor made outside of any graph, which would hold a copy of it.
        length: the number of tokens from one row's start to the next one's.
        period: the number of tokens after which the stream begins again.
        wraps: whether rows that reach beyond the period continue at the beginning, as in training, or are filled up.
    """

    stream: tf.Tensor
    length: int
    period: int
    wraps: bool

    @property
    def starts(self) -> np.ndarray:
        """Where the rows start, int32 (rows,): every token is in one."""
        return np.arange(0, self.period, self.length, dtype=np.int32)

    def gather(self, starts, width) -> tuple:
        """Ids (batch, width) from these positions on, and which of them are in the stream, bool."""
        places = starts[:, None] + tf.range(width)
        if self.wraps:
            places %= self.period
        last = len(self.stream) - 1
        return tf.gather(self.stream, tf.minimum(places, last)), places <= last


def from_texts(name, identity, texts, model, options, choices, masked=False) -> dataset.Data:
    """Splits for language modelling, masked or not, from `{split: list of texts}`.

    The tokenizer is trained on the training texts only; validation takes whole texts, or the end of a single one.
    """
    token_rows.refuse_augment(name, options)
    length = token_rows.check_length(model, choices.max_length, minimum=4)
    texts, notes = carve(name, texts, options)
    default = "wordpieces" if masked else "bytes"
    tokenizer = token_rows.make_tokenizer(choices.tokenizer, texts["train"], model, default, masked)
    between = tokenizer.need("separator" if masked else "end", f"{model.name}, between texts,")
    splits, per_token = {}, {}
    for split, part in texts.items():
        pieces = [[between], *(piece for row in tokenizer.encode(part) for piece in (row, [between]))]
        stream = np.concatenate(pieces).astype(np.int32)
        if masked:
            splits[split] = _masked(stream, length, split, model, tokenizer, options, choices.whole_words)
        else:
            splits[split] = _shifted(stream, length, split, model, tokenizer, options)
        per_token[split] = sum(map(len, part)) / (len(stream) - 1)
        notes.append(_statistics(f"{name} {split}", len(part), stream, splits[split], length, tokenizer, 2 * masked))
        if split == "train":
            identity["content"] = dataset.digest_of([stream])
    identity |= choices.fingerprint(length, tokenizer, whole_words=choices.whole_words)
    data = dataset.make_data(name, identity, splits, options, None, tokenizer, notes)
    data.characters_per_token = None if masked else per_token
    return data


def carve(name, texts, options) -> tuple:
    """Texts by split without empty ones, validation set aside where there is none; and what a user should read."""
    full = {split: [text for text in part if text.strip()] for split, part in texts.items()}
    if not full["train"]:
        raise ValueError(f"no training examples: {name} holds no text but blanks")
    notes = []
    for split, part in texts.items():
        if empty := len(part) - len(full[split]):
            notes.append(f"{name} {split}: {empty:,} of {len(part):,} texts are empty and were left out")
    full = {split: part for split, part in full.items() if part}
    if len(full["train"]) == 1 and "validation" not in full and options.validation_fraction:
        (whole,) = full["train"]
        cut = round(len(whole) * (1 - options.validation_fraction))
        cut = whole.rfind("\n", 0, cut) + 1 or cut
        if whole[:cut].strip() and whole[cut:].strip():
            full |= {"train": [whole[:cut]], "validation": [whole[cut:]]}
            notes.append(f"{name}: the last {len(whole) - cut:,} of {len(whole):,} characters are for validation")
        return full, notes
    rows = {split: (np.array(part, dtype=object),) for split, part in full.items()}
    notes += dataset.carve(name, rows, rows["train"], options)
    return {split: list(part) for split, (part,) in rows.items()}, notes


def _statistics(label, num_texts, stream, split, length, tokenizer, num_special):
    """One line about a split; `num_special` places of every row are for tokens that are in no text."""
    num_rows, num_tokens = split.num_examples, len(stream) - 1
    padding = 0 if split.shuffle else num_rows * (length - num_special) - num_tokens
    line = (
        f"{label}: {num_texts:,} texts, {num_tokens:,} tokens in {num_rows:,} rows of {length}, "
        f"{100 * padding / (num_rows * length):.1f} % padding"
    )
    unknown = np.mean(stream == tokenizer.unknown_id) if tokenizer.unknown_id is not None else 0
    return line + (f", {100 * unknown:.3g} % of the tokens unknown" if unknown else "")


def _on_host(array):
    with tf.device("CPU"):
        return tf.constant(array)


def _offset(key, count, length):
    """One random number from 0 to length - 1 for all rows of an epoch, (count,)."""
    return tf.fill([count], tf.random.stateless_uniform([], key, 0, length, tf.int32))


def _shifted(stream, length, split, model, tokenizer, options):
    """Rows of `length` tokens, each asked for the next; all rows are shifted at random in every epoch of training."""
    rows = Rows(_on_host(stream), length, len(stream) - 1, split == "train")
    inputs, pad = token_rows.Inputs(model), tokenizer.pad_id or 0

    def draw(key, count):
        return _offset(key, count, length)

    def finish(starts, random):
        ids, inside = rows.gather(starts if random is None else starts + random, length + 1)
        ids = tf.where(inside, ids, pad)
        return inputs(ids[:, :-1], inside[:, :-1]), ids[:, 1:], tf.cast(inside[:, 1:], tf.float32)

    return Split(rows.starts, finish, **options.of_split(split, draw))


def _masked(stream, length, split, model, tokenizer, options, whole_words):
    """Rows of class, tokens and separator, some of them masked, in training others in every epoch."""
    train = split == "train"
    rows = Rows(_on_host(stream[1:]), length - 2, len(stream) - 1, train)
    inputs, choose = token_rows.Inputs(model), Masking(tokenizer, whole_words)
    first, last = tokenizer.need("class", MASKING), tokenizer.need("separator", MASKING)
    pad = tokenizer.need("pad", "filling up rows")

    def draw(key, count):
        offset = _offset(key, count, length - 2) if train else tf.zeros([count], tf.int32)
        return offset, choose.draw(key, count)

    def finish(starts, random):
        ids, inside = rows.gather(starts if random is None else starts + random[0], length - 2)
        count = tf.reduce_sum(tf.cast(inside, tf.int32), axis=1, keepdims=True)
        ends = tf.zeros_like(count)
        ids = tf.concat([ends + first, tf.where(inside, ids, pad), ends + pad], axis=1)
        places = tf.range(length)[None]
        ids = tf.where(places == count + 1, last, ids)
        changed, chosen = (ids, tf.zeros_like(ids)) if random is None else choose(ids, random[1])
        return inputs(changed, places <= count + 1), ids, tf.cast(chosen, tf.float32)

    # Validation and test are masked too, alike in every epoch, whatever the seed.
    return Split(rows.starts, finish, **options.of_split(split) | {"draw": draw})


class Masking:
    """Chooses 15 % of the tokens, of which 80 % become the mask token, 10 % a random one, and 10 % stay.

    Devlin et al. 2018, section A.1. Special tokens are never chosen; with `whole_words` a word is chosen with all its
    tokens. Called with ids (batch, length) and seeds int32 (batch, 2), the only source of a row's randomness; returns
    the changed ids and which were chosen, both int32.
    """

    def __init__(self, tokenizer, whole_words=False):
        self.mask = tokenizer.need("mask", MASKING)
        self.whole_words = whole_words
        self.starts = tokenizer.word_starts()
        self.ordinary = tokenizer.is_token.copy()
        self.ordinary[[index for index in tokenizer.special_ids.values() if index is not None]] = False

    @staticmethod
    def draw(key, count) -> tf.Tensor:
        """The seeds of an epoch's examples."""
        return tf.random.stateless_uniform([count, 2], fold(key, 1), None, None, tf.int32)

    def __call__(self, ids, seeds):
        length = tf.shape(ids)[1]
        draw = functools.partial(tf.random.stateless_uniform, [3, length])
        numbers = tf.map_fn(draw, seeds, fn_output_signature=tf.float32)
        chances = numbers[:, 0]
        if self.whole_words:
            words = tf.cumsum(tf.gather(tf.constant(self.starts.astype("int32")), ids), axis=1) - 1
            chances = tf.gather(chances, tf.maximum(words, 0), batch_dims=1)
        chosen = (chances < MASKED_SHARE) & tf.gather(tf.constant(self.ordinary), ids)
        others = tf.constant(np.flatnonzero(self.ordinary).astype("int32"))
        drawn = tf.minimum(tf.cast(numbers[:, 2] * float(len(others)), tf.int32), len(others) - 1)
        instead = tf.where(numbers[:, 1] < MASKED, self.mask, tf.gather(others, drawn))
        changed = tf.where(chosen & (numbers[:, 1] < MASKED + REPLACED), instead, ids)
        return changed, tf.cast(chosen, tf.int32)

"""The columns of text: token ids, which of them are real, and which of two texts each belongs to."""

from typing import Any

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import checks
from kzoo.data.columns.numbers import Numbers


class Tokens(Numbers):
    """Token ids (length,), each the number of a row of the table that looks them up; 0 is padding."""

    kind = "tokens"
    words = "token ids"
    first = 1  # the lowest id that random batches hold

    def __init__(self, model, tensor):
        super().__init__(model, tensor)
        self.model, self.limit = model, id_limit(model, self.name)

    def _check_values(self, x):
        from kzoo.graph import longest_sequence  # imports Keras, which whoever has a model has

        longest = longest_sequence(self.model)
        if longest and x.shape[1] > longest:
            raise ValueError(
                f"{self.label} has {x.shape[1]} tokens per text; the model has positions for {longest}: cut the texts, "
                f"or build the model with max_length={x.shape[1]}"
            )
        return checks.check_token_ids(self.label, x, self.limit)

    def draw(self, random, batch_size, length) -> np.ndarray:
        return random.integers(self.first, self.limit or 2, self._drawn_shape(batch_size, length), dtype=np.int32)

    def holds_pixels(self, x) -> bool:
        return False

    def limits(self, preprocessing) -> Any:
        return [0, self.limit - 1] if self.limit else None

    def read(self, path) -> None:
        raise ValueError(f"{self.label} takes token ids, which {path} cannot give; pass texts, or use --data")


class Segments(Tokens):
    """Which of two texts each token belongs to, (length,): 0 or 1."""

    kind = "segments"
    words = "which of two texts each token belongs to"
    first = 0


class Category(Tokens):
    """One id for a whole example, (): whose voice it is, or which digit is spoken."""

    kind = "category"
    words = "an id for the whole example"
    first = 0

    def _check_values(self, x):
        return checks.check_token_ids(self.label, x, self.limit)


class Mask(Numbers):
    """Which places hold a real token, (length,): 1, or 0 for padding."""

    kind = "mask"
    words = "1 for a real token, 0 for padding"

    def limits(self, preprocessing) -> list:
        return [0, 1]

    def _check_values(self, x):
        return x.astype(np.int32)

    def draw(self, random, batch_size, length) -> np.ndarray:
        return np.ones(self._drawn_shape(batch_size, length), np.int32)

    holds_pixels, read = Tokens.holds_pixels, Tokens.read


def vocabulary_size(model) -> int | None:
    """How many token ids the model knows: its keyword `vocabulary_size`, else its largest embedding; None without any.

    A model that translates may look up sources in another table, so there the outputs decide.
    """
    overrides = card_of(model).overrides
    if "vocabulary_size" in overrides:
        return overrides["vocabulary_size"]
    if any(tensor.name == "decoder_token_ids" for tensor in model.inputs):
        return model.outputs[0].shape[-1]
    return max((getattr(layer, "input_dim", 0) for layer in _tables(model)), default=None)


def id_limit(model, name) -> int | None:
    """How many ids the input of that name may hold: the rows of the table that looks it up, else the vocabulary.

    A model may have several tables: words and segments, or the words of two languages.
    """
    for layer in _tables(model):
        try:
            looked_up = layer.input
        except (AttributeError, ValueError):  # called twice: a tied table
            continue
        if isinstance(looked_up, type(model.inputs[0])) and looked_up.name == name:
            return layer.input_dim
    return vocabulary_size(model)


def _tables(model):
    return [layer for layer in model.layers if "Embedding" in type(layer).__name__]


def id_limits(columns) -> dict:
    """How many ids each column of token ids may hold, by its name."""
    return {name: column.limit for name, column in columns.items() if isinstance(column, Tokens) and column.limit}

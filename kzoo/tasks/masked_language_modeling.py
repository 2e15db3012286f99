"""Masked language modelling: the tokens that were masked in a text."""

import functools
import math
from typing import Any

import numpy as np

from kzoo.tasks.texts import TokenTask, learned_from, predicted, rows_of_tokens


class MaskedLanguageModeling(TokenTask):
    """The masked tokens of a text from all others, Devlin et al. 2018, section 3.1."""

    name = "masked_language_modeling"

    def batches(self, name, model, how) -> Any:
        from kzoo.data import language

        return learned_from(functools.partial(language.from_texts, masked=True), self, name, model, how)

    def rows_of_texts(self, model, texts, tokenizer, top=3) -> list:
        """What the mask tokens of each text stand for; ValueError for a text without one."""
        from kzoo.tasks import reading

        found, ids, real = predicted(self, model, texts, tokenizer)
        rows = []
        for text, row, own, mask in zip(texts, found, ids, real, strict=True):
            places = np.flatnonzero((own == tokenizer.need("mask", self.words)) & (mask > 0))
            if not len(places):
                raise ValueError(f"a text without {tokenizer.special['mask']}: put it where a word is to be predicted")
            names = reading.TokenNames(tokenizer)
            rows.append({"text": text, "masks": [
                reading.classes(row[place][None], names, top)[0]["classes"] for place in places
            ]})  # fmt: skip
        return rows

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        """The best token in every masked place."""
        return rows_of_tokens(self, model, data, split, limit)

    def score(self, model, data, split, numbers) -> dict:
        """The perplexity of masked tokens."""
        return {"perplexity": math.exp(numbers["cross_entropy"])}


TASK = MaskedLanguageModeling()

"""Masked language modelling: the tokens that were masked in a text."""

import math

import numpy as np

from kzoo.data import columns
from kzoo.tasks import texts
from kzoo.tasks.base import Task
from kzoo.tasks.language_modeling import RECIPE
from kzoo.tasks.translation import token_metrics


class MaskedLanguageModeling(Task):
    """The masked tokens of a text from all others, Devlin et al. 2018, section 3.1."""

    name = "masked_language_modeling"
    default_data = "shakespeare"
    recipe = RECIPE
    takes_texts = True

    def target(self, model):
        return columns.TokenLabel(model.outputs[0].shape[-1], first=1)

    def metrics(self, model) -> list | dict:
        return token_metrics()

    def batches(self, name, model, how):
        from kzoo.data import language

        return language.from_texts(*texts.corpus(self, name, how), model, how.options, how.texts, masked=True)

    def rows_of_texts(self, model, texts_, tokenizer, top=3) -> list:
        """What the mask tokens of each text stand for; ValueError for a text without one."""
        from kzoo.tasks import reading

        found, ids, real = texts.predicted(self, model, texts_, tokenizer)
        rows = []
        for text, row, own, mask in zip(texts_, found, ids, real, strict=True):
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
        return texts.rows_of_tokens(self, model, data, split, limit)

    def score(self, model, data, split, numbers) -> dict:
        """The perplexity of masked tokens."""
        return {"perplexity": math.exp(numbers["cross_entropy"])}


TASK = MaskedLanguageModeling()

"""Language modelling: the next token of a text."""

import math
from typing import Any

from kzoo.tasks.texts import WritingTask, learned_from, predicted, rows_of_tokens


class LanguageModeling(WritingTask):
    """Every token of a text from those before it; training texts are packed without padding."""

    name = "language_modeling"

    def batches(self, name, model, how) -> Any:
        from kzoo.data import language

        return learned_from(language.from_texts, self, name, model, how)

    def rows_of_texts(self, model, texts, tokenizer, top=3) -> list:
        """Which token comes next."""
        from kzoo.tasks import reading

        found, _, real = predicted(self, model, texts, tokenizer, framed=False)
        return [
            {"text": text, **reading.classes(row[mask > 0][-1:], reading.TokenNames(tokenizer), top)[0]}
            for text, row, mask in zip(texts, found, real, strict=True)
        ]

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        """The best next token everywhere, given the true beginning, across the ends of texts."""

        def write(row):
            return data.tokenizer.engine.decode(row.tolist(), skip_special_tokens=True)

        return rows_of_tokens(self, model, data, split, limit, write_source=write, write=write)

    def score(self, model, data, split, numbers) -> dict:
        """The perplexity, and bits per character where the data know how many characters a token stands for."""
        more = {"perplexity": math.exp(numbers["cross_entropy"])}
        if (data.characters_per_token or {}).get(split):
            more["bits_per_character"] = numbers["cross_entropy"] / math.log(2) / data.characters_per_token[split]
        return more


TASK = LanguageModeling()

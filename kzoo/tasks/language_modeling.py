"""Language modelling: the next token of a text."""

import math

from kzoo.data import columns
from kzoo.tasks import texts
from kzoo.tasks.base import Task
from kzoo.tasks.translation import refuse_pixels, token_metrics

# Devlin et al. 2018, section A.2 for pre-training, with a higher rate for small models
RECIPE = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "decay_vectors": False, "clip_norm": 1.0,
    "schedule": "cosine", "warmup_steps": 100, "epochs": 10, "batch_size": 64,
}  # fmt: skip


class LanguageModeling(Task):
    """Every token of a text from those before it; training texts are packed without padding."""

    name = "language_modeling"
    default_data = "shakespeare"
    recipe = RECIPE
    takes_texts = True

    def target(self, model):
        return columns.TokenLabel(model.outputs[0].shape[-1], first=1)

    def metrics(self, model) -> list | dict:
        return token_metrics()

    def batches(self, name, model, how):
        from kzoo.data import language

        return language.from_texts(*texts.corpus(self, name, how), model, how.options, how.texts)

    def endpoints(self, model) -> dict:
        from kzoo.tasks import endpoints

        return endpoints.of_writer(model)

    def check_pixels(self, model, format) -> None:
        refuse_pixels(model)

    def rows_of_texts(self, model, texts_, tokenizer, top=3) -> list:
        """Which token comes next."""
        from kzoo.tasks import reading

        found, _, real = texts.predicted(self, model, texts_, tokenizer, framed=False)
        return [
            {"text": text, **reading.classes(row[mask > 0][-1:], reading.TokenNames(tokenizer), top)[0]}
            for text, row, mask in zip(texts_, found, real, strict=True)
        ]

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        """The best next token everywhere, given the true beginning; texts across the ends of texts."""

        def write(row):
            return data.tokenizer.engine.decode(row.tolist(), skip_special_tokens=True)

        return texts.rows_of_tokens(self, model, data, split, limit, write_source=write, write=write)

    def score(self, model, data, split, numbers) -> dict:
        """The perplexity, and bits a character where the data know how many characters a token stands for."""
        more = {"perplexity": math.exp(numbers["cross_entropy"])}
        if (data.characters_per_token or {}).get(split):
            more["bits_per_character"] = numbers["cross_entropy"] / math.log(2) / data.characters_per_token[split]
        return more


TASK = LanguageModeling()

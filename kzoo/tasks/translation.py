"""Translation: pairs of texts, the target learned token by token with its true beginning given."""

import keras

from kzoo.data import checks, columns
from kzoo.tasks.base import Task

# Vaswani et al. 2017, sections 5.3 and 5.4
RECIPE = {
    "optimizer": "adam", "beta_2": 0.98, "epsilon": 1e-9, "schedule": "transformer", "warmup_steps": 4000,
    "learning_rate": 1.0, "label_smoothing": 0.1, "clip_norm": 1.0, "epochs": 10, "batch_size": 64,
}  # fmt: skip


class Translation(Task):
    """A target text for every source text."""

    name = "translation"
    default_data = "reverse_digits"
    recipe = RECIPE
    generated_data = ("reverse_digits",)

    def target(self, model):
        return NextToken(columns.vocabulary_size(model), first=1)

    def metrics(self, model) -> list | dict:
        return token_metrics()

    def batches(self, name, model, how):
        from kzoo.data import text_pairs
        from kzoo.data.sources import prepared

        if name in self.generated_data:
            how.texts.tokenizer = how.texts.tokenizer or "characters"
            pairs = text_pairs.reverse_digits()
            return text_pairs.from_pairs(name, {"name": name}, pairs, model, how.options, how.texts)
        builder = self.prepared(name, how)
        pair = self.pair_of(name, builder, model, texts=True)
        pairs = {split: prepared.read_columns(builder, split, pair) for split in prepared.sizes(builder)}
        return text_pairs.from_pairs(name, prepared.identity(name, builder), pairs, model, how.options, how.texts)

    def endpoints(self, model) -> dict:
        from kzoo.tasks import endpoints

        return endpoints.of_writer(model)

    def check_pixels(self, model, format) -> None:
        refuse_pixels(model)

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        """The best next token everywhere, given the true beginning (teacher forcing)."""
        from kzoo.tasks import reading

        x, y, weight = reading.first_batch(data, split, limit)
        found = reading.known_tokens(data, self.read(model, model.predict_on_batch(x)))
        source = x["encoder_token_ids"]
        texts = zip(
            reading.decoded(data.tokenizer, source, source != 0),
            reading.decoded(data.tokenizer, found.argmax(-1), weight),
            reading.decoded(data.tokenizer, y, weight),
            strict=True,
        )
        return [
            {"example": index, "source": text, "prediction": guess, "target": target}
            for index, (text, guess, target) in enumerate(texts)
        ]


class NextToken(columns.TokenLabel):
    """A token id a place; every place of one's own arrays counts."""

    def check(self, label, y, x):
        return checks.check_token_ids(label, checks.check_array(label, y), self.num_classes), None


def refuse_pixels(model) -> None:
    """ValueError for an export of a model that writes tokens, whose tokenizer no format holds."""
    raise ValueError(
        f"with_preprocessing: {model.name} takes token ids, and no format holds a tokenizer; `generate` is part of a "
        "SavedModel alone, since its loop with a cache has no form in the other formats"
    )


def token_metrics() -> list:
    """The cross-entropy without label smoothing, in nats per token, beside the accuracy."""
    return [
        keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=True),
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
    ]


TASK = Translation()

"""Translation: pairs of texts, the target learned token by token with its true beginning given."""

from typing import Any

from kzoo.data import checks, columns
from kzoo.tasks.texts import WritingTask

# Vaswani et al. 2017, sections 5.3 and 5.4
RECIPE = {
    "optimizer": "adam", "beta_2": 0.98, "epsilon": 1e-9, "schedule": "transformer", "warmup_steps": 4000,
    "learning_rate": 1.0, "label_smoothing": 0.1, "clip_norm": 1.0, "epochs": 10, "batch_size": 64,
}  # fmt: skip


class Translation(WritingTask):
    """A target text for every source text."""

    name = "translation"
    default_data = "reverse_digits"
    recipe = RECIPE
    generated_data = ("reverse_digits",)
    takes_texts = False

    def predict_texts(self, model, texts, batch_size=64) -> None:
        raise ValueError(f"{model.name} writes texts: kzoo.generate(model, texts) translates them")

    def target(self, model) -> Any:
        return NextToken(columns.vocabulary_size(model), first=1)

    def batches(self, name, model, how) -> Any:
        from kzoo.data import text_pairs
        from kzoo.data.sources import prepared, table_files

        if name in self.generated_data:
            how.texts.tokenizer = how.texts.tokenizer or "characters"
            pairs = text_pairs.reverse_digits()
            return text_pairs.from_pairs(name, {"name": name}, pairs, model, how.options, how.texts)
        files = table_files.find(name)
        if files is not None:
            return self._from_tables(name, files, model, how)
        builder = self.prepared(name, how)
        pair = self.pair_of(name, builder, model, texts=True)
        pairs = {split: prepared.read_columns(builder, split, pair) for split in prepared.sizes(builder)}
        return text_pairs.from_pairs(name, prepared.identity(name, builder), pairs, model, how.options, how.texts)

    def _from_tables(self, name, files, model, how):
        from kzoo.data import text_pairs
        from kzoo.data.sources import chosen_columns

        opened = chosen_columns.read_texts(files, how, learns=True)
        pairs = {split: tuple(table.columns.values()) for split, table in opened.tables.items()}
        notes = opened.notes + chosen_columns.carve(name, pairs, how.options)
        identity = {"name": name, **opened.identity}
        data = text_pairs.from_pairs(name, identity, pairs, model, how.options, how.texts)
        data.notes[:0] = notes
        return data

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
    """A token id in every place; in arrays of one's own every place counts."""

    def check(self, label, y, x) -> tuple:
        return checks.check_token_ids(label, checks.check_array(label, y), self.num_classes), None


TASK = Translation()

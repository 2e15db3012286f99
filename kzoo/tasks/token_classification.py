"""Token classification: a class for every token, such as a tag."""

from kzoo.tasks.base import Task, require_outputs
from kzoo.tasks.text_classification import RECIPE
from kzoo.tasks.texts import predicted, rows_of_tokens


class TokenClassification(Task):
    """One class per token; -100 marks tokens without one."""

    name = "token_classification"
    default_data = "synthetic"
    recipe = RECIPE
    takes_texts = True

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=3, least=2)

    def predict_texts(self, model, texts, batch_size=64) -> list:
        return self.rows_of_texts(model, texts, model.kzoo.tokenizer)

    def rows_of_texts(self, model, texts, tokenizer, top=3) -> list:
        """Every token of each text with its class."""
        from kzoo.tasks import reading

        found, ids, real = predicted(self, model, texts, tokenizer)
        rows = []
        for text, row, own, mask in zip(texts, found, ids, real, strict=True):
            names = [reading.name_of(index, model.kzoo.class_names) for index in row.argmax(-1)]
            tokens = [(place, token) for place, token in enumerate(tokenizer.tokens(own)) if mask[place]]
            rows.append({"text": text, "tokens": [{"token": token, "class": names[place]} for place, token in tokens]})
        return rows

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        from kzoo.tasks import reading

        def write(row):
            return " ".join(reading.name_of(index, data.class_names) for index in row)

        return rows_of_tokens(self, model, data, split, limit, write=write, of_vocabulary=False)


TASK = TokenClassification()

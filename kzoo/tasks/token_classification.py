"""Token classification: a class for every token, such as a tag."""

from typing import Any

from kzoo.catalog import card_of
from kzoo.data.sources import chosen_columns
from kzoo.tasks.base import Task
from kzoo.tasks.text_classification import RECIPE
from kzoo.tasks.texts import predicted, require_tokenizer, rows_of_tokens
from kzoo.tasks.wanted_outputs import require_outputs


class TokenClassification(Task):
    """One class per token; -100 marks tokens without one."""

    name = "token_classification"
    default_data = "synthetic"
    recipe = RECIPE
    takes_texts = True

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=3, least=2)

    def batches(self, name, model, how) -> Any:
        from kzoo.data import tagged_words
        from kzoo.data.sources import table_files

        files = table_files.find(name)
        if files is None:
            raise ValueError(
                f"{model.name} is for {self.words}: name a file of words and tags (.conll, .jsonl, .parquet), or pass "
                f"arrays; {name!r} is neither"
            )
        opened, parts = self._read(files, how.columns, how.skip_bad)
        known, encoded = card_of(model).class_names, {}
        for split, (words, tags) in parts.items():
            flat = [str(tag) for row in tags for tag in row]
            flat, known = chosen_columns.encoded(f"{name} {split} tags", self.target(model), flat, known)
            flat = iter(flat.tolist())
            encoded[split] = (
                [tagged_words.BETWEEN.join(map(str, row)) for row in words],
                [tagged_words.BETWEEN.join(str(next(flat)) for _ in row) for row in tags],
            )
        notes = opened.notes + chosen_columns.carve(name, encoded, how.options)
        identity = {"name": name, **opened.identity, "class_names": known}
        data = tagged_words.from_sentences(name, identity, encoded, model, how.options, how.texts, known)
        data.notes[:0] = notes
        return data

    def _read(self, files, columns, skip_bad):
        opened, parts = chosen_columns.open_tables(files, columns, "words", 1, skip_bad=skip_bad), {}
        for split, table in opened.tables.items():
            pair = chosen_columns.words_of(table, *opened.chosen.inputs, *opened.chosen.targets)
            good = table.good_rows(skip_bad)
            parts[split] = tuple([column[row] for row in good] for column in pair)
            opened.notes += table.notes
        return opened, parts

    def width_of(self, name, model, how) -> int | None:
        from kzoo.data.sources import table_files

        files = table_files.find(name)
        if files is None:
            return None
        opened, parts = self._read(files, how.columns, how.skip_bad)
        return len({str(tag) for row in parts[opened.first][1] for tag in row})

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

    def rows_of_table(self, model, path, names, tokenizer, top=3, skip_bad=False) -> list:
        """Every word with its class, that of its first token, and None where it has no token or was cut off."""
        from kzoo.data import tagged_words
        from kzoo.tasks import reading

        table, name = chosen_columns.open_words(path, names)
        if not any(isinstance(cell, list) for cell in table.columns[name]):  # texts, which the tokenizer takes apart
            return super().rows_of_table(model, path, names, tokenizer, top, skip_bad)
        (words,) = chosen_columns.words_of(table, name)
        good = table.good_rows(skip_bad)
        words = [[str(word) for word in words[row]] for row in good]
        x, places = tagged_words.batch(model, words, require_tokenizer(model, tokenizer))
        rows = []
        for row, own, begins, found in zip(good, words, places, self.predict(model, x), strict=True):
            known = {
                word: reading.name_of(found[at].argmax(), model.kzoo.class_names) for at, word in enumerate(begins)
            }
            tagged = [{"word": word, "class": known.get(at)} for at, word in enumerate(own)]
            rows.append({"file": str(path), "row": table.places[row], "words": tagged})
        return rows

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        from kzoo.tasks import reading

        def write(row):
            return " ".join(reading.name_of(index, data.class_names) for index in row)

        return rows_of_tokens(self, model, data, split, limit, write=write, of_vocabulary=False)


TASK = TokenClassification()

"""What the tasks of texts share: where texts come from, and predictions for texts and for rows of tokens."""

from typing import Any

import keras
import numpy as np

from kzoo.data import columns
from kzoo.tasks.base import Task
from kzoo.tasks.losses import Accuracy, MeanLoss, SparseCrossEntropy
from kzoo.tasks.wanted_outputs import require_outputs

# Devlin et al. 2018, section A.2 for pre-training, with a higher rate for small models
PRETRAINING = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.01, "decay_vectors": False, "clip_norm": 1.0,
    "schedule": "cosine", "warmup_steps": 100, "epochs": 10, "batch_size": 64,
}  # fmt: skip


class TokenTask(Task):
    """A token of the vocabulary in every place, learned from texts alone."""

    default_data = "shakespeare"
    recipe = PRETRAINING
    takes_texts = True

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=3, least=2)

    def width_of(self, name, model, how) -> None:
        return None

    def predict_texts(self, model, texts, batch_size=64) -> list:
        return self.rows_of_texts(model, texts, model.kzoo.tokenizer)

    def target(self, model) -> Any:
        return columns.TokenLabel(model.outputs[0].shape[-1], first=1)

    def metrics(self, model) -> list:
        """The cross-entropy without label smoothing, in nats per token, beside the accuracy."""
        return [MeanLoss(SparseCrossEntropy(), "cross_entropy"), Accuracy()]


class WritingTask(TokenTask):
    """A model that writes one token after another; its export generates."""

    def endpoints(self, model) -> dict:
        from kzoo.tasks import endpoints

        return endpoints.of_writer(model)

    def check_pixels(self, model, format) -> None:
        raise ValueError(
            f"with_preprocessing: {model.name} takes token ids, and no format holds a tokenizer; `generate` is part of "
            "a SavedModel alone, since its loop with a cache has no form in the other formats"
        )


def learned_from(make, task, name, model, how) -> Any:
    """The `Data` that `make` gives for a text file, a folder of them, a table or a prepared data set with a text.

    Args:
        make: `make(name, identity, {split: texts}, model, options, text options)`.
    """
    identity, texts, notes = _corpus(task, name, how)
    data = make(name, {"name": name, **identity}, texts, model, how.options, how.texts)
    data.notes[:0] = notes
    return data


def _corpus(task, name, how):
    from kzoo.data.sources import chosen_columns, corpora, prepared, table_files

    files = table_files.find(name)
    if files is not None:
        opened = chosen_columns.read_texts(files, how, learns=False)
        texts = {split: next(iter(table.columns.values())) for split, table in opened.tables.items()}
        texts = {"train" if split == "all" else split: part for split, part in texts.items()}
        return {**opened.identity}, texts, opened.notes
    path = corpora.find(name)
    if path is not None:
        return {}, corpora.read_files(path), []
    builder = task.prepared(name, how)
    return prepared.identity(name, builder), corpora.read_texts(builder, prepared.sizes(builder)), []


def require_tokenizer(model, tokenizer) -> Any:
    """The tokenizer; ValueError where there is none."""
    if tokenizer is None:
        how = "kzoo.catalog.update_card(model, tokenizer=...), or --tokenizer PATH"
        raise ValueError(f"{model.name} needs a tokenizer to read texts: {how}")
    return tokenizer


def predicted(task, model, texts, tokenizer, framed=True, batch_size=64) -> tuple:
    """Probabilities for texts, their token ids and which of these are real, (texts, length, ...) each.

    Args:
        framed: with the special tokens of a text of its own; else as a language model reads it.
    """
    from kzoo.data import token_rows

    x, real = token_rows.batch(model, texts, require_tokenizer(model, tokenizer), framed)
    ids = np.asarray(x["token_ids"] if isinstance(x, dict) else x)
    return task.predict(model, x, batch_size), ids, real


def rows_of_tokens(task, model, data, split, limit, write_source=None, write=None, of_vocabulary=True) -> list:
    """Rows of data where every token has a label; arrays without a tokenizer are shown as numbers.

    Args:
        write_source, write: `write(ids)` gives the text of a row of token ids, or of predictions.
        of_vocabulary: whether predictions are token ids.
    """
    from kzoo.tasks import reading

    x, y, weight = reading.first_batch(data, split, limit)
    found = task.read(model, model.predict_on_batch(x))
    found = reading.known_tokens(data, found) if of_vocabulary else keras.ops.convert_to_numpy(found)
    ids = np.asarray(x["token_ids"] if isinstance(x, dict) else x)
    weight = np.ones(y.shape) if weight is None else weight

    def join(row):
        return " ".join(data.tokenizer.tokens(row) if data.tokenizer else map(str, row))

    if of_vocabulary and not data.tokenizer:
        write_source = write = None
    write_source, write = write_source or join, write or join
    return [
        {"example": index, "source": write_source(ids[index]), "prediction": write(guess[keep > 0]),
         "target": write(target[keep > 0])}
        for index, (guess, target, keep) in enumerate(zip(found.argmax(-1), y, weight, strict=True))
    ]  # fmt: skip

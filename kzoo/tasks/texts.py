"""What the tasks of texts share: where texts come from, and predictions for texts and for rows of tokens."""

import keras
import numpy as np


def corpus(task, name, how) -> tuple:
    """(name, identity, {split: texts}) of a text file, a folder of them, or a prepared data set with a text."""
    from kzoo.data.sources import corpora, prepared

    path = corpora.find(name)
    if path is not None:
        return name, {"name": name}, corpora.read_files(path)
    builder = task.prepared(name, how)
    return name, prepared.identity(name, builder), corpora.read_texts(builder, prepared.sizes(builder))


def predicted(task, model, texts, tokenizer, framed=True) -> tuple:
    """Probabilities for texts, their token ids and which of these are real, (texts, length, ...) each.

    Args:
        framed: with the special tokens of a text of its own; else as a language model reads it.
    """
    from kzoo.data import token_rows

    if tokenizer is None:
        raise ValueError(f"{model.kzoo.name} needs a tokenizer to read texts: pass tokenizer= (--tokenizer PATH)")
    x, real = token_rows.batch(model, texts, tokenizer, framed)
    ids = np.asarray(x["token_ids"] if isinstance(x, dict) else x)
    return task.predict(model, x), ids, real


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

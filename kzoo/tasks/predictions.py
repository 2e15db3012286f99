"""Predictions as rows that people and programs can read."""

import pathlib

import keras
import numpy as np

from kzoo import tasks
from kzoo.catalog import card_of
from kzoo.tasks import inference
from kzoo.tasks.detection import findings

DETECTION = "object_detection"


def for_files(model, paths, class_names=None, top=3):
    """One row a file: image files for image models, `.npy` arrays of one or more examples for any one-input model."""
    if len(model.inputs) != 1:
        raise ValueError(f"{model.kzoo.name} takes {', '.join(t.name for t in model.inputs)}, which files cannot give; "
                         "use --data")  # fmt: skip
    if model.kzoo.task == DETECTION:
        return findings.for_files(model, paths, class_names)
    rows = []
    for path in paths:
        examples = _read(model, pathlib.Path(path))
        for row in _classes(inference.predict(model, examples), class_names, top):
            rows.append({"file": str(path), **row})
    return rows


def for_texts(model, texts, tokenizer, class_names=None, top=3):
    """One row a text: its classes, those of its tokens, what its mask tokens stand for, or which token comes next.

    Raises ValueError for a task that takes no text, a text without a token, and one without a mask where one is wanted.
    """
    from kzoo.data import labelled_texts

    task = model.kzoo.task
    if task not in TEXT_TASKS:
        raise ValueError(f"{model.kzoo.name} is for {task}; a text is an input for {', '.join(TEXT_TASKS)}")
    if tokenizer is None:
        raise ValueError(f"{model.kzoo.name} needs a tokenizer to read texts: pass tokenizer= (--tokenizer PATH)")
    x, real = labelled_texts.batch(model, texts, tokenizer, framed=task != "language_modeling")
    probabilities = inference.predict(model, x)
    ids = np.asarray(keras.tree.flatten(x["token_ids"] if isinstance(x, dict) else x)[0])
    rows = []
    for text, row, own, mask in zip(texts, probabilities, ids, real, strict=True):
        rows.append({"text": text, **_of_text(task, row, own, mask, tokenizer, class_names, top)})
    return rows


TEXT_TASKS = ("text_classification", "token_classification", "masked_language_modeling", "language_modeling")


def _of_text(task, row, ids, real, tokenizer, class_names, top):
    if task == "text_classification":
        return _classes(row[None], class_names, top)[0]
    if task == "token_classification":
        names = [_name(index, class_names) for index in row.argmax(-1)]
        tokens = [(place, token) for place, token in enumerate(tokenizer.tokens(ids)) if real[place]]
        return {"tokens": [{"token": token, "class": names[place]} for place, token in tokens]}
    if task == "language_modeling":
        return _classes(row[real > 0][-1:], _Tokens(tokenizer), top)[0]
    places = np.flatnonzero((ids == tokenizer.need("mask", "masked language modelling")) & (real > 0))
    if not len(places):
        raise ValueError(f"a text without {tokenizer.special['mask']}: put it where a word is to be predicted")
    return {"masks": [_classes(row[place][None], _Tokens(tokenizer), top)[0]["classes"] for place in places]}


def read_lines(texts):
    """The texts themselves, and the lines that are not empty of those that are files."""
    from kzoo.data.tokenizing.tokenizer_files import read_text

    lines = []
    for one in texts:
        # A long text is no name that a file system would look up.
        is_file = len(one) < 1024 and "\n" not in one and pathlib.Path(one).is_file()
        lines += [line for line in read_text(pathlib.Path(one)).splitlines() if line.strip()] if is_file else [one]
    return lines


class _Tokens:
    """A vocabulary as a list of names."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __getitem__(self, index):
        return self.tokenizer.engine.id_to_token(int(index)) or f"<{index}>"


def for_data(model, data, split="test", limit=5, top=3):
    """One row for each of the first examples of a split, with the true answer beside the prediction.

    A translation or a text is scored with its true beginning given (teacher forcing): the prediction is the best next
    token everywhere; of a masked text, the best token in every masked place.
    """
    if model.kzoo.task == DETECTION:
        return findings.for_data(model, data, split, limit)
    part = inference.choose_split(data, split)
    x, y, weight = keras.utils.unpack_x_y_sample_weight(next(iter(part.dataset)))
    x = keras.tree.map_structure(lambda array: np.asarray(array)[:limit], x)
    probabilities = keras.ops.convert_to_numpy(tasks.probabilities(model, model.predict_on_batch(x)))
    y = np.asarray(keras.tree.flatten(y)[0])[:limit]  # auxiliary heads have the same labels
    if data.tokenizer and probabilities.ndim == 3 and model.kzoo.task != "token_classification":
        probabilities = probabilities[..., : data.tokenizer.vocabulary_size]  # a model may know more ids than that
    if model.kzoo.task == "translation":
        return _texts(data.tokenizer, probabilities.argmax(-1), y, np.asarray(weight)[:limit], x["encoder_token_ids"])
    if model.kzoo.task in ("language_modeling", "masked_language_modeling", "token_classification"):
        ids = np.asarray(x["token_ids"] if isinstance(x, dict) else x)
        return _tokens(model.kzoo.task, data, probabilities.argmax(-1), y, weight, ids)
    labels = y.reshape(len(y)).astype(int)
    rows = _classes(probabilities, data.class_names, top)
    return [
        {"example": index, "label": _name(label, data.class_names), **row}
        for index, (label, row) in enumerate(zip(labels, rows, strict=True))
    ]


def line(row):
    """One row as a line of text; what a detector found as one line an object."""
    if "objects" in row:
        return findings.line(row)
    name = row.get("file", row.get("example", repr(row.get("text"))))
    if "tokens" in row:
        return f"{name}: " + " ".join(f"{entry['token']}/{entry['class']}" for entry in row["tokens"])
    if "masks" in row:
        return f"{name}: " + "; ".join(_chances(classes) for classes in row["masks"])
    if "classes" not in row:
        return f"{row['example']}: {row['source']!r} -> {row['prediction']!r} (wanted {row['target']!r})"
    label = f" (label {row['label']})" if "label" in row else ""
    return f"{name}: {_chances(row['classes'])}{label}"


def _chances(classes):
    return ", ".join(f"{entry['class']} {entry['probability']:.3f}" for entry in classes)


def _name(index, class_names):
    return class_names[index] if class_names else str(index)


def _classes(probabilities, class_names, top):
    return [
        {
            "classes": [
                {"class": _name(index, class_names), "probability": float(row[index])}
                for index in np.argsort(-row)[:top]
            ]
        }
        for row in probabilities
    ]


def _texts(tokenizer, predicted, wanted, weight, source):
    def decode(ids, mask):
        return tokenizer.decode([row[keep > 0].tolist() for row, keep in zip(ids, mask, strict=True)])

    decoded = zip(decode(source, source != 0), decode(predicted, weight), decode(wanted, weight), strict=True)
    return [
        {"example": index, "source": text, "prediction": guess, "target": target}
        for index, (text, guess, target) in enumerate(decoded)
    ]


def _tokens(task, data, predicted, wanted, weight, ids):
    """Rows where every token has a label; arrays without a tokenizer are shown as numbers."""
    weight = np.ones(wanted.shape) if weight is None else np.asarray(weight)[: len(wanted)]

    def join(row):
        return " ".join(data.tokenizer.tokens(row) if data.tokenizer else map(str, row))

    def write(row):
        if task == "token_classification":
            return " ".join(_name(index, data.class_names) for index in row)
        if data.tokenizer and task == "language_modeling":  # across the ends of texts
            return data.tokenizer.engine.decode(row.tolist(), skip_special_tokens=True)
        return join(row)

    return [
        {"example": index, "source": write(ids[index]) if task == "language_modeling" else join(ids[index]),
         "prediction": write(guess[keep > 0]), "target": write(target[keep > 0])}
        for index, (guess, target, keep) in enumerate(zip(predicted, wanted, weight, strict=True))
    ]  # fmt: skip


def _read(model, path):
    """A file's examples as a batch that fits the model; ValueError that names the file if it cannot be read."""
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is not an array that can be read safely: {error}") from error
        return array if array.ndim == len(model.inputs[0].shape) else array[None]
    import tensorflow as tf

    from kzoo.data import images

    try:
        pixels = tf.io.decode_image(path.read_bytes(), expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"{path} is not an image (PNG, JPEG, GIF, BMP) or is damaged") from error
    pixels = pixels[..., :3] if pixels.shape[-1] in (3, 4) else pixels[..., :1]
    wanted = tuple(model.inputs[0].shape[1:])
    how = card_of(model).preprocessing
    fitted = images.resize(pixels, images.image_shape(tuple(pixels.shape), wanted), how)
    return images.to_input(images.to_float(fitted)[None], wanted, how).numpy()

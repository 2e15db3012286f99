"""Predictions as rows that people and programs can read."""

import pathlib

import keras
import numpy as np

from kzoo import inference, tasks


def for_files(model, paths, class_names=None, top=3):
    """One row a file: image files for image models, `.npy` arrays of one or more examples for any one-input model."""
    if len(model.inputs) != 1:
        raise ValueError(f"{model.kzoo.name} takes {', '.join(t.name for t in model.inputs)}, which files cannot give; "
                         "use --data")  # fmt: skip
    rows = []
    for path in paths:
        examples = _read(model, pathlib.Path(path))
        for row in _classes(inference.predict(model, examples), class_names, top):
            rows.append({"file": str(path), **row})
    return rows


def for_data(model, data, split="test", limit=5, top=3):
    """One row for each of the first examples of a split, with the true answer beside the prediction.

    A translation is scored with its true beginning given (teacher forcing): the text is the best next token everywhere.
    """
    part = inference.choose_split(data, split)
    x, y, weight = keras.utils.unpack_x_y_sample_weight(next(iter(part.dataset)))
    x = keras.tree.map_structure(lambda array: np.asarray(array)[:limit], x)
    probabilities = keras.ops.convert_to_numpy(tasks.probabilities(model, model.predict_on_batch(x)))
    y = np.asarray(keras.tree.flatten(y)[0])[:limit]  # auxiliary heads have the same labels
    if model.kzoo.task == "translation":
        return _texts(data.tokenizer, probabilities.argmax(-1), y, np.asarray(weight)[:limit], x["encoder_token_ids"])
    labels = y.reshape(len(y)).astype(int)
    rows = _classes(probabilities, data.class_names, top)
    return [
        {"example": index, "label": _name(label, data.class_names), **row}
        for index, (label, row) in enumerate(zip(labels, rows, strict=True))
    ]


def line(row):
    """One row as a line of text."""
    if "classes" not in row:
        return f"{row['example']}: {row['source']!r} -> {row['prediction']!r} (wanted {row['target']!r})"
    classes = ", ".join(f"{entry['class']} {entry['probability']:.3f}" for entry in row["classes"])
    label = f" (label {row['label']})" if "label" in row else ""
    return f"{row.get('file', row.get('example'))}: {classes}{label}"


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
    how = getattr(model, "preprocessing", images.DEFAULT)
    fitted = images.resize(pixels, images.image_shape(tuple(pixels.shape), wanted), how)
    return images.to_input(images.to_float(fitted)[None], wanted, how).numpy()

"""What a server is told of a model: its inputs and outputs by name, and what surrounds them."""

import json

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.tasks import endpoints


def interface_of(model, original=None, length=None) -> dict:
    """What a file that holds a model says of itself, as JSON has it.

    Args:
        model: what the file holds.
        original: the model whose card is meant, where `model` is made from it to take pixels.
        length: what open sizes other than the batch are in the file; None leaves them open.

    Returns `model`, `task`, `inputs` and `outputs` with dtype, shape and words by name, inputs with their `kind` and
    the limits of their `values`; and `class_names`, `preprocessing` (how images are brought to the input) and
    `tokenizer` (vocabulary size and the ids of its special tokens), each None where there is none.
    """
    original = model if original is None else original
    card, inputs, outputs = card_of(original), columns.inputs_of(model), endpoints.named_outputs(model)
    return {
        "model": card.name,
        "task": card.task,
        "inputs": {
            tensor.name: _shaped(tensor, length) | _told(inputs[tensor.name], card.preprocessing)
            for tensor in model.inputs
        },
        "outputs": {
            name: _shaped(tensor, length) | {"words": words or (None if model is original else name)}
            for (name, words), tensor in zip(outputs.items(), model.outputs, strict=True)
        },
        "class_names": card.class_names,
        "preprocessing": _preprocessing(card.preprocessing, inputs),
        "tokenizer": card.tokenizer and {
            "vocabulary_size": card.tokenizer.vocabulary_size,
            "special_ids": {role: index for role, index in card.tokenizer.special_ids.items() if index is not None},
        },
    }  # fmt: skip


def _shaped(tensor, length):
    batch, *sizes = tensor.shape
    return {"dtype": str(tensor.dtype), "shape": [batch, *(length if size is None else size for size in sizes)]}


def _told(column, preprocessing):
    return {"kind": column.kind, "words": column.words, "values": column.limits(preprocessing)}


def _preprocessing(how, columns_of):
    """How people's images become the first input of images, or None; one that takes pixels normalises them itself."""
    image = next((column for column in columns_of.values() if column.kind == "image"), None)
    if image is None:
        return None
    cut = {"crop": how.crop, "interpolation": how.interpolation}
    if image.dtype == "uint8":
        return cut
    mean, std = how.constants(image.shape[-1])
    return {"mean": list(mean), "std": list(std), **cut}


def in_words(side) -> dict:
    """The inputs or the outputs of an interface as `{name: dtype and shape}`."""
    return {name: f"{row['dtype']} ({', '.join(map(str, row['shape']))}{',' * (len(row['shape']) == 1)})"
            for name, row in side.items()}  # fmt: skip


def sentence(row) -> str:
    """An input or an output of an interface in one line."""
    limits = row.get("values")
    between = ""
    if limits:
        least, most = limits
        between = f"; at least {least:.6g}" if most is None else f"; from {least:.6g} to {most:.6g}"
    return f"{row['words'] or 'as the model gives them'}{between}"


def as_texts(interface, inputs) -> dict:
    """An interface as `{key: text}`, which is what formats hold: values that are no strings as JSON.

    Args:
        inputs: the names of those that the file has; one that nothing reads may be gone.
    """
    there = {**interface, "inputs": {name: row for name, row in interface["inputs"].items() if name in inputs}}
    known = {key: value for key, value in there.items() if value is not None}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in known.items()}

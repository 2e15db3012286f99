"""Checks of arrays and data sets against a model, made before its first step."""

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import columns


def check_inputs(model, x) -> np.ndarray | dict:
    """Arrays that a user passes to `predict`, in the structure, shapes and dtypes of the model's inputs.

    A model with one input takes one array, a model with several a dict by input name. uint8 images are divided by 255,
    so that they give what float images in [0, 1] give; floats become float32, token ids int32.

    Raises ValueError that names what was passed, what is wanted and the fix: for lists, text, object and complex
    arrays, a wrong rank or dimension, channels first, float images up to 255, NaN, ids outside the vocabulary, and no
    example at all.
    """
    wanted = columns.inputs_of(model)
    x = columns.completed(wanted, x)
    if len(wanted) == 1:
        (column,) = wanted.values()
        return column.check(x)
    if not isinstance(x, dict):
        raise ValueError(f"{model.name} takes a dict with {', '.join(wanted)}; got {type(x).__name__}")
    if set(x) != set(wanted):
        missing, unexpected = sorted(set(wanted) - set(x)), sorted(set(x) - set(wanted))
        raise ValueError(f"{model.name} takes {', '.join(wanted)}; missing {missing}, unexpected {unexpected}")
    checked = {name: column.check(x[name]) for name, column in wanted.items()}
    lengths = {name: len(value) for name, value in checked.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the inputs of {model.name} have different numbers of examples: {lengths}")
    return checked


def prepare_inputs(model, x) -> np.ndarray | dict:
    """Arrays as people have them, as the model takes them: what data pipelines do before every step.

    Images of any size, uint8, uint16 or floats in [0, 1], are resized, cropped, scaled and normalised as the model's
    card says; everything else is checked as by `check_inputs`, which see for the structure and what is raised.
    """
    wanted, how = columns.inputs_of(model), card_of(model).preprocessing
    x = columns.completed(wanted, x)
    if len(wanted) == 1:
        (column,) = wanted.values()
        return column.prepare(x, how)
    if isinstance(x, dict) and set(x) == set(wanted):
        pixels = [name for name, column in wanted.items() if column.holds_pixels(x[name])]
        x = {**x, **{name: wanted[name].prepare(x[name], how) for name in pixels}}
    return check_inputs(model, x)


def check_data(model, data) -> None:
    """ValueError if a data set was made for a model that knows more ids; its own were checked when it was loaded.

    Under XLA an id beyond a table silently reads its last row, and -1 does so everywhere. Keras's own `model.fit` and
    `model.predict` check nothing.
    """
    for name, limit in columns.id_limits(columns.inputs_of(model)).items():
        if (held := data.id_limits.get(name, 0)) > limit:
            raise ValueError(
                f"data set {data.name} holds ids 0..{held - 1} as {name!r} and {model.name} knows 0..{limit - 1}; load "
                f"the data with this model, or build it with vocabulary_size={held}"
            )

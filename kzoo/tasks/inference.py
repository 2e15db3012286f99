"""Using a trained model: numbers on a data set, predictions for arrays."""

import time

import numpy as np

from kzoo.catalog import card_of


def evaluate(model, data=None, split="test", batch_size=64) -> dict:
    """Loss and metrics of a catalogue model on one split of a data set.

    Args:
        data: a `kzoo.data.Data`, the name of a data set, or None for the task's default.
        split: "train", "validation" or "test".

    Returns a dict: loss and the task's metrics, as means over every example or token that counts, whatever the
    batches; `num_examples`, `seconds`; for language models also `perplexity`, and `bits_per_character` where the data
    know how many characters a token stands for, so that models with different vocabularies compare; for detectors
    COCO's mean average precision and each class's at an overlap of 0.5. A model that was compiled by hand is scored as
    Keras scores it. Raises ValueError if there is no such split.
    """
    from kzoo.data import check_data, load
    from kzoo.tasks import compile_model, of, plain_names

    task = of(model)
    task.check_trains(model.name)
    if data is None or isinstance(data, str):
        data = load(data or task.default_data, model, batch_size=batch_size)
    check_data(model, data)
    part = choose_split(data, split)
    if not model.compiled:
        compile_model(model)
    begin = time.perf_counter()
    numbers = model.evaluate(part.dataset, verbose=0, return_dict=True)
    numbers = {key: float(value) for key, value in plain_names(model, numbers).items()}
    return {
        **numbers,
        **task.score(model, data, split, numbers),
        "num_examples": part.num_examples,
        "seconds": round(time.perf_counter() - begin, 3),
    }


def choose_split(data, split):
    """The named split of a data set; ValueError that says which there are if it has none of that name."""
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    there = [name for name, part in parts.items() if part is not None]
    if parts.get(split) is None:
        raise ValueError(f"data set {data.name} has no {split!r} split; it has {', '.join(there)}")
    return parts[split]


def predict(model, x, batch_size=64):
    """Class probabilities (num_examples, ..., num_classes) for arrays in the model's input structure.

    A detector gives a list instead, one dict per image: `boxes` (n, 4), left, top, right, bottom as fractions of the
    image, `scores` (n,) and `labels` (n,), the best first. A model of features gives its outputs as they are.

    Args:
        x: an array, or a dict of arrays by input name. uint8 images are scaled and normalised as in training.

    Raises ValueError or TypeError that says which shape and dtype are wanted if `x` does not fit the model.
    """
    from kzoo.data import check_inputs
    from kzoo.tasks import of_or_guess

    are_pixels = getattr(x, "dtype", None) == np.uint8 and np.ndim(x) == 4
    x = check_inputs(model, x)
    if are_pixels:
        mean, std = card_of(model).preprocessing.constants(x.shape[-1])
        x = (x - np.float32(mean)) / np.float32(std)
    return of_or_guess(model).predict(model, x, batch_size)

"""Using a trained model: numbers on a data set, predictions for arrays."""

import dataclasses
import os
import time
from typing import Any

import numpy as np

from kzoo.building import Assembly
from kzoo.support import forks


def evaluate(
    model, data=None, split="test", batch_size=64, y=None, columns=None, decoding=None, features=None, num_images=None
) -> dict:
    """Loss and metrics of a model on one split of a data set, or on examples: `evaluate(model, x, y)`.

    Args:
        data: what `kzoo.fit` takes; of examples and batches all are scored.
        split: "train", "validation" or "test"; "all" for a table or folder without splits; or y.
        decoding: of speech, a dict: `beam_width`, `words`, `language_model`, `language_weight`, `word_bonus`.
        columns: those of a table that are meant, as `kzoo.fit` takes them.
        features: for a model that writes pictures, a classifier of images or its folder, in whose features the Fréchet
            distance, precision and recall of as many generated pictures are measured.
        num_images: how many pictures of the split those are; all of them by default.

    Returns a dict: loss and the task's metrics, as means over every example or token that counts, whatever the
    batches; `num_examples`, `seconds`; for language models also `perplexity`, and `bits_per_character` where the data
    know how many characters a token stands for, so that models with different vocabularies compare; for detectors
    COCO's mean average precision and each class's at an overlap of 0.5; for speech the word and character error rates
    over all transcripts. A model that was compiled by hand is scored as
    Keras scores it. Raises ValueError if there is no such split.
    """
    from kzoo.data import Data, check_data
    from kzoo.tasks import of
    from kzoo.tasks.feeding import given

    forks.check("kzoo.evaluate")
    task = of(model).decoded_by(**decoding) if decoding else of(model)
    task.check_trains(model.name)
    if features is not None:
        task = task.scored_by(features=features, num_images=num_images)
    elif num_images is not None:
        raise ValueError(f"num_images={num_images!r} goes with features=, a classifier of images or its folder")
    if not isinstance(split, str):
        split, y = "test", split
    has_splits = data is None or isinstance(data, str | os.PathLike | Data)
    if not isinstance(data, Data) or columns:
        how = {} if has_splits and split != "all" else {"validation_fraction": 0}
        data = given.loaded(model, data, y, names=columns, batch_size=batch_size, **how)
    check_data(task.fed(model), data)
    if not has_splits:
        data = dataclasses.replace(data, test=data.train.as_it_is())
    part = choose_split(data, split)
    begin = time.perf_counter()
    numbers = task.measured(model, part)
    return {
        **numbers,
        **task.score(model, data, split, numbers),
        "num_examples": part.num_examples,
        "seconds": round(time.perf_counter() - begin, 3),
    }


def choose_split(data, split) -> Any:
    """The named split of a data set; ValueError that says which there are if it has none of that name."""
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    if split == "all" and data.train is not None and data.train.draw is None and data.validation is data.test is None:
        return data.train.as_it_is()
    there = [name for name, part in parts.items() if part is not None]
    if parts.get(split) is None:
        raise ValueError(f"data set {data.name} has no {split!r} split; it has {', '.join(there)}")
    return parts[split]


def predict(model, x, batch_size=64, decoding=None, labels=None, templates=("{}",)) -> np.ndarray | list | dict:
    """Class probabilities (num_examples, ..., num_classes) for arrays in the model's input structure.

    A detector gives a list instead, one dict per image: `boxes` (n, 4), left, top, right, bottom as fractions of the
    image, `scores` (n,) and `labels` (n,), the best first. A model of features gives its outputs as they are, one of
    speech a list of transcripts, one of proteins a `kzoo.tasks.protein_structure.folding.Prediction` for each sequence.

    Args:
        x: an array, or a dict of arrays by input name. Images, uint8, uint16 or floats in [0, 1], are resized, cropped,
            scaled and normalised as in training. A model of tokens with a tokenizer also takes texts, a list or a pair
            of lists; where every token has an answer, such as a tag or what a mask stands for, the result is a list of
            one dict per text. A model of sound takes a list of clips at its sample rate, (num_samples,) each.
        decoding: of speech, as for `evaluate`.
        labels: for CLIP, a list of texts that images are told apart by; x are images alone then, and the result their
            probabilities (num_examples, num_labels).
        templates: what each label stands in, as in "a photo of a {}"; of several the mean vector counts.

    Raises ValueError or TypeError that says which shape and dtype are wanted if `x` does not fit the model.
    """
    from kzoo.data import prepare_inputs
    from kzoo.tasks import of_or_guess
    from kzoo.tasks.feeding import given

    forks.check("kzoo.predict")
    if isinstance(model, Assembly):
        raise ValueError(f"{model.name} has the parts {', '.join(model)}; pass the one that predicts, model[...]")
    if labels is not None:
        return of_or_guess(model).choosing_among(labels, templates).predict(model, x, batch_size)
    if given.are_texts(x):
        return of_or_guess(model).predict_texts(model, x, batch_size)
    task = of_or_guess(model).decoded_by(**decoding) if decoding else of_or_guess(model)
    return task.predict(model, prepare_inputs(model, x), batch_size)


def generate(model, *prompt, **settings) -> Any:
    """What a model writes: the continuation of prompts, their translation, sound, or pictures.

    A model of tokens takes what `kzoo.generation.generate` does: a prompt or several, `max_new_tokens`, `temperature`
    and so on. A model of samples takes `seconds`, `speaker`, `mel`, `temperature`, `seed`, `progress` and `xla`, as
    `kzoo.tasks.sound_generation.requests.generate` says, and gives samples in [-1, 1], float32 (samples,).
    A model that writes pictures of noise takes `num_images` and `seed`, and gives uint8 (num_images, height, width,
    channels); the first pictures of a seed are the same however many are asked for.

    Raises ValueError for a model that writes nothing.
    """
    from kzoo.catalog import card_of
    from kzoo.tasks import base, find

    name = card_of(model).task
    return (find(name) if name else base.Task()).generate(model, *prompt, **settings)


def embed(model, x, batch_size=64) -> np.ndarray:
    """Vectors of length 1, float32 (num_examples, dim), whose products are the cosines of how like examples are.

    Args:
        model: one that gives a vector for each example, such as `kzoo.build("bert", head="embedding")`, a network of
            images with `num_classes=0`, or CLIP, which embeds texts and images in one space.
        x: what `predict` takes: texts, images, arrays.

    Raises ValueError for a model that gives something else.
    """
    from kzoo.tasks import of_or_guess

    return of_or_guess(model).embed(model, x, batch_size)


def unit_vectors(task, model, x, batch_size) -> np.ndarray:
    """The outputs of a model of features, brought to length 1; ValueError for a model that gives something else."""
    if not task.gives_features or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise ValueError(
            f"{model.name} gives no vector for an example: build it with head='embedding', or num_classes=0 for images"
        )
    found = np.asarray(predict(model, x, batch_size), np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), np.float32(1e-12))

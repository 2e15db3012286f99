"""How good pictures are that a model writes, in the features of a classifier that the user names."""

import os
from typing import Any

import keras
import numpy as np
from keras import layers

from kzoo.building import load
from kzoo.catalog import card_of, update_card
from kzoo.tasks import inference, of_or_guess
from kzoo.tasks.base import takes_images
from kzoo.tasks.generated_pictures import distances, pixels

MOST_COMPARED = 5000  # pictures of either kind for precision and recall, whose cost grows with their square


def features_of(model) -> keras.Model:
    """The network whose outputs are features: the model itself, or a classifier of images without its last layer.

    Args:
        model: a model of images, or the folder of one.

    Raises ValueError for a model that takes no images, or ends in something else.
    """
    model = load(model) if isinstance(model, str | os.PathLike) else model
    if not isinstance(model, keras.Model) or not takes_images(model):
        raise ValueError(f"features must be a classifier of images or its folder; {model.name} takes no images")
    if of_or_guess(model).gives_features:
        return model
    if not isinstance(model.layers[-1], layers.Dense):
        raise ValueError(f"features: {model.name} ends in {model.layers[-1].name}; build it with num_classes=0")
    network = keras.Model(model.input, model.layers[-1].input, name=f"{model.name}_features")
    update_card(network, task="feature_extraction", preprocessing=card_of(model).preprocessing)
    return network


def real_pixels(split, preprocessing, num_images=None) -> np.ndarray:
    """The pictures of a split of data as uint8 (num_images, height, width, channels), all of them by default.

    Args:
        preprocessing: that of the network which the split was made for.
    """
    found, count = [], 0
    for x, *_ in split.as_it_is().dataset:
        found.append(np.asarray(pixels.to_uint8(x, preprocessing)))
        count += len(found[-1])
        if num_images and count >= num_images:
            break
    return np.concatenate(found)[:num_images]


def scores(real, fake, network, batch_size=64) -> dict[str, Any]:
    """`frechet_distance`, `precision`, `recall` and `num_generated` of pictures beside real ones.

    The distance is that of the network's features and so no FID, which is of Inception's.

    Args:
        real, fake: uint8 (num_images, height, width, channels); of more than MOST_COMPARED the first count for
            precision and recall.
        network: what `features_of` gives; pictures are fitted to it as its card says.
    """
    found = []
    for images in (real, fake):
        rows = np.asarray(inference.predict(network, images, batch_size), np.float64)
        found.append(rows.reshape(len(rows), -1))
    shares = distances.precision_and_recall(*(rows[:MOST_COMPARED] for rows in found))
    numbers = {"frechet_distance": distances.frechet_distance(*found)}
    return {**numbers, **dict(zip(("precision", "recall"), shares, strict=True)), "num_generated": len(fake)}

"""A model of normalised images as a model of pixels, so that an export needs no preprocessing of its own."""

import keras
import numpy as np
from keras import layers

from kzoo import graph
from kzoo.catalog import card_of


def take_pixels(model, finish) -> keras.Model:
    """A model from uint8 `images` (batch, height, width, channels) of the model's input size to what `finish` gives.

    The images are scaled and normalised as the model's preprocessing says; resizing and cropping are left outside.

    Args:
        model: a functional model of one image; it is not changed.
        finish: a function of the model's outputs, such as class probabilities.
    """
    (wanted,) = model.inputs
    mean, std = _constants(model)
    images = keras.Input(wanted.shape[1:], dtype="uint8", name="images")
    x = layers.Rescaling((1 / (255 * std)).tolist(), (-mean / std).tolist(), dtype="float32", name="normalise")(images)
    inputs, steps, outputs = graph.record(model)
    values = {id(tensor): x for tensor in keras.tree.flatten(inputs)}
    graph.replay(steps, values)
    results = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs)
    return keras.Model(images, finish(results), name=model.name)


def to_pixels(model, x) -> np.ndarray:
    """The pixels, uint8, whose normalised values are nearest to `x`, an input of the model."""
    mean, std = _constants(model)
    return np.clip(np.rint(255 * (np.asarray(x) * std + mean)), 0, 255).astype("uint8")


def _constants(model):
    channels = model.inputs[0].shape[-1]
    how = card_of(model).preprocessing
    return tuple(np.broadcast_to(np.array(values, "float64"), (channels,)) for values in how.constants(channels))

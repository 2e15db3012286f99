"""MNIST CNN: three convolutions and two dense layers that read handwritten digits.

The Keras tutorials' convolutional network, after LeNet-5 (LeCun et al. 1998, https://doi.org/10.1109/5.726791). Its
recipe: Adam, sparse categorical cross-entropy, batches of 64, 10 epochs. It ends in a softmax, as the `Sequential` of
the founding text (docs/origins.md) does, so its outputs and what its loss takes are probabilities. Layer names are
Keras's own for that `Sequential`; unlike torch's networks it flattens channels last.
"""

import keras
from keras import layers

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "the document's `keras.Sequential`"
VARIANTS = {"mnist_cnn": {}}


def build(
    input_shape=(28, 28, 1), filters=(32, 64, 64), hidden_dim=64, num_classes=10, name="mnist_cnn"
) -> keras.Model:
    """Images (batch, height, width, channels) in [0, 1] to probabilities (batch, num_classes)."""
    smallest = 3 * 2 ** (len(filters) - 1) + 2 ** len(filters) - 2
    if None in input_shape[:2] or min(input_shape[:2]) < smallest:
        need = f"{len(filters)} unpadded convolutions with pooling between need at least {smallest} x {smallest} pixels"
        raise ValueError(f"mnist_cnn: input_shape {input_shape} is not known or too small; {need}")
    image = keras.Input(input_shape, name="image")
    x = image
    for index, count in enumerate(filters):
        if index:
            x = layers.MaxPooling2D(2, name=f"max_pooling2d_{index - 1}" if index > 1 else "max_pooling2d")(x)
        x = layers.Conv2D(count, 3, activation="relu", name=f"conv2d_{index}" if index else "conv2d")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(hidden_dim, activation="relu", name="dense")(x)
    probabilities = layers.Dense(num_classes, activation="softmax", dtype="float32", name="dense_1")(x)
    return keras.Model(image, probabilities, name=name)

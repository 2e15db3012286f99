"""CNN: two convolutions with pooling and two fully connected layers.

The introductory convolutional network of the field's tutorials, after LeNet-5 (LeCun et al. 1998,
https://doi.org/10.1109/5.726791). The torch module of the founding text (docs/origins.md) fixes its first fully
connected layer to 64 * 6 * 6 inputs, which only a 24 x 24 image fits; here the size follows the image. Layer names are
those of that module.
"""

import keras
from keras import layers

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "the document's torch module"
VARIANTS = {"cnn": {}}


def conv_and_pool(x, filters, name) -> keras.KerasTensor:
    """3x3 convolution padded by one, rectifier, 2x2 maximum."""
    x = layers.ZeroPadding2D(1, name=f"{name}.padding")(x)
    x = layers.Conv2D(filters, 3, activation="relu", name=name)(x)
    return layers.MaxPooling2D(2, name=f"{name}.pool")(x)


def build(input_shape=(24, 24, 3), filters=(32, 64), hidden_dim=128, num_classes=10, name="cnn") -> keras.Model:
    """Images (batch, height, width, channels) to logits (batch, num_classes)."""
    smallest = 2 ** len(filters)
    if None in input_shape[:2] or min(input_shape[:2]) < smallest:
        fault = f"input_shape {input_shape} is not known or too small"
        raise ValueError(f"cnn: {fault}; {len(filters)} poolings need at least {smallest} x {smallest} pixels")
    image = keras.Input(input_shape, name="image")
    x = image
    for index, count in enumerate(filters, 1):
        x = conv_and_pool(x, count, f"conv{index}")
    x = layers.Permute((3, 1, 2), name="channels_first")(x)  # torch flattens channels first
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(hidden_dim, activation="relu", name="fc1")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="fc2")(x)
    return keras.Model(image, logits, name=name)

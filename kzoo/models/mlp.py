"""MLP: fully connected hidden layers between an image's pixels and its class.

Rumelhart, Hinton, Williams 1986, https://doi.org/10.1038/323533a0: several hidden layers trained by backpropagation.
Rectified units, as used today, instead of the paper's sigmoids. Layer names are the indices in
`torch.nn.Sequential(Linear, ReLU, ..., Linear)` over the flattened image.
"""

import keras
from keras import layers

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "`torch.nn.Sequential`"
VARIANTS = {"mlp": {}}


def build(hidden_dims=(512, 512), input_shape=(28, 28, 1), num_classes=10, name="mlp") -> keras.Model:
    """Images (batch, height, width, channels), or vectors for a one-dimensional `input_shape`, to logits."""
    image = keras.Input(input_shape, name="image")
    x = layers.Flatten(name="flatten")(image)
    for index, hidden_dim in enumerate(hidden_dims):
        x = layers.Dense(hidden_dim, name=f"{2 * index}")(x)
        x = layers.ReLU(name=f"{2 * index + 1}")(x)
    logits = layers.Dense(num_classes, dtype="float32", name=f"{2 * len(hidden_dims)}")(x)
    return keras.Model(image, logits, name=name)

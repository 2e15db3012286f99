"""GAN discriminator: maxout units that tell real pictures from generated ones.

Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 5, with the sizes and layer names of the authors'
`mnist.yaml`, which drops a fifth of the pixels and half of the units in training.
"""

import keras
from keras import layers

from kzoo.layers import Maxout

TASK = "adversarial_generation"
INPUTS = {"image": "image"}
AGREES_WITH = "the paper's form in torch"
VARIANTS = {"gan_discriminator": {}}


def build(
    input_shape=(28, 28, 1), hidden_dims=(240, 240), num_pieces=5, input_dropout=0.2, dropout=0.5,
    name="gan_discriminator",
) -> keras.Model:  # fmt: skip
    """Pictures (batch, height, width, channels) in [0, 1] to one logit (batch, 1), above 0 for real ones, float32."""
    uniform = keras.initializers.RandomUniform
    image = keras.Input(input_shape, name="image")
    x = layers.Flatten(name="flatten")(image)
    for index, units in enumerate(hidden_dims):
        rate = dropout if index else input_dropout
        x = layers.Dropout(rate, name=f"h{index}.dropout")(x) if rate else x
        x = layers.Dense(units * num_pieces, kernel_initializer=uniform(-0.005, 0.005), name=f"h{index}")(x)
        x = Maxout(num_pieces, name=f"h{index}.max")(x)
    x = layers.Dropout(dropout, name="y.dropout")(x) if dropout else x
    logit = layers.Dense(1, kernel_initializer=uniform(-0.005, 0.005), dtype="float32", name="y")(x)
    return keras.Model(image, logit, name=name)

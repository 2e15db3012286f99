"""GAN generator: noise to a picture by two hidden layers of rectified units.

Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661, section 5, with the sizes and layer names of the authors'
`mnist.yaml`. There the bias of the last layer begins at the logits of the mean digit, here at zero.
"""

import math

import keras
from keras import layers

TASK = "adversarial_generation"
INPUTS = {"noise": "noise"}
AGREES_WITH = "the paper's form in torch"
VARIANTS = {"gan_generator": {}}


def build(latent_dim=100, hidden_dims=(1200, 1200), image_shape=(28, 28, 1), name="gan_generator") -> keras.Model:
    """Standard normal noise (batch, latent_dim) to pictures (batch, height, width, channels) in [0, 1], float32."""
    uniform = keras.initializers.RandomUniform
    noise = x = keras.Input((latent_dim,), name="noise")
    for index, hidden_dim in enumerate(hidden_dims):
        x = layers.Dense(hidden_dim, kernel_initializer=uniform(-0.05, 0.05), name=f"h{index}")(x)
        x = layers.ReLU(name=f"h{index}.relu")(x)
    x = layers.Dense(math.prod(image_shape), kernel_initializer=uniform(-0.05, 0.05), dtype="float32", name="y")(x)
    x = layers.Activation("sigmoid", dtype="float32", name="y.sigmoid")(x)
    return keras.Model(noise, layers.Reshape(image_shape, dtype="float32", name="image")(x), name=name)

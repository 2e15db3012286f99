"""DCGAN discriminator: strided convolutions that tell real pictures from generated ones.

Radford, Metz, Chintala 2015, https://arxiv.org/abs/1511.06434, section 3, with the sizes and layer names of
`pytorch/examples`, which ends in a sigmoid; here that belongs to the loss.
"""

import keras
from keras import layers

from kzoo.layers.adversarial import batch_norm, normal, num_halvings
from kzoo.layers.images import image_input

TASK = "adversarial_generation"
INPUTS = {"image": "image"}
PREPROCESSING = {"mean": 0.5, "std": 0.5}
AGREES_WITH = "`pytorch/examples`"
VARIANTS = {"dcgan_discriminator": {}, "dcgan_discriminator_small": {"input_shape": (28, 28, 1), "filters": 32}}


def build(filters=64, input_shape=(64, 64, 3), with_batch_norm=True, name="dcgan_discriminator") -> keras.Model:
    """Pictures (batch, height, width, channels) in [-1, 1] to one logit (batch, 1), above 0 for real ones, float32.

    Every layer halves both sides and has twice the filters of the one before, until 4 to 7 pixels are left.
    `with_batch_norm=False` is a critic for a loss whose penalty is that of each picture, such as WGAN-GP's; biases
    stand in for the shifts of batch norm. Raises ValueError for sizes that cannot be halved so.
    """
    num_layers = num_halvings(input_shape, "input_shape", name)
    image = image_input(input_shape, 8, name)
    x = layers.LeakyReLU(0.2, name="main.1")(halved(image, filters, "main.0"))
    for index in range(1, num_layers):
        first = 3 * index - 1
        x = halved(x, filters << index, f"main.{first}", use_bias=not with_batch_norm)
        x = batch_norm(x, f"main.{first + 1}") if with_batch_norm else x
        x = layers.LeakyReLU(0.2, name=f"main.{first + 2}")(x)
    whole = {"use_bias": False, "kernel_initializer": normal(), "dtype": "float32"}
    x = layers.Conv2D(1, x.shape[1:3], name=f"main.{3 * num_layers - 1}", **whole)(x)
    return keras.Model(image, layers.Flatten(dtype="float32", name="logit")(x), name=name)


def halved(x, filters, name, use_bias=False) -> keras.KerasTensor:
    """A convolution of 4x4 with stride 2, which halves sides that are even; Keras pads them as torch does, by 1."""
    how = {"use_bias": use_bias, "kernel_initializer": normal(), "name": name}
    return layers.Conv2D(filters, 4, 2, "same", **how)(x)

"""DCGAN generator: noise to a picture by transposed convolutions, each of which doubles its size.

Radford, Metz, Chintala 2015, https://arxiv.org/abs/1511.06434, figure 1, with the sizes and layer names of
`pytorch/examples`, whose last hidden layer has 64 filters where the paper's has 128.
"""

import keras
from keras import layers

from kzoo.layers.adversarial import batch_norm, normal, num_halvings

TASK = "adversarial_generation"
INPUTS = {"noise": "noise"}
PREPROCESSING = {"mean": 0.5, "std": 0.5}
AGREES_WITH = "`pytorch/examples`"
VARIANTS = {"dcgan_generator": {}, "dcgan_generator_small": {"image_shape": (28, 28, 1), "filters": 32}}


def build(latent_dim=100, filters=64, image_shape=(64, 64, 3), name="dcgan_generator") -> keras.Model:
    """Standard normal noise (batch, latent_dim) to pictures (batch, height, width, channels) in [-1, 1], float32.

    The first layer makes 4 to 7 pixels a side, of which as many doublings as it takes make `image_shape`; every one
    has half the filters of the one before, and the last but one has `filters`. Raises ValueError for other sizes.
    """
    num_doublings = num_halvings(image_shape, "image_shape", name)
    first = tuple(side >> num_doublings for side in image_shape[:2])
    noise = keras.Input((latent_dim,), name="noise")
    x = layers.Reshape((1, 1, latent_dim), name="place")(noise)
    for index in range(num_doublings):
        size = {"kernel_size": 4, "strides": 2, "padding": "same"} if index else {"kernel_size": first}
        x = transposed(x, filters << (num_doublings - 1 - index), f"main.{3 * index}", **size)
        x = layers.ReLU(name=f"main.{3 * index + 2}")(batch_norm(x, f"main.{3 * index + 1}"))
    last = 3 * num_doublings
    x = transposed(x, image_shape[2], f"main.{last}", kernel_size=4, strides=2, padding="same", dtype="float32")
    return keras.Model(noise, layers.Activation("tanh", dtype="float32", name=f"main.{last + 1}")(x), name=name)


def transposed(x, filters, name, **size) -> keras.KerasTensor:
    """A transposed convolution without a bias; 4x4 with stride 2 doubles both sides, as torch's with padding 1."""
    return layers.Conv2DTranspose(filters, use_bias=False, kernel_initializer=normal(), name=name, **size)(x)

"""DCGAN: a convolutional generator of pictures and a convolutional discriminator that learn against each other.

Radford, Metz, Chintala 2015, https://arxiv.org/abs/1511.06434, as `pytorch/examples` builds and trains it.
"""

TASK = "adversarial_generation"
AGREES_WITH = "`pytorch/examples`"
PARTS = {"generator": {"model": "dcgan_generator"}, "discriminator": {"model": "dcgan_discriminator"}}
VARIANTS = {
    "dcgan": {},
    "dcgan_small": {
        "generator": {"image_shape": (28, 28, 1), "filters": 32},
        "discriminator": {"input_shape": (28, 28, 1), "filters": 32},
    },
}

"""VGG: very deep plain networks of 3x3 convolutions for image classification.

Simonyan, Zisserman 2015, https://arxiv.org/abs/1409.1556, table 1, columns A, B, D and E; `_bn` puts batch norm after
each convolution, as torchvision does. Layer names follow torchvision's checkpoints, so do the 7x7 cells to which
images of other sizes are averaged.
"""

import keras
from keras import layers

from kzoo.layers.images import batch_norm, flatten_channels_first, image_input, logits_or_features, padded_conv
from kzoo.layers.pooling import AdaptiveAveragePooling2D

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "torchvision"
VARIANTS = {
    "vgg16": {"depths": (2, 2, 3, 3, 3)},
    "vgg11": {"depths": (1, 1, 2, 2, 2)},
    "vgg13": {"depths": (2, 2, 2, 2, 2)},
    "vgg19": {"depths": (2, 2, 4, 4, 4)},
    "vgg11_bn": {"like": "vgg11", "with_batch_norm": True},
    "vgg13_bn": {"like": "vgg13", "with_batch_norm": True},
    "vgg16_bn": {"like": "vgg16", "with_batch_norm": True},
    "vgg19_bn": {"like": "vgg19", "with_batch_norm": True},
}
HEAD = ("classifier.6",)
HEADLESS = "feature_extraction"
# timm's fully connected layers are convolutions over all of their input
NAMES = {
    "torchvision": {},
    "timm": {
        "pre_logits.fc1.{}": "classifier.0.{}",
        "pre_logits.fc2.{}": "classifier.3.{}",
        "head.fc.{}": "classifier.6.{}",
    },
}
CONVOLVED = {"timm": {"classifier.0.weight": 7, "classifier.3.weight": 1}}
CONFIG = {
    "timm": {
        "models": ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
        "keywords": {
            "num_classes": "num_classes",
            "pretrained_cfg.input_size": ("input_shape", 2, 0, 1),
            "model_args.num_classes": "num_classes",
            "model_args.in_chans": ("input_shape", 2),
        },
        "values": {"global_pool": ("avg", None), "model_args.global_pool": ("avg", None)},
        "ignored": ("model_args.*_rate",),
    },
}


def convolutions(x, depths, filters, with_batch_norm) -> keras.KerasTensor:
    """Stages of 3x3 convolutions, each stage ending in a 2x2 maximum; named by their place in torch's Sequential."""
    index = 0
    for depth, count in zip(depths, filters, strict=True):
        for _ in range(depth):
            x = padded_conv(x, count, 3, f"features.{index}")
            if with_batch_norm:
                index += 1
                x = batch_norm(x, f"features.{index}")
            x = layers.ReLU(name=f"features.{index + 1}")(x)
            index += 2
        x = layers.MaxPooling2D(2, name=f"features.{index}")(x)
        index += 1
    return x


def build(
    depths=(2, 2, 3, 3, 3),
    filters=(64, 128, 256, 512, 512),
    hidden_dim=4096,
    with_batch_norm=False,
    dropout=0.5,
    input_shape=(224, 224, 3),
    num_classes=1000,
    name="vgg16",
) -> keras.Model:
    """Images (batch, height, width, channels) to logits (batch, num_classes) in float32.

    `depths` and `filters` count convolutions and their channels per stage. Height and width may be None.
    `num_classes=0` returns the features of the second fully connected layer. Raises ValueError for images that the
    poolings of the stages use up (below 32 x 32 for five), or if `depths` and `filters` differ in length.
    """
    if len(depths) != len(filters):
        raise ValueError(f"{name}: depths and filters must name the same stages, got {depths} and {filters}")
    image = image_input(input_shape, 2 ** len(depths), name)
    x = convolutions(image, depths, filters, with_batch_norm)
    x = flatten_channels_first(AdaptiveAveragePooling2D(7, name="avgpool")(x))
    for index in (0, 3):
        x = layers.Dense(hidden_dim, name=f"classifier.{index}")(x)
        x = layers.ReLU(name=f"classifier.{index + 1}")(x)
        x = layers.Dropout(dropout, name=f"classifier.{index + 2}")(x)
    return keras.Model(image, logits_or_features(x, num_classes, "classifier.6"), name=name)

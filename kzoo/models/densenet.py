"""DenseNet: networks whose layers see the outputs of all layers before them, for image classification.

Huang et al. 2017, https://arxiv.org/abs/1608.06993, table 1: bottlenecks and a compression of one half (DenseNet-BC).
Layer names follow torchvision's checkpoints.
"""

import keras
from keras import layers

from kzoo.layers.images import batch_norm, image_input, logits_or_features, padded_conv, padded_max_pool

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "torchvision"
VARIANTS = {
    "densenet121": {"depths": (6, 12, 24, 16)},
    "densenet161": {"depths": (6, 12, 36, 24), "growth_rate": 48, "filters": 96},
    "densenet169": {"depths": (6, 12, 32, 32)},
    "densenet201": {"depths": (6, 12, 48, 32)},
}
HEAD = ("classifier",)
HEADLESS = "feature_extraction"
CONFIG = {
    "timm": {
        "models": ("densenet121", "densenet161", "densenet169", "densenet201"),
        "keywords": {
            "num_classes": "num_classes",
            "pretrained_cfg.input_size": ("input_shape", 2, 0, 1),
            "model_args.num_classes": "num_classes",
            "model_args.in_chans": ("input_shape", 2),
            "model_args.growth_rate": "growth_rate",
            "model_args.bn_size": "bn_size",
        },
        "values": {"global_pool": ("avg", None), "model_args.global_pool": ("avg", None)},
        "ignored": ("model_args.*_rate",),
    },
}
NAMES = {
    "torchvision": {},
    # torchvision's published files, which it renames itself when it loads them
    "torchvision_published": {
        "features.{}.{}.norm.{}.{}": "features.{}.{}.norm{}.{}",
        "features.{}.{}.conv.{}.{}": "features.{}.{}.conv{}.{}",
    },
}


def norm_relu_conv(x, filters, kernel_size, name, suffix="") -> keras.KerasTensor:
    """Batch norm, ReLU, convolution without bias, in this order throughout the network (section 3)."""
    x = batch_norm(x, f"{name}.norm{suffix}")
    x = layers.ReLU(name=f"{name}.relu{suffix}")(x)
    return padded_conv(x, filters, kernel_size, f"{name}.conv{suffix}", use_bias=False)


def dense_layer(x, growth_rate, bn_size, dropout, name) -> keras.KerasTensor:
    """1x1 to a multiple of the growth rate, 3x3 to the growth rate, joined to all that came before."""
    y = norm_relu_conv(x, bn_size * growth_rate, 1, name, suffix="1")
    y = norm_relu_conv(y, growth_rate, 3, name, suffix="2")
    if dropout > 0:
        y = layers.Dropout(dropout, name=f"{name}.dropout")(y)
    return layers.Concatenate(name=name)([x, y])


def transition(x, name) -> keras.KerasTensor:
    """Half the channels, half the height and width."""
    x = norm_relu_conv(x, x.shape[-1] // 2, 1, name)
    return layers.AveragePooling2D(2, name=f"{name}.pool")(x)


def build(
    depths=(6, 12, 24, 16),
    growth_rate=32,
    filters=64,
    bn_size=4,
    dropout=0.0,
    input_shape=(224, 224, 3),
    num_classes=1000,
    name="densenet121",
) -> keras.Model:
    """Images (batch, height, width, channels) to logits (batch, num_classes) in float32.

    `depths` counts the layers of each dense block, `filters` the channels of the stem, `growth_rate` the channels each
    layer adds, after a bottleneck of `bn_size` times as many. Height and width may be None. `num_classes=0` returns
    the averaged features. Raises ValueError for images that the transitions use up (below 29 x 29 for four blocks).
    """
    image = image_input(input_shape, 2 ** (len(depths) + 1) - 3, name)
    x = padded_conv(image, filters, 7, "features.conv0", strides=2, use_bias=False)
    x = layers.ReLU(name="features.relu0")(batch_norm(x, "features.norm0"))
    x = padded_max_pool(x, "features.pool0")
    for block, depth in enumerate(depths, 1):
        if block > 1:
            x = transition(x, f"features.transition{block - 1}")
        for index in range(1, depth + 1):
            x = dense_layer(x, growth_rate, bn_size, dropout, f"features.denseblock{block}.denselayer{index}")
    x = layers.ReLU(name="relu")(batch_norm(x, "features.norm5"))
    x = layers.GlobalAveragePooling2D(dtype="float32", name="avgpool")(x)
    return keras.Model(image, logits_or_features(x, num_classes, "classifier"), name=name)

"""Inception v3: Inception modules with factorised convolutions, for image classification.

Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, table 1 and figures 5 to 8, 10, as TensorFlow trained it and
torchvision computes it; layer names follow torchvision's checkpoints. torchvision's `transform_input` is no part of the
network: it turns images normalised for ImageNet into (x - 0.5) / 0.5, which is the normalisation its checkpoint wants.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers.images import image_input, logits_or_features

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "torchvision"
VARIANTS = {"inception_v3": {"input_shape": (299, 299, 3)}}
HEADLESS = "feature_extraction"
CONFIG = {
    "timm": {
        "models": ("inception_v3",),
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
HEAD = ("fc", "AuxLogits.fc")
TRAINING_ONLY = (r"AuxLogits\.",)


def conv_norm_relu(x, filters, kernel_size, name, strides=1, padding="same", width_multiplier=1.0) -> keras.KerasTensor:
    """Convolution without bias, batch norm with epsilon 0.001, ReLU."""
    filters = max(1, round(filters * width_multiplier))
    kwargs = {"use_bias": False, "kernel_initializer": "he_normal", "name": f"{name}.conv"}
    x = layers.Conv2D(filters, kernel_size, strides, padding, **kwargs)(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}.bn")(x)
    return layers.ReLU(name=name)(x)


def chain(x, conv, name, *steps) -> keras.KerasTensor:
    """Convolutions one after the other; each step is (suffix of the name, filters, kernel size)."""
    for suffix, filters, kernel_size in steps:
        x = conv(x, filters, kernel_size, f"{name}.{suffix}")
    return x


def pooled_projection(x, conv, filters, name) -> keras.KerasTensor:
    """3x3 averages that count the zeros beyond the edge, then a 1x1 convolution."""
    x = layers.ZeroPadding2D(1, name=f"{name}.branch_pool.pad")(x)
    x = layers.AveragePooling2D(3, 1, name=f"{name}.branch_pool.average")(x)
    return conv(x, filters, 1, f"{name}.branch_pool")


def module_a(x, conv, projection, name) -> keras.KerasTensor:
    """1x1, 5x5, two 3x3 and pooling side by side, figure 5; the 5x5 is not factorised."""
    branches = [
        conv(x, 64, 1, f"{name}.branch1x1"),
        chain(x, conv, name, ("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        chain(x, conv, name, ("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
        pooled_projection(x, conv, projection, name),
    ]
    return layers.Concatenate(name=name)(branches)


def module_b(x, conv, name) -> keras.KerasTensor:
    """Half the size, figure 10."""
    y = chain(x, conv, name, ("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3))
    branches = [
        conv(x, 384, 3, f"{name}.branch3x3", strides=2, padding="valid"),
        conv(y, 96, 3, f"{name}.branch3x3dbl_3", strides=2, padding="valid"),
        layers.MaxPooling2D(3, 2, name=f"{name}.branch_pool")(x),
    ]
    return layers.Concatenate(name=name)(branches)


def module_c(x, conv, filters, name) -> keras.KerasTensor:
    """7x7 convolutions as 1x7 and 7x1, figure 6."""
    wide, tall = (1, 7), (7, 1)
    branches = [
        conv(x, 192, 1, f"{name}.branch1x1"),
        chain(x, conv, name, ("branch7x7_1", filters, 1), ("branch7x7_2", filters, wide), ("branch7x7_3", 192, tall)),
        chain(
            x,
            conv,
            name,
            ("branch7x7dbl_1", filters, 1),
            ("branch7x7dbl_2", filters, tall),
            ("branch7x7dbl_3", filters, wide),
            ("branch7x7dbl_4", filters, tall),
            ("branch7x7dbl_5", 192, wide),
        ),
        pooled_projection(x, conv, 192, name),
    ]
    return layers.Concatenate(name=name)(branches)


def module_d(x, conv, name) -> keras.KerasTensor:
    """Half the size, the second time."""
    y = conv(x, 192, 1, f"{name}.branch3x3_1")
    z = chain(x, conv, name, ("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)))
    branches = [
        conv(y, 320, 3, f"{name}.branch3x3_2", strides=2, padding="valid"),
        conv(z, 192, 3, f"{name}.branch7x7x3_4", strides=2, padding="valid"),
        layers.MaxPooling2D(3, 2, name=f"{name}.branch_pool")(x),
    ]
    return layers.Concatenate(name=name)(branches)


def module_e(x, conv, name) -> keras.KerasTensor:
    """3x3 convolutions spread out into 1x3 beside 3x1, figure 7."""
    y = conv(x, 384, 1, f"{name}.branch3x3_1")
    z = chain(x, conv, name, ("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3))
    branches = [
        conv(x, 320, 1, f"{name}.branch1x1"),
        conv(y, 384, (1, 3), f"{name}.branch3x3_2a"),
        conv(y, 384, (3, 1), f"{name}.branch3x3_2b"),
        conv(z, 384, (1, 3), f"{name}.branch3x3dbl_3a"),
        conv(z, 384, (3, 1), f"{name}.branch3x3dbl_3b"),
        pooled_projection(x, conv, 192, name),
    ]
    return layers.Concatenate(name=name)(branches)


def auxiliary_head(x, conv, num_classes) -> keras.KerasTensor:
    """Logits from the last 17x17 grid, figure 8; training adds 0.3 or 0.4 of their loss."""
    x = layers.AveragePooling2D(5, 3, name="AuxLogits.pool")(x)
    x = conv(conv(x, 128, 1, "AuxLogits.conv0"), 768, 5, "AuxLogits.conv1", padding="valid")
    x = layers.GlobalAveragePooling2D(dtype="float32", name="AuxLogits.avgpool")(x)
    return logits_or_features(x, num_classes, "AuxLogits.fc")


def build(
    auxiliary=False, width_multiplier=1.0, dropout=0.5, input_shape=(299, 299, 3), num_classes=1000, name="inception_v3"
) -> keras.Model:
    """Images (batch, height, width, channels) to logits (batch, num_classes) in float32.

    With `auxiliary`, a list of two such logits: the classifier's and those of the auxiliary head. Height and width may
    be None. All numbers of filters are multiplied by `width_multiplier`. `num_classes=0` returns the averaged features.
    Raises ValueError for images below 75 x 75, with the auxiliary head below 299 x 299.
    """
    if auxiliary and num_classes == 0:
        raise ValueError(f"{name}: auxiliary=True needs classes to predict, got num_classes=0")
    conv = partial(conv_norm_relu, width_multiplier=width_multiplier)
    image = image_input(input_shape, 299 if auxiliary else 75, name)
    x = conv(image, 32, 3, "Conv2d_1a_3x3", strides=2, padding="valid")
    x = conv(x, 32, 3, "Conv2d_2a_3x3", padding="valid")
    x = layers.MaxPooling2D(3, 2, name="maxpool1")(conv(x, 64, 3, "Conv2d_2b_3x3"))
    x = conv(conv(x, 80, 1, "Conv2d_3b_1x1"), 192, 3, "Conv2d_4a_3x3", padding="valid")
    x = layers.MaxPooling2D(3, 2, name="maxpool2")(x)
    for letter, projection in zip("bcd", (32, 64, 64), strict=True):
        x = module_a(x, conv, projection, f"Mixed_5{letter}")
    x = module_b(x, conv, "Mixed_6a")
    for letter, filters in zip("bcde", (128, 160, 160, 192), strict=True):
        x = module_c(x, conv, filters, f"Mixed_6{letter}")
    heads = [auxiliary_head(x, conv, num_classes)] if auxiliary else []
    x = module_d(x, conv, "Mixed_7a")
    for letter in "bc":
        x = module_e(x, conv, f"Mixed_7{letter}")
    x = layers.GlobalAveragePooling2D(dtype="float32", name="avgpool")(x)
    x = layers.Dropout(dropout, dtype="float32", name="dropout")(x)
    logits = logits_or_features(x, num_classes, "fc")
    return keras.Model(image, [logits, *heads] if heads else logits, name=name)

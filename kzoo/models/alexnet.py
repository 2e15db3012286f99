"""AlexNet: five convolutions and three fully connected layers, the network that won ImageNet 2012.

Krizhevsky et al. 2012, https://proceedings.neurips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html.
`alexnet` is the one-tower form of Krizhevsky 2014 (https://arxiv.org/abs/1404.5997) that torchvision has, with its
layer names; `alexnet_2012` is figure 2 of the paper: two groups, which the paper put on two GPUs, and local response
normalisation, with Caffe's layer names. The paper's 55 x 55 positions of the first convolution need more than its 224
pixels; both forms pad by 2, as torchvision does.
"""

import keras
from keras import layers

from kzoo.layers.images import flatten_channels_first, image_input, logits_or_features, padded_conv
from kzoo.layers.normalization import LocalResponseNormalization
from kzoo.layers.pooling import AdaptiveAveragePooling2D

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "torchvision; the paper's two groups in torch"
VARIANTS = {
    "alexnet": {"filters": (64, 192, 384, 256, 256)},
    "alexnet_2012": {"filters": (96, 256, 384, 384, 256), "two_groups": True},
}
HEAD = ("classifier.6", "fc8")
HEADLESS = "feature_extraction"
CONFIG = {
    "timm": {
        "models": ("alexnet",),
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

_KERNEL_SIZES = (11, 5, 3, 3, 3)
_TORCHVISION_NAMES = (
    *("features.0", "features.3", "features.6", "features.8", "features.10"),
    *("classifier.1", "classifier.4", "classifier.6"),
)
_CAFFE_NAMES = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


def convolutions(x, filters, names, two_groups) -> keras.KerasTensor:
    """Five convolutions; the first, second and last are followed by 3x3 maxima that overlap, stride 2 (section 3.4)."""
    for index, (count, kernel_size, name) in enumerate(zip(filters, _KERNEL_SIZES, names, strict=True)):
        groups = 2 if two_groups and index in (1, 3, 4) else 1  # the third convolution sees both groups
        first = {"strides": 4, "padding": 2} if index == 0 else {}
        x = padded_conv(x, count, kernel_size, name, groups=groups, **first)
        x = layers.ReLU(name=f"{name}.relu")(x)
        if two_groups and index < 2:
            x = LocalResponseNormalization(name=f"{name}.norm")(x)
        if index in (0, 1, 4):
            x = layers.MaxPooling2D(3, 2, name=f"{name}.pool")(x)
    return x


def build(
    filters=(64, 192, 384, 256, 256),
    two_groups=False,
    hidden_dim=4096,
    dropout=0.5,
    input_shape=(224, 224, 3),
    num_classes=1000,
    name="alexnet",
) -> keras.Model:
    """Images (batch, height, width, channels) of at least 63 x 63 to logits (batch, num_classes) in float32.

    Height and width may be None. Dropout stands before the hidden fully connected layers as in torchvision, or with
    `two_groups` after them as in the paper's section 4.2. `num_classes=0` returns the features of the second one.
    Raises ValueError for smaller images, other than five `filters`, and odd ones with `two_groups`.
    """
    if len(filters) != 5 or (two_groups and any(count % 2 for count in filters)):
        raise ValueError(f"{name}: filters must be five numbers, even ones for two groups, got {filters}")
    names = _CAFFE_NAMES if two_groups else _TORCHVISION_NAMES
    image = image_input(input_shape, 63, name)
    x = convolutions(image, filters, names[:5], two_groups)
    x = flatten_channels_first(AdaptiveAveragePooling2D(6, name="avgpool")(x))
    for layer_name in names[5:7]:
        if not two_groups:
            x = layers.Dropout(dropout, name=f"{layer_name}.dropout")(x)
        x = layers.Dense(hidden_dim, name=layer_name)(x)
        x = layers.ReLU(name=f"{layer_name}.relu")(x)
        if two_groups:
            x = layers.Dropout(dropout, name=f"{layer_name}.dropout")(x)
    return keras.Model(image, logits_or_features(x, num_classes, names[7]), name=name)

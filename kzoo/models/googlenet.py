"""GoogLeNet: Inception modules, convolutions of several sizes side by side, for image classification.

Szegedy et al. 2015, https://arxiv.org/abs/1409.4842, table 1. `googlenet` is torchvision's form, with its layer names:
batch norm after every convolution, 3x3 where the paper has 5x5 (torchvision keeps this slip so that its weights stay
valid), a 2x2 maximum before inception5a, auxiliary heads over 4x4 averages. `googlenet_2014` is the paper's: biases,
real 5x5 convolutions, local response normalisation with the constants of the published Caffe model (the paper gives
none); its names are the same less batch norm. torchvision's `transform_input` is no part of the network: it turns
images normalised for ImageNet into (x - 0.5) / 0.5, which is the normalisation that its checkpoint wants.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers.images import image_input, logits_or_features
from kzoo.layers.normalization import LocalResponseNormalization
from kzoo.layers.pooling import AdaptiveAveragePooling2D

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "torchvision; the paper's form in torch"
VARIANTS = {
    "googlenet": {"as_in_paper": False, "dropout": 0.2},
    "googlenet_2014": {"as_in_paper": True, "dropout": 0.4},
}
HEADLESS = "feature_extraction"
CONFIG = {
    "timm": {
        "models": ("googlenet",),
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
HEAD = ("fc", "aux1.fc2", "aux2.fc2")
TRAINING_ONLY = (r"aux[12]\.",)

# filters of each module, in the columns of table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection
_MODULES = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}


def ceil_max_pool(x, name) -> keras.KerasTensor:
    """3x3 maximum with stride 2 whose last window may reach over the edge, of values that are not negative."""
    # One zero at the end is torch's ceil_mode: odd sizes do not use it, even ones gain a window of one pixel less.
    x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}.pad")(x)
    return layers.MaxPooling2D(3, 2, name=name)(x)


def local_response_norm(x, name) -> keras.KerasTensor:
    """As in the Caffe model: five channels, alpha 1e-4 divided by their number, k 1."""
    return LocalResponseNormalization(5, alpha=2e-5, beta=0.75, k=1.0, name=name)(x)


def inception(x, conv, name, large_kernel) -> keras.KerasTensor:
    """Four branches joined along the channels, figure 2b."""
    one, three_reduce, three, five_reduce, five, projection = _MODULES[name]
    pooled = layers.MaxPooling2D(3, 1, "same", name=f"{name}.branch4.0")(x)
    branches = [
        conv(x, one, 1, f"{name}.branch1"),
        conv(conv(x, three_reduce, 1, f"{name}.branch2.0"), three, 3, f"{name}.branch2.1"),
        conv(conv(x, five_reduce, 1, f"{name}.branch3.0"), five, large_kernel, f"{name}.branch3.1"),
        conv(pooled, projection, 1, f"{name}.branch4.1"),
    ]
    return layers.Concatenate(name=name)(branches)


def auxiliary_head(x, conv, num_classes, name, as_in_paper) -> keras.KerasTensor:
    """Logits from the middle of the network, section 5; training adds 0.3 of their losses."""
    if as_in_paper:
        x = layers.AveragePooling2D(5, 3, name=f"{name}.pool")(x)
    else:
        x = AdaptiveAveragePooling2D(4, name=f"{name}.pool")(x)
    x = layers.Permute((3, 1, 2), name=f"{name}.channels_first")(conv(x, 128, 1, f"{name}.conv"))
    x = layers.Dense(1024, name=f"{name}.fc1")(layers.Flatten(name=f"{name}.flatten")(x))
    x = layers.ReLU(name=f"{name}.relu")(x)
    return logits_or_features(layers.Dropout(0.7, name=f"{name}.dropout")(x), num_classes, f"{name}.fc2")


def conv_relu(x, filters, kernel_size, name, strides=1, as_in_paper=False, width_multiplier=1.0) -> keras.KerasTensor:
    """The padded convolution of all parts, with batch norm except in the paper's form, then ReLU."""
    if strides > 1:  # "same" pads less than torch where the stride is above 1
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}.pad")(x)
    filters = max(1, round(filters * width_multiplier))
    padding = "valid" if strides > 1 else "same"
    kwargs = {"use_bias": as_in_paper, "kernel_initializer": "he_normal", "name": f"{name}.conv"}
    x = layers.Conv2D(filters, kernel_size, strides, padding, **kwargs)(x)
    if not as_in_paper:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}.bn")(x)
    return layers.ReLU(name=name)(x)


def check_sizes(name, input_shape, num_classes, auxiliary, as_in_paper) -> int:
    """The smallest image that is accepted; ValueError where auxiliary heads are not possible."""
    if auxiliary and num_classes == 0:
        raise ValueError(f"{name}: auxiliary=True needs classes to predict, got num_classes=0")
    if auxiliary and as_in_paper and None in input_shape[:2]:
        raise ValueError(f"{name}: the paper's auxiliary heads need a known height and width, got {input_shape}")
    if as_in_paper:
        return 79 if auxiliary else 31
    return 15


def build(
    as_in_paper=False,
    auxiliary=False,
    width_multiplier=1.0,
    dropout=0.2,
    input_shape=(224, 224, 3),
    num_classes=1000,
    name="googlenet",
) -> keras.Model:
    """Images (batch, height, width, channels) to logits (batch, num_classes) in float32.

    With `auxiliary`, a list of three such logits: the classifier's and those after inception4a and inception4d. Height
    and width may be None, except with the paper's auxiliary heads. All numbers of filters are multiplied by
    `width_multiplier`. `num_classes=0` returns the averaged features. Raises ValueError for images that the poolings
    use up: below 15 x 15, for the paper's form 31 x 31, with its auxiliary heads 79 x 79.
    """
    minimum = check_sizes(name, input_shape, num_classes, auxiliary, as_in_paper)
    conv = partial(conv_relu, as_in_paper=as_in_paper, width_multiplier=width_multiplier)
    image = image_input(input_shape, minimum, name)
    x = ceil_max_pool(conv(image, 64, 7, "conv1", strides=2), "maxpool1")
    if as_in_paper:
        x = local_response_norm(x, "norm1")
    x = conv(conv(x, 64, 1, "conv2"), 192, 3, "conv3")
    if as_in_paper:
        x = local_response_norm(x, "norm2")
    x = ceil_max_pool(x, "maxpool2")
    heads = []
    for module in _MODULES:
        if module == "inception4a":
            x = ceil_max_pool(x, "maxpool3")
        elif module == "inception5a":
            x = ceil_max_pool(x, "maxpool4") if as_in_paper else layers.MaxPooling2D(2, 2, "same", name="maxpool4")(x)
        x = inception(x, conv, module, large_kernel=5 if as_in_paper else 3)
        if auxiliary and module in ("inception4a", "inception4d"):
            heads.append(auxiliary_head(x, conv, num_classes, f"aux{len(heads) + 1}", as_in_paper))
    x = layers.GlobalAveragePooling2D(dtype="float32", name="avgpool")(x)
    x = layers.Dropout(dropout, dtype="float32", name="dropout")(x)
    logits = logits_or_features(x, num_classes, "fc")
    return keras.Model(image, [logits, *heads] if heads else logits, name=name)

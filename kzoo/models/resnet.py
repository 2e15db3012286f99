"""ResNet: residual networks for image classification.

He et al. 2015, https://arxiv.org/abs/1512.03385, table 1, as trained today ("v1.5": the stride of a bottleneck sits on
its 3x3 convolution); 20, 32 and 56 layers are the small-image networks of section 4.2. Layer names follow torchvision's
checkpoints. torchvision has no small-image form: its names and the place of its zeros follow the usual PyTorch port
(akamaster/pytorch_resnet_cifar10). The last ReLU of block k of stage s is named `layer{s}.{k}`.
"""

import keras
from keras import layers

from kzoo.layers.images import batch_norm, image_input, logits_or_features, padded_conv, padded_max_pool

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "torchvision; a torch port"
VARIANTS = {
    "resnet50": {"block": "bottleneck", "depths": (3, 4, 6, 3)},
    "resnet18": {"block": "basic", "depths": (2, 2, 2, 2)},
    "resnet34": {"block": "basic", "depths": (3, 4, 6, 3)},
    "resnet101": {"block": "bottleneck", "depths": (3, 4, 23, 3)},
    "resnet152": {"block": "bottleneck", "depths": (3, 8, 36, 3)},
    "resnet20": {
        "block": "basic",
        "depths": (3, 3, 3),
        "filters": 16,
        "small_images": True,
        "input_shape": (32, 32, 3),
        "num_classes": 10,
    },
    "resnet32": {"like": "resnet20", "depths": (5, 5, 5)},
    "resnet56": {"like": "resnet20", "depths": (9, 9, 9)},
}
HEAD = ("fc", "linear")
HEADLESS = "feature_extraction"
NAMES = {
    "torchvision": {},
    "transformers": {
        "resnet.embedder.embedder.convolution.{}": "conv1.{}",
        "resnet.embedder.embedder.normalization.{}": "bn1.{}",
        "resnet.encoder.stages.0.layers.{}.shortcut.convolution.{}": "layer1.{}.downsample.0.{}",
        "resnet.encoder.stages.0.layers.{}.shortcut.normalization.{}": "layer1.{}.downsample.1.{}",
        "resnet.encoder.stages.0.layers.{}.layer.0.convolution.{}": "layer1.{}.conv1.{}",
        "resnet.encoder.stages.0.layers.{}.layer.0.normalization.{}": "layer1.{}.bn1.{}",
        "resnet.encoder.stages.0.layers.{}.layer.1.convolution.{}": "layer1.{}.conv2.{}",
        "resnet.encoder.stages.0.layers.{}.layer.1.normalization.{}": "layer1.{}.bn2.{}",
        "resnet.encoder.stages.0.layers.{}.layer.2.convolution.{}": "layer1.{}.conv3.{}",
        "resnet.encoder.stages.0.layers.{}.layer.2.normalization.{}": "layer1.{}.bn3.{}",
        "resnet.encoder.stages.1.layers.{}.shortcut.convolution.{}": "layer2.{}.downsample.0.{}",
        "resnet.encoder.stages.1.layers.{}.shortcut.normalization.{}": "layer2.{}.downsample.1.{}",
        "resnet.encoder.stages.1.layers.{}.layer.0.convolution.{}": "layer2.{}.conv1.{}",
        "resnet.encoder.stages.1.layers.{}.layer.0.normalization.{}": "layer2.{}.bn1.{}",
        "resnet.encoder.stages.1.layers.{}.layer.1.convolution.{}": "layer2.{}.conv2.{}",
        "resnet.encoder.stages.1.layers.{}.layer.1.normalization.{}": "layer2.{}.bn2.{}",
        "resnet.encoder.stages.1.layers.{}.layer.2.convolution.{}": "layer2.{}.conv3.{}",
        "resnet.encoder.stages.1.layers.{}.layer.2.normalization.{}": "layer2.{}.bn3.{}",
        "resnet.encoder.stages.2.layers.{}.shortcut.convolution.{}": "layer3.{}.downsample.0.{}",
        "resnet.encoder.stages.2.layers.{}.shortcut.normalization.{}": "layer3.{}.downsample.1.{}",
        "resnet.encoder.stages.2.layers.{}.layer.0.convolution.{}": "layer3.{}.conv1.{}",
        "resnet.encoder.stages.2.layers.{}.layer.0.normalization.{}": "layer3.{}.bn1.{}",
        "resnet.encoder.stages.2.layers.{}.layer.1.convolution.{}": "layer3.{}.conv2.{}",
        "resnet.encoder.stages.2.layers.{}.layer.1.normalization.{}": "layer3.{}.bn2.{}",
        "resnet.encoder.stages.2.layers.{}.layer.2.convolution.{}": "layer3.{}.conv3.{}",
        "resnet.encoder.stages.2.layers.{}.layer.2.normalization.{}": "layer3.{}.bn3.{}",
        "resnet.encoder.stages.3.layers.{}.shortcut.convolution.{}": "layer4.{}.downsample.0.{}",
        "resnet.encoder.stages.3.layers.{}.shortcut.normalization.{}": "layer4.{}.downsample.1.{}",
        "resnet.encoder.stages.3.layers.{}.layer.0.convolution.{}": "layer4.{}.conv1.{}",
        "resnet.encoder.stages.3.layers.{}.layer.0.normalization.{}": "layer4.{}.bn1.{}",
        "resnet.encoder.stages.3.layers.{}.layer.1.convolution.{}": "layer4.{}.conv2.{}",
        "resnet.encoder.stages.3.layers.{}.layer.1.normalization.{}": "layer4.{}.bn2.{}",
        "resnet.encoder.stages.3.layers.{}.layer.2.convolution.{}": "layer4.{}.conv3.{}",
        "resnet.encoder.stages.3.layers.{}.layer.2.normalization.{}": "layer4.{}.bn3.{}",
        "classifier.1.{}": "fc.{}",
    },
    # ResNetModel by itself
    "base_model": {
        "like": "transformers",
        "embedder.{}": "resnet.embedder.{}",
        "encoder.{}": "resnet.encoder.{}",
        "classifier.{}": None,
    },
}
CONFIG = {
    "resnet": {
        "models": {
            "ResNetForImageClassification": {"num_classes": "id2label"},
            "ResNetModel": {"num_classes": 0},
        },
        "problems": {
            "one label": "regression",
            "regression": "regression",
            "multi_label_classification": "multilabel_classification",
        },
        "keywords": {
            "layer_type": "block",
            "depths": "depths",
            "embedding_size": "filters",
            "num_channels": ("input_shape", 2),
        },
        "values": {
            "hidden_act": ("relu", None),
            "downsample_in_first_stage": (False, None),
            "downsample_in_bottleneck": (False, None),
        },
        # widths of the stages, which the shapes of the weights confirm, and which features a backbone would give
        "ignored": ("hidden_sizes", "stage_names", "out_features", "out_indices"),
    },
    "timm": {
        "models": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
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


def conv_norm(x, filters, kernel_size, strides, conv_name, norm_name, **kwargs) -> keras.KerasTensor:
    """Convolution without bias, then batch norm."""
    x = padded_conv(x, filters, kernel_size, conv_name, strides, use_bias=False)
    return batch_norm(x, norm_name, **kwargs)


# The last norm of a block starts at zero, so the block starts as the identity (Goyal et al. 2017, section 5.1).
def basic(x, filters, strides, name) -> keras.KerasTensor:
    """Two 3x3 convolutions, figure 5 left."""
    x = conv_norm(x, filters, 3, strides, f"{name}.conv1", f"{name}.bn1")
    x = layers.ReLU(name=f"{name}.relu1")(x)
    return conv_norm(x, filters, 3, 1, f"{name}.conv2", f"{name}.bn2", gamma_initializer="zeros")


def bottleneck(x, filters, strides, name) -> keras.KerasTensor:
    """1x1 down, 3x3, 1x1 up to four times the filters, figure 5 right."""
    x = conv_norm(x, filters, 1, 1, f"{name}.conv1", f"{name}.bn1")
    x = layers.ReLU(name=f"{name}.relu1")(x)
    x = conv_norm(x, filters, 3, strides, f"{name}.conv2", f"{name}.bn2")
    x = layers.ReLU(name=f"{name}.relu2")(x)
    return conv_norm(x, 4 * filters, 1, 1, f"{name}.conv3", f"{name}.bn3", gamma_initializer="zeros")


def projection(x, filters, strides, name) -> keras.KerasTensor:
    """Shortcut by a 1x1 convolution where the shape changes (option B of section 4.1)."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    return conv_norm(x, filters, 1, strides, f"{name}.downsample.0", f"{name}.downsample.1")


def zero_padding(x, filters, strides, name) -> keras.KerasTensor:
    """Shortcut without parameters (option A): every second pixel, and zeros for the new channels, half on each side."""
    if strides > 1:
        x = layers.AveragePooling2D(1, strides, name=f"{name}.subsample")(x)
    if (missing := filters - x.shape[-1]) > 0:
        # The layer takes axes 2 and 3 for height and width; here they are width and channels.
        padding = ((0, 0), (missing // 2, missing - missing // 2))
        x = layers.ZeroPadding2D(padding, data_format="channels_first", name=f"{name}.zeros")(x)
    return x


_BLOCKS = {"basic": basic, "bottleneck": bottleneck}


def build(
    block="bottleneck",
    depths=(3, 4, 6, 3),
    filters=64,
    small_images=False,
    input_shape=(224, 224, 3),
    num_classes=1000,
    name="resnet50",
) -> keras.Model:
    """Images (batch, height, width, channels) to logits (batch, num_classes) in float32.

    Images of any size are accepted; height and width may be None. `filters` is the width of the first stage, which
    every later stage doubles; `small_images` uses a 3x3 stem without pooling and shortcuts without parameters.
    `num_classes=0` returns the averaged features. Raises ValueError for an unknown block.
    """
    if block not in _BLOCKS:
        raise ValueError(f"{name}: block must be one of {', '.join(_BLOCKS)}, got {block!r}")
    image = image_input(input_shape, 1, name)
    stem = (3, 1) if small_images else (7, 2)
    x = layers.ReLU(name="relu")(conv_norm(image, filters, *stem, "conv1", "bn1"))
    if not small_images:
        x = padded_max_pool(x, "maxpool")
    shortcut = zero_padding if small_images else projection
    for stage, depth in enumerate(depths, 1):
        for index in range(depth):
            block_name = f"layer{stage}.{index}"
            strides = 2 if stage > 1 and index == 0 else 1
            y = _BLOCKS[block](x, filters * 2 ** (stage - 1), strides, block_name)
            x = shortcut(x, y.shape[-1], strides, block_name)
            x = layers.ReLU(name=block_name)(layers.Add(name=f"{block_name}.add")([x, y]))
    x = layers.GlobalAveragePooling2D(dtype="float32", name="avgpool")(x)
    logits = logits_or_features(x, num_classes, "linear" if small_images else "fc")
    return keras.Model(image, logits, name=name)

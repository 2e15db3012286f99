"""Video ResNet: residual networks over space and time, for video classification.

Tran et al. 2018, https://arxiv.org/abs/1711.11248, figure 1: R3D (3x3x3 convolutions), MC3 (3x3x3 in the first stage,
1x3x3 in the others) and R(2+1)D (1x3x3, then 3x1x1, with as many parameters as one of 3x3x3: section 3.5). Layer names
follow torchvision's checkpoints. The last ReLU of block k of stage s is named `layer{s}.{k}`.
"""

import keras
from keras import layers

from kzoo.layers.images import batch_norm, logits_or_features
from kzoo.support.suggest import did_you_mean

TASK = "video_classification"
INPUTS = {"video": "video"}
AGREES_WITH = "torchvision"
VARIANTS = {
    "r3d_18": {"block": "3d"},
    "mc3_18": {"block": "mixed"},
    "r2plus1d_18": {"block": "2plus1d"},
    # for short clips of small pictures, as they come
    "r3d_small": {
        "block": "3d",
        "depths": (1, 1),
        "filters": 16,
        "frame_rate": 0.0,
        "input_shape": (8, 32, 32, 1),
        "num_classes": 8,
    },
}
HEAD = ("fc",)
HEADLESS = "feature_extraction"


def conv(x, filters, kernel_size, strides, name) -> keras.KerasTensor:
    """A convolution without bias and with torch's symmetric zero padding."""
    padding = tuple(size // 2 for size in kernel_size)
    if any(padding):
        x = layers.ZeroPadding3D(padding, name=f"{name}.pad")(x)
    options = {"use_bias": False, "kernel_initializer": "he_normal", "name": name}
    return layers.Conv3D(filters, kernel_size, strides, **options)(x)


def whole(x, filters, middle, stride, name) -> keras.KerasTensor:
    """3x3x3."""
    return conv(x, filters, (3, 3, 3), (stride,) * 3, name)


def without_time(x, filters, middle, stride, name) -> keras.KerasTensor:
    """1x3x3: every frame by itself."""
    return conv(x, filters, (1, 3, 3), (1, stride, stride), name)


def factored(x, filters, middle, stride, name) -> keras.KerasTensor:
    """1x3x3 to `middle` filters, a ReLU, then 3x1x1."""
    x = conv(x, middle, (1, 3, 3), (1, stride, stride), f"{name}.0")
    x = layers.ReLU(name=f"{name}.2")(batch_norm(x, f"{name}.1"))
    return conv(x, filters, (3, 1, 1), (stride, 1, 1), f"{name}.3")


# block -> the convolution of each stage; the last one goes on
_BLOCKS = {"3d": (whole,), "mixed": (whole, without_time), "2plus1d": (factored,)}


def stem(x, filters, block) -> keras.KerasTensor:
    """Half the height and width, all frames; that of R(2+1)D is factored as well."""
    if block == "2plus1d":
        x = batch_norm(conv(x, filters * 45 // 64, (1, 7, 7), (1, 2, 2), "stem.0"), "stem.1")
        x = conv(layers.ReLU(name="stem.2")(x), filters, (3, 1, 1), (1, 1, 1), "stem.3")
        return layers.ReLU(name="stem")(batch_norm(x, "stem.4"))
    x = conv(x, filters, (3, 7, 7), (1, 2, 2), "stem.0")
    return layers.ReLU(name="stem")(batch_norm(x, "stem.1"))


def residual(x, filters, convolve, stride, name) -> keras.KerasTensor:
    """Two convolutions, added to their input, which a 1x1x1 convolution brings to their shape."""
    inputs = x.shape[-1]
    middle = inputs * filters * 27 // (inputs * 9 + 3 * filters)
    y = convolve(x, filters, middle, stride, f"{name}.conv1.0")
    y = layers.ReLU(name=f"{name}.conv1.2")(batch_norm(y, f"{name}.conv1.1"))
    y = batch_norm(convolve(y, filters, middle, 1, f"{name}.conv2.0"), f"{name}.conv2.1")
    if stride > 1 or inputs != filters:
        strides = (1, stride, stride) if convolve is without_time else (stride,) * 3
        x = batch_norm(conv(x, filters, (1, 1, 1), strides, f"{name}.downsample.0"), f"{name}.downsample.1")
    return layers.ReLU(name=name)(layers.Add(name=f"{name}.add")([x, y]))


def build(
    block="3d",
    depths=(2, 2, 2, 2),
    filters=64,
    frame_rate=15.0,
    input_shape=(16, 112, 112, 3),
    num_classes=400,
    name="r3d_18",
) -> keras.Model:
    """Videos (batch, frames, height, width, channels) to logits (batch, num_classes) in float32.

    `filters` is the width of the first stage, which every later one doubles while it halves height, width and, but for
    "mixed", the frames. `frame_rate` is that of the frames that the network sees in a second, 0 for frames as they
    come. `num_classes=0` returns the averaged features. Raises ValueError for an unknown block and for an input_shape
    that is not (frames, height, width, channels), all known.
    """
    if block not in _BLOCKS:
        raise ValueError(f"{name}: {did_you_mean('block', block, list(_BLOCKS))}")
    if len(input_shape) != 4 or None in input_shape:
        raise ValueError(f"{name}: input_shape must be (frames, height, width, channels), all known, got {input_shape}")
    video = keras.Input(input_shape, name="video")
    x = stem(video, filters, block)
    for stage, depth in enumerate(depths):
        convolve = _BLOCKS[block][min(stage, len(_BLOCKS[block]) - 1)]
        for index in range(depth):
            stride = 2 if stage and not index else 1
            x = residual(x, filters * 2**stage, convolve, stride, f"layer{stage + 1}.{index}")
    x = layers.GlobalAveragePooling3D(dtype="float32", name="avgpool")(x)
    return keras.Model(video, logits_or_features(x, num_classes, "fc"), name=name)

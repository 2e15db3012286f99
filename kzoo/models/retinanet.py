"""RetinaNet: a one-stage detector, heads shared by the levels of a feature pyramid over any image classifier.

Lin et al. 2017, https://arxiv.org/abs/1708.02002, section 4 and figure 3, over the pyramid of Lin et al. 2016 (FPN,
https://arxiv.org/abs/1612.03144): nine anchors for each cell, five levels, a sigmoid for each class and none for the
background. Layer names follow torchvision's checkpoints, the classifier's with `backbone.body.` before them. Batch norm
trains, as in torchvision without weights; a frozen one is `train_from`. torchvision runs its published COCO weights
with an epsilon of zero: `batch_norm_epsilon=1e-12` is that.
"""

import math

import keras
from keras import layers

from kzoo import graph
from kzoo.layers.images import padded_conv
from kzoo.layers.pyramids import NearestResize

TASK = "object_detection"
INPUTS = {"image": "image"}
AGREES_WITH = "torchvision"
BUILT_FROM = {
    "backbone": {"task": "image_classification", "options": "backbone_options", "shares": ("input_shape",)},
}
VARIANTS = {"retinanet_resnet50_fpn": {"backbone": "resnet50", "taps": ("layer2", "layer3", "layer4")}}
HEAD = ("head.classification_head.cls_logits",)
_NUM_ANCHORS = 9  # three sizes times three shapes a cell, section 4
_FOREGROUND_PRIOR = 0.01  # section 4.1: what a fresh head believes of every class
_SMALL_WEIGHTS = {"class_name": "RandomNormal", "config": {"stddev": 0.01}}


def tapped_maps(backbone, taps, epsilon, name) -> tuple:
    """The image and the maps of the taps, from the backbone's layers as `backbone.body.` and their own names."""

    def changes(layer):
        return {"epsilon": epsilon} if isinstance(layer, layers.BatchNormalization) else {}

    image, maps = graph.embed(backbone, "backbone.body.", taps, changes=changes)
    for tap, x in zip(taps, maps, strict=True):
        if len(x.shape) != 4:
            raise ValueError(f"{name}: tap {tap!r} gives {x.shape}, wanted maps (batch, height, width, channels)")
    return image, maps


def pyramid(maps, filters, num_extra) -> list:
    """The maps merged from the coarsest to the finest, figure 3 of the pyramid's paper, and coarser ones on top."""
    prefix, padded = "backbone.fpn", {"kernel_initializer": "lecun_uniform"}
    merged, levels = None, []
    for index in reversed(range(len(maps))):
        x = padded_conv(maps[index], filters, 1, f"{prefix}.inner_blocks.{index}.0", **padded)
        if merged is not None:
            merged = NearestResize(name=f"{prefix}.upsample.{index}")(merged, x)
            x = layers.Add(name=f"{prefix}.add.{index}")([x, merged])
        merged = x
        levels.insert(0, padded_conv(x, filters, 3, f"{prefix}.layer_blocks.{index}.0", **padded))
    x = levels[-1]
    for index in range(num_extra):
        level = f"p{index + 6}"
        if index > 0:
            x = layers.ReLU(name=f"{prefix}.extra_blocks.{level}.relu")(x)
        x = padded_conv(x, filters, 3, f"{prefix}.extra_blocks.{level}", strides=2, **padded)
        levels.append(x)
    return levels


def head(levels, depth, width, prefix, leaf, bias, output) -> keras.KerasTensor:
    """The same convolutions on every level, then (batch, anchors of all levels, width) in float32."""
    filters, same = levels[0].shape[-1], {"padding": "same", "kernel_initializer": _SMALL_WEIGHTS}
    tower = []
    for index in range(depth):
        tower.append(layers.Conv2D(filters, 3, **same, name=f"{prefix}.conv.{index}.0"))
        tower.append(layers.ReLU(name=f"{prefix}.conv.{index}.1"))
    tower.append(
        layers.Conv2D(
            _NUM_ANCHORS * width,
            3,
            bias_initializer=keras.initializers.Constant(bias),
            dtype="float32",
            name=f"{prefix}.{leaf}",
            **same,
        )
    )
    rows = []
    for number, x in enumerate(levels):
        for layer in tower:
            x = layer(x)
        rows.append(layers.Reshape((-1, width), dtype="float32", name=f"{prefix}.rows.{number}")(x))
    x = rows[0] if len(rows) == 1 else layers.Concatenate(axis=1, dtype="float32", name=f"{prefix}.rows")(rows)
    return layers.Activation("linear", dtype="float32", name=output)(x)


def build(
    backbone="resnet50",
    taps=("layer2", "layer3", "layer4"),
    backbone_options=None,
    filters=256,
    head_depth=4,
    anchor_sizes=(32, 64, 128, 256, 512),
    batch_norm_epsilon=1e-5,
    input_shape=(800, 800, 3),
    num_classes=91,
    name="retinanet_resnet50_fpn",
) -> keras.Model:
    """Images (batch, height, width, channels) to what is predicted for every anchor, both in float32.

    A dict: `class_logits` (batch, num_anchors, num_classes), one sigmoid logit for each class, and `box_regression`
    (batch, num_anchors, 4), offsets for `kzoo.tasks.object_detection` to decode. Anchors are ordered by level, from the
    finest, within a level by row, with nine for each cell. Height and width may be None and need not be multiples of
    any stride.

    Args:
        backbone: the graph of an image classifier, for which `kzoo.build` takes its variant, such as "densenet121".
        taps: its stages or layers that the pyramid stands on, from the finest map to the coarsest.
        backbone_options: dict of keywords of the backbone's own `build`, for `kzoo.build` to make it with.
        filters: channels of every level of the pyramid and of the heads.
        head_depth: 3x3 convolutions of each head before its output.
        anchor_sizes: smallest side, in pixels, of the square anchors of each level; more sizes than taps add coarser
            levels, each half the size of the last.

    Raises ValueError for an unknown backbone or tap, for fewer anchor sizes than taps, and TypeError for an unknown
    keyword in `backbone_options`.
    """
    if not 1 <= len(taps) <= len(anchor_sizes):
        raise ValueError(
            f"{name}: anchor_sizes has {len(anchor_sizes)} levels and taps has {len(taps)}; at least one tap "
            "and a size for each are needed"
        )
    if not isinstance(backbone, keras.Model):
        raise TypeError(f"{name}: backbone must be a model here, got {backbone!r}; kzoo.build makes it from its name")
    image, maps = tapped_maps(backbone, taps, batch_norm_epsilon, name)
    levels = pyramid(maps, filters, len(anchor_sizes) - len(taps))
    prior = -math.log((1 - _FOREGROUND_PRIOR) / _FOREGROUND_PRIOR)
    heads = {
        "class_logits": (num_classes, "head.classification_head", "cls_logits", prior),
        "box_regression": (4, "head.regression_head", "bbox_reg", 0.0),
    }
    outputs = {key: head(levels, head_depth, *choices, output=key) for key, choices in heads.items()}
    return keras.Model(image, outputs, name=name)

"""Which channels of a flat graph stand or fall together: dependencies between its layers, channel by channel.

Fang et al. 2023 (DepGraph), https://arxiv.org/abs/2301.12900, section 3, find groups of layers that must be pruned
alike. Here every channel of every tensor has a number, and numbers that a layer adds, multiplies or normalises together
become one set. So a shortcut that fills up with zeros, or a concatenation, ties just the channels that really meet.
"""

import dataclasses
import math

import keras
import numpy as np
from keras import layers

from kzoo import graph
from kzoo.layers import AdaptiveAveragePooling2D, NearestResize
from kzoo.layers.activations import gelu, gelu_tanh

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
MATRICES = (layers.Dense, *CONVOLUTIONS, *TRANSPOSED)


def _of_any_rank(*names):
    """Keras's layers of these names for one, two and three dimensions."""
    return tuple(getattr(layers, f"{name}{rank}D") for name in names for rank in (1, 2, 3))


ELEMENTWISE = (layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Dropout, layers.GaussianNoise, layers.GaussianDropout)
ELEMENTWISE += (layers.Identity, layers.ActivityRegularization)
SPATIAL = _of_any_rank("MaxPooling", "AveragePooling", "Cropping", "UpSampling", "SpatialDropout")
SPATIAL += (layers.ZeroPadding1D, layers.ZeroPadding3D, AdaptiveAveragePooling2D, NearestResize)
GLOBAL = _of_any_rank("GlobalAveragePooling", "GlobalMaxPooling")
MERGES = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
NAMES = "linear relu relu6 leaky_relu elu selu celu gelu silu sigmoid tanh softplus softsign mish exponential"
ACTIVATIONS = {getattr(keras.activations, name) for name in (*NAMES.split(), "hard_sigmoid", "hard_silu")}
ACTIVATIONS |= {gelu, gelu_tanh}


@dataclasses.dataclass(frozen=True)
class Label:
    """The channels of a tensor: the axis they lie along and the number of each one."""

    axis: int
    channels: np.ndarray


@dataclasses.dataclass
class Role:
    """What a layer does with channels: the numbers of those it reads, makes or normalises; None where it has none.

    `padding` has those of the zeros it puts before and behind the channels.
    """

    layer: keras.layers.Layer
    reads: np.ndarray | None = None
    makes: np.ndarray | None = None
    keeps: np.ndarray | None = None
    padding: tuple | None = None


class Channels:
    """The channels of a model and the layers that have to do with them.

    Attributes:
        roles: dict from a layer's name to its `Role`.
        stuck: names of layers that ended a dependency.

    A layer that is not known to treat every channel by itself ends a dependency: none of the channels that enter or
    leave it can be removed. Nor can those of the model's outputs, so that only the inputs of the last layers shrink.
    """

    def __init__(self, model):
        self._parents, self._fixed = [], set()
        self.roles, self.stuck, labels_of = {}, set(), {}
        _, steps, outputs = graph.record(model)
        for step in steps:
            labels = [labels_of.get(id(tensor)) for tensor in step.inputs]
            results = keras.tree.flatten(step.outputs)
            rule = RULES.get(type(step.layer), _unknown) if len(results) == 1 else _unknown
            label = rule(self, step, labels)
            if label is not None:
                labels_of[id(results[0])] = label
        for tensor in keras.tree.flatten(outputs):
            self.fix(labels_of.get(id(tensor)))
        for name in self.stuck & self.roles.keys():  # known in one call and not in another
            role = self.roles[name]
            for channels in (role.reads, role.makes, role.keeps, *(role.padding or ())):
                self.fix(None if channels is None else Label(0, channels))

    def fresh(self, count) -> np.ndarray:
        """Numbers for new channels."""
        first = len(self._parents)
        self._parents.extend(range(first, first + count))
        return np.arange(first, first + count)

    def fix(self, label) -> None:
        """Keeps the channels of a label from being removed."""
        if label is not None:
            self._fixed.update(label.channels.tolist())

    def tie(self, first, second) -> None:
        """Makes one set of each two channels at the same place of two arrays."""
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            self._parents[self._root(one)] = self._root(other)

    def _root(self, channel):
        while self._parents[channel] != channel:
            self._parents[channel] = channel = self._parents[self._parents[channel]]
        return channel

    def roots(self, channels) -> np.ndarray:
        """The number of each channel's set."""
        return np.array([self._root(channel) for channel in np.asarray(channels).tolist()], "int64")

    def fixed(self) -> set:
        """The sets that must stay whole."""
        return {self._root(channel) for channel in self._fixed}


def _unknown(channels, step, labels):
    channels.stuck.add(step.layer.name)
    for label in labels:
        channels.fix(label)


def _last(step, labels):
    """Whether all labels are along the last axis of their tensors."""
    return all(label is None or label.axis == len(x.shape) - 1 for label, x in zip(labels, step.inputs, strict=True))


def _is_channels_last(layer):
    return getattr(layer, "data_format", None) in (None, "channels_last")


def _matrix(channels, step, labels):
    """Every output channel is made of all input channels."""
    layer = step.layer
    is_plain = not getattr(layer, "lora_enabled", False) and not getattr(layer, "quantization_mode", None)
    known = _is_channels_last(layer) and getattr(layer, "groups", 1) == 1 and is_plain
    if not known or not _last(step, labels):
        return _unknown(channels, step, labels)
    reads = labels[0].channels if labels[0] else None
    role = channels.roles.get(layer.name)
    if role:
        _share(channels, role, labels[0])
    else:
        count = layer.units if isinstance(layer, layers.Dense) else layer.filters
        role = channels.roles[layer.name] = Role(layer, reads=reads, makes=channels.fresh(count))
    label = Label(len(step.outputs.shape) - 1, role.makes)
    if layer.activation not in ACTIVATIONS:  # softmax mixes channels
        channels.fix(label)
    return label


def _share(channels, role, label):
    """A layer that is called again reads the same channels."""
    if label is not None and role.reads is not None:
        channels.tie(role.reads, label.channels)
        return
    channels.fix(label)
    if role.reads is not None:
        channels.fix(Label(0, role.reads))


def _depthwise(channels, step, labels):
    """Every input channel makes a few output channels by itself."""
    layer, label = step.layer, labels[0]
    if label is None or not _is_channels_last(layer) or not _last(step, labels) or layer.name in channels.roles:
        return _unknown(channels, step, labels)
    channels.roles[layer.name] = Role(layer, keeps=label.channels)
    if layer.activation not in ACTIVATIONS:
        channels.fix(label)
    return Label(label.axis, np.repeat(label.channels, layer.depth_multiplier))


def _batch_norm(channels, step, labels):
    layer, label = step.layer, labels[0]
    if label is None or layer.axis % len(step.inputs[0].shape) != label.axis or layer.name in channels.roles:
        return _unknown(channels, step, labels)
    channels.roles[layer.name] = Role(layer, keeps=label.channels)
    return label


def _elementwise(channels, step, labels):
    return labels[0]


def _activation(channels, step, labels):
    return labels[0] if step.layer.activation in ACTIVATIONS else _unknown(channels, step, labels)


def _spatial(channels, step, labels):
    if not _is_channels_last(step.layer) or not _last(step, labels):
        return _unknown(channels, step, labels)
    return labels[0]


def _global(channels, step, labels):
    if labels[0] is None or not _is_channels_last(step.layer) or not _last(step, labels):
        return _unknown(channels, step, labels)
    return Label(len(step.outputs.shape) - 1, labels[0].channels)


def _padding(channels, step, labels):
    """Zeros around the image; or around the channels, where the layer is told that they are its width."""
    layer, label = step.layer, labels[0]
    if label is None or not _last(step, labels) or layer.name in channels.roles:
        return _unknown(channels, step, labels)
    if layer.data_format == "channels_last":
        return label
    before, behind = (channels.fresh(count) for count in layer.padding[1])
    channels.roles[layer.name] = Role(layer, padding=(before, behind))
    return Label(label.axis, np.concatenate([before, label.channels, behind]))


def _merge(channels, step, labels):
    """Channels that meet become one set."""
    alike = None not in labels and len({(label.axis, len(label.channels)) for label in labels}) == 1
    if not alike or len({len(tensor.shape) for tensor in step.inputs}) > 1:
        return _unknown(channels, step, labels)
    for label in labels[1:]:
        channels.tie(labels[0].channels, label.channels)
    return labels[0]


def _concatenate(channels, step, labels):
    rank = len(step.outputs.shape)
    axes = {label.axis for label in labels if label is not None}
    if len(axes) != 1:
        return _unknown(channels, step, labels)
    axis = axes.pop()
    if step.layer.axis % rank != axis:
        return _merge(channels, step, labels)
    parts = []
    for tensor, label in zip(step.inputs, labels, strict=True):
        if label is None:
            if tensor.shape[axis] is None:
                return _unknown(channels, step, labels)
            label = Label(axis, channels.fresh(tensor.shape[axis]))
            channels.fix(label)
        parts.append(label.channels)
    return Label(axis, np.concatenate(parts))


def _permute(channels, step, labels):
    label = labels[0]
    return label and Label(step.layer.dims.index(label.axis) + 1, label.channels)


def _flatten(channels, step, labels):
    shape, label = step.inputs[0].shape[1:], labels[0]
    if label is None or None in shape or not _is_channels_last(step.layer):
        return _unknown(channels, step, labels)
    ones = [1] * len(shape)
    ones[label.axis - 1] = -1
    return Label(1, np.broadcast_to(label.channels.reshape(ones), shape).reshape(math.prod(shape)))


# exact class of a layer -> rule(channels, step, labels of its inputs), which gives the label of its output or None
RULES = {
    **dict.fromkeys(MATRICES, _matrix),
    **dict.fromkeys(DEPTHWISE, _depthwise),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(SPATIAL, _spatial),
    **dict.fromkeys(GLOBAL, _global),
    **dict.fromkeys(MERGES, _merge),
    layers.BatchNormalization: _batch_norm,
    layers.Activation: _activation,
    layers.ZeroPadding2D: _padding,
    layers.Concatenate: _concatenate,
    layers.Permute: _permute,
    layers.Flatten: _flatten,
}

"""Batch normalisation folded into the layer before it and padding merged into convolutions: fewer layers, same outputs.

Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2: at inference batch norm is one factor and one offset a
channel, and a linear layer before it can hold both. Batch norm before a convolution (DenseNet, pre-activation ResNets)
stays: a ReLU or zero padding lies between, through which no offset can be moved.
"""

import collections
import dataclasses

import keras
import numpy as np
from keras import layers

from kzoo import graph
from kzoo.catalog import card_of
from kzoo.rewrites.copies import built_like

# layer class -> what a factor of each output channel (channels,) looks like beside its last kernel
FOLDABLE = {
    layers.Dense: lambda scale, shape: scale,
    layers.Conv1D: lambda scale, shape: scale,
    layers.Conv2D: lambda scale, shape: scale,
    layers.Conv3D: lambda scale, shape: scale,
    layers.SeparableConv1D: lambda scale, shape: scale,
    layers.SeparableConv2D: lambda scale, shape: scale,
    layers.DepthwiseConv1D: lambda scale, shape: scale.reshape(shape[-2:]),
    layers.DepthwiseConv2D: lambda scale, shape: scale.reshape(shape[-2:]),
    layers.Conv1DTranspose: lambda scale, shape: scale[:, None],
    layers.Conv2DTranspose: lambda scale, shape: scale[:, None],
    layers.Conv3DTranspose: lambda scale, shape: scale[:, None],
}
PADDABLE = (layers.Conv2D, layers.DepthwiseConv2D)


def fold_batch_norm(model) -> keras.Model:
    """A model for inference with the same outputs and fewer layers; the given model is left as it is.

    A batch norm that directly follows a linear convolution or Dense layer whose output nothing else reads is folded
    into that layer. A ZeroPadding2D before a convolution becomes its padding "same" where both put the same zeros at
    the same places: strides of 1 and a kernel that reaches as far as the padding, or a known size at which they agree.
    Changed layers are new, under their old names; all others are shared with the given model.

    Returns a functional model with the inputs, outputs and card of the given one, without its architecture, since what
    `kzoo.build` makes has other weights. Raises ValueError for a model that is not a functional graph.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise ValueError(f"fold_batch_norm takes a functional keras.Model, got {type(model).__name__}")
    inputs, steps, outputs = graph.record(model)
    norms, pads = _plan(steps, outputs)
    skipped = {id(layer) for layer in [*norms.values(), *pads.values()]}
    values = {id(tensor): tensor for tensor in keras.tree.flatten(inputs)}

    def call(step, args, kwargs):
        if id(step.layer) in skipped:
            return (args or tuple(kwargs.values()))[0]
        layer, key = step.layer, id(step.layer)
        if key in norms or key in pads:
            layer = _changed(layer, step.inputs[0].shape, norms.get(key), key in pads)
        return layer(*args, **kwargs)

    graph.replay(steps, values, call)
    results = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs)
    folded = keras.Model(inputs, results, name=model.name)
    folded.kzoo = dataclasses.replace(card_of(model), architecture=None)
    return folded


def _plan(steps, outputs):
    """What to fold and merge: two dicts from the id of a layer that stays to the layer that it takes in."""
    num_calls = collections.Counter(id(step.layer) for step in steps)
    readers = collections.Counter(id(tensor) for step in steps for tensor in step.inputs)
    readers.update(id(tensor) for tensor in keras.tree.flatten(outputs))
    makers = {id(step.outputs): step for step in steps if isinstance(step.outputs, keras.KerasTensor)}
    norms, pads = {}, {}
    for step in steps:
        before = makers.get(id(step.inputs[0])) if step.inputs else None
        if before is None or readers[id(step.inputs[0])] > 1:
            continue
        if num_calls[id(step.layer)] > 1 or num_calls[id(before.layer)] > 1:
            continue
        if _takes_norm(before, step):
            norms[id(before.layer)] = step.layer
        elif _takes_padding(step, before):
            pads[id(step.layer)] = before.layer
    return norms, pads


def _takes_norm(before, step):
    layer, norm = before.layer, step.layer
    if type(norm) is not layers.BatchNormalization or step.kwargs.get("training") or type(layer) not in FOLDABLE:
        return False
    if layer.activation is not keras.activations.linear:
        return False
    rank = len(before.outputs.shape)
    channels = 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1
    is_plain = not getattr(layer, "lora_enabled", False) and not getattr(layer, "quantization_mode", None)
    return is_plain and norm.axis % rank == channels and norm.compute_dtype == layer.compute_dtype


def _takes_padding(step, before):
    """Whether padding "same" puts the zeros where the layer before puts them, and no output more or less."""
    conv, pad = step.layer, before.layer
    if type(conv) not in PADDABLE or type(pad) is not layers.ZeroPadding2D:
        return False
    if conv.padding != "valid" or conv.data_format != pad.data_format:
        return False
    first = 2 if conv.data_format == "channels_first" else 1
    sizes = before.inputs[0].shape[first : first + 2]
    reaches = [(size - 1) * dilation + 1 for size, dilation in zip(conv.kernel_size, conv.dilation_rate, strict=True)]
    axes = zip(sizes, pad.padding, reaches, conv.strides, strict=True)
    return all(_same_equals(size, *padding, reach, stride) for size, padding, reach, stride in axes)


def _same_equals(size, low, high, reach, stride):
    """Along one axis; `reach` is the kernel's size with its gaps."""
    if stride == 1:
        return low == (reach - 1) // 2 and low + high == reach - 1
    if size is None:
        return False
    num_outputs = -(-size // stride)
    total = max((num_outputs - 1) * stride + reach - size, 0)
    return low == total // 2 and num_outputs == (size + low + high - reach) // stride + 1


def _changed(layer, input_shape, norm, merges_padding):
    """A new layer of the same class and name that does the batch norm's and the padding's work too."""
    changes = {}
    if merges_padding:
        changes["padding"] = "same"
    if norm:
        changes["use_bias"] = True
    weights = _folded_weights(layer, layer.get_weights(), norm) if norm else None
    return built_like(layer, input_shape, weights=weights, **changes)


def _folded_weights(layer, weights, norm):
    """Kernels and a bias that hold the norm, computed in float64."""
    numbers = [np.asarray(value, "float64") for value in weights]
    kernels, bias = (numbers[:-1], numbers[-1]) if layer.use_bias else (numbers, 0.0)

    def values(variable, default):
        return default if variable is None else keras.ops.convert_to_numpy(variable).astype("float64")

    variance = values(norm.moving_variance, None)
    scale = values(norm.gamma, 1.0) / np.sqrt(variance + norm.epsilon)
    offset = values(norm.beta, 0.0) + (bias - values(norm.moving_mean, None)) * scale
    last = kernels[-1] * FOLDABLE[type(layer)](scale, kernels[-1].shape)
    return [*kernels[:-1], last, offset]

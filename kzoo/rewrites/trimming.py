"""Networks that crop both ends of a sequence at last compute no more of it than what is left depends on."""

import math

import keras
from keras import layers

from kzoo import graph

# what gives each place of a sequence from the same place alone
BY_PLACE = (layers.Activation, layers.Add, layers.BatchNormalization, layers.Dropout, layers.ReLU)


def trim_flanks(model) -> keras.Model:
    """A model with the same outputs, in inference, whose convolutions leave out what a Cropping1D would cut off later.

    A convolution with padding gives what one without gives, but for the places near the ends: where these are cut off,
    the input may be cut before. Changed layers are new, under their old names, with copies of the weights; all others
    are shared. The given model stays as it is, and is returned where nothing is cropped.
    """
    if not any(_cut_of(layer) for layer in model.layers):
        return model
    inputs, steps, outputs = graph.record(model)
    unneeded = _unneeded(steps, outputs)
    values = {id(tensor): (tensor, 0) for tensor in keras.tree.flatten(inputs)}
    for step in steps:
        wanted = unneeded.get(id(keras.tree.flatten(step.outputs)[0]), 0)
        half = _half_of(step.layer)
        if cut := _cut_of(step.layer):
            found = _cropped(values[id(step.inputs[0])], wanted + cut, f"{step.layer.name}.{{}}")
        elif half is not None and wanted >= half:
            x = _cropped(values[id(step.inputs[0])], wanted - half, f"{step.layer.name}.{{}}")
            found = _unpadded(step.layer, x)(x)
        else:
            limit = wanted if isinstance(step.layer, BY_PLACE) else 0
            args, kwargs = keras.tree.map_structure(
                lambda x, step=step, limit=limit: _cropped(values[id(x)], limit, f"{step.layer.name}.{{}}")
                if isinstance(x, keras.KerasTensor) else x,
                (step.args, step.kwargs),
            )  # fmt: skip
            found = step.layer(*args, **kwargs)
            if limit < wanted:
                found = _cropped((found, 0), wanted, f"{step.layer.name}.{{}}")
        pairs = zip(keras.tree.flatten(step.outputs), keras.tree.flatten(found), strict=True)
        values.update({id(symbol): (value, wanted) for symbol, value in pairs})
    results = keras.tree.map_structure(lambda tensor: values[id(tensor)][0], outputs)
    return keras.Model(inputs, results, name=model.name)


def _unneeded(steps, outputs):
    """How many places at either end of each tensor nothing depends on, by its id."""
    found = {id(tensor): 0 for tensor in keras.tree.flatten(outputs)}
    for step in reversed(steps):
        own = [found.get(id(tensor), math.inf) for tensor in keras.tree.flatten(step.outputs)]
        left, half, cut = min(own), _half_of(step.layer), _cut_of(step.layer)
        if cut:
            left += cut
        elif half is not None:
            left = max(left - half, 0)
        elif not isinstance(step.layer, BY_PLACE):
            left = 0
        for tensor in step.inputs:
            found[id(tensor)] = min(found.get(id(tensor), math.inf), left)
    return {key: 0 if value == math.inf else int(value) for key, value in found.items()}


def _cut_of(layer):
    """How much a layer crops from either end alike; 0 for any other."""
    is_even = type(layer) is layers.Cropping1D and layer.cropping[0] == layer.cropping[1]
    return layer.cropping[0] if is_even else 0


def _half_of(layer):
    """How far a padded convolution of stride 1 sees on either side; None for any other layer."""
    if type(layer) is not layers.Conv1D or layer.padding != "same" or layer.strides != (1,):
        return None
    reach = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    return None if reach % 2 else reach // 2


def _cropped(value, wanted, name):
    """A tensor (tensor, places it lacks at either end) without `wanted` of them."""
    tensor, lacks = value
    if wanted == lacks:
        return tensor
    return layers.Cropping1D(wanted - lacks, name=name.format(f"crop_{tensor.name.replace('/', '_')}"))(tensor)


def _unpadded(layer, x):
    plain = layers.Conv1D.from_config({**layer.get_config(), "padding": "valid"})
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    return plain

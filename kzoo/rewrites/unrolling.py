"""Recurrent layers unrolled over a known length, for runtimes that know no loops."""

from keras import layers

from kzoo import graph
from kzoo.rewrites.copies import built_like

RECURRENT = (layers.RNN, layers.Bidirectional)  # LSTM, GRU and SimpleRNN are RNNs


def is_recurrent(model):
    """Whether a layer of the model runs over time step by step."""
    return any(isinstance(layer, RECURRENT) for layer in model.layers)


def unroll(model, length):
    """The model for sequences of `length` steps with every recurrent layer unrolled; the given model is left as it is.

    Every input dimension but the batch that is not known becomes `length`. Recurrent layers are new, under their old
    names; all others are shared with the given model.
    """

    def make(step):
        return _unrolled(step.layer, step.inputs[0].shape) if isinstance(step.layer, RECURRENT) else step.layer

    return graph.replace_layers(model, make, length)


def _unrolled(layer, input_shape):
    if not isinstance(layer, layers.Bidirectional):
        return built_like(layer, input_shape, unroll=True)
    config = layer.get_config()
    sides = {side: config[side] for side in ("layer", "backward_layer") if config.get(side)}
    for side in sides.values():
        side["config"]["unroll"] = True
    return built_like(layer, input_shape, **sides)

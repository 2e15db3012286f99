"""One flat graph inside another: a detector's backbone, a conditioner."""

import keras

from kzoo.graph.walking import find_tap, require_flat


def embed(model, prefix, taps, inputs=None, changes=None) -> tuple:
    """Copies the part of a flat model that leads to some taps, for a graph that goes on from there.

    Args:
        model: a flat functional model, which stays as it is. Its copy has layers and weights of its own, initialised
            as those of a new model are.
        prefix: what the names of the layers begin with in the copy, before their own.
        taps: names of layers or stages, as for `kzoo.features`.
        inputs: symbolic tensors in the structure of the model's input, from which the copy starts; new inputs like the
            model's by default.
        changes: `changes(layer)` gives a dict of what differs in the configuration of a layer's copy.

    Returns `(inputs, outputs)`, the outputs a list in the order of the taps. Raises ValueError for a model that is not
    flat, and for a tap that no layer has, with the nearest names.
    """
    require_flat(model, "embed")
    layers = [find_tap(model, tap) for tap in taps]
    if inputs is None:
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), model.input
        )
    pairs = zip(keras.tree.flatten(model.input), keras.tree.flatten(inputs), strict=True)
    outputs = {f"{prefix}{old.name}": new for old, new in pairs}

    def renamed(layer):
        config = {**layer.get_config(), **(changes(layer) if changes else {}), "name": f"{prefix}{layer.name}"}
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        result = layer(*args, **kwargs)
        outputs.setdefault(layer.name, result)
        return result

    tapped = keras.Model(model.input, [layer.output for layer in layers])
    keras.models.clone_model(tapped, inputs, clone_function=renamed, call_function=call)
    return inputs, [outputs[f"{prefix}{layer.name}"] for layer in layers]

"""The same model computing in bfloat16, as mixed precision does it."""

import keras

from kzoo import graph
from kzoo.rewrites.copies import like

POLICY = "mixed_bfloat16"


def in_bfloat16(model) -> keras.Model:
    """A model that computes in bfloat16 over a copy of the weights in float32; its outputs keep their dtype.

    Layers that make the model's outputs stay as they are, so that logits keep their precision; layers without weights
    that give integers do too. The given model is left as it is.
    """
    inputs, steps, outputs = graph.record(model)
    last = {id(tensor) for tensor in keras.tree.flatten(outputs)}
    kept = {id(step.layer) for step in steps if any(id(t) in last for t in keras.tree.flatten(step.outputs))}
    values = {id(tensor): tensor for tensor in keras.tree.flatten(inputs)}
    made = {}

    def call(step, args, kwargs):
        layer, key = step.layer, id(step.layer)
        is_float = all("float" in tensor.dtype for tensor in keras.tree.flatten(step.outputs))
        if isinstance(layer, keras.Layer) and key not in kept and is_float:
            if key not in made:
                made[key] = _converted(layer, step)
            layer = made[key]
        return layer(*args, **kwargs)

    graph.replay(steps, values, call)
    results = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs)
    return keras.Model(inputs, results, name=model.name)


def _converted(layer, step):
    converted = like(layer, dtype=POLICY)
    converted(*step.args, **step.kwargs)  # builds it as the graph calls it
    converted.set_weights(layer.get_weights())
    return converted

"""From a name of the catalogue to a model with its weights."""

import importlib

from kzoo import catalog
from kzoo.catalog import keywords
from kzoo.rewrites import repeat


def build(name, /, weights=None, dtype=None, load_head=True, rewrites=(), **overrides):
    """Builds a model of the catalogue as an uncompiled `keras.Model` in the form of a flat functional graph.

    Args:
        name: a variant (`"transformer_base"`) or an architecture (`"transformer"`: its first variant).
        weights: safetensors in the reference's names and layout: a file, an index of several, a folder that holds one
            (such as `kzoo.save` writes), or `hf://owner/name[@revision]`.
        dtype: a Keras dtype policy for all layers, such as `"mixed_bfloat16"`; the global policy by default.
        load_head: False leaves the classifier random, for another number of classes than the weights have.
        rewrites: what was done to the graph that the weights belong to, as `model.kzoo.rewrites` says.
        **overrides: any keyword of the model file's `build`, such as `num_classes=10`.

    Raises ValueError for an unknown name or a value out of range, TypeError for an unknown keyword or a wrong type.
    """
    entry = catalog.find(name)
    module = importlib.import_module(f"kzoo.models.{entry.architecture}")
    arguments = {"name": entry.name, **entry.arguments, **keywords.checked(entry, module.build, overrides)}
    import keras

    policy = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    try:
        if weights is None:
            return _made(module, arguments, entry, overrides, rewrites)
        from kzoo.weights import checkpoint
        from kzoo.weights.blank import BlankVariables

        opened = checkpoint.open_weights(weights)  # its sha256 is computed while the graph is built
        if rewrites or not load_head:  # not all that is built is replaced, or it is built from what was built
            model = _made(module, arguments, entry, overrides, rewrites)
            checkpoint.load_weights(model, opened, load_head)
            return model
        with BlankVariables() as blank:
            model = _made(module, arguments, entry, overrides)
            checkpoint.load_weights(model, opened, assign=blank.assign)
        for file in opened:
            file.verify()
        return model
    finally:
        keras.config.set_dtype_policy(policy)


def _made(module, arguments, entry, overrides, rewrites=()):
    """The model of a module, rewritten, with how it was built."""
    model = module.build(**arguments)
    model.kzoo = catalog.Card(entry.name, entry.architecture, entry.task_of(overrides), overrides)
    return repeat(model, rewrites)

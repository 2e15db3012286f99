"""Rewrites of flat graphs: the same model, smaller, cheaper or with other weights to train."""

import importlib

# what `model.kzoo.rewrites` calls a rewrite -> the module whose function `repeat(model, **settings)` does it again
ROOMS = {"lora": "lora"}


def repeat(model, rewrites):
    """A freshly built model rewritten as another one was, whose `model.kzoo.rewrites` this is."""
    for settings in rewrites:
        settings = dict(settings)
        name = settings.pop("rewrite", None)
        if name not in ROOMS:
            raise ValueError(f"{model.name} was rewritten by {name!r}, which this kzoo does not know; update it")
        model = importlib.import_module(f"kzoo.rewrites.{ROOMS[name]}").repeat(model, **settings)
    return model

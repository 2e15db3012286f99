"""Rewrites of flat graphs: the same model, smaller, cheaper or with other weights to train."""

import dataclasses
import importlib
import json

import keras

from kzoo.catalog import card_of

# what `model.kzoo.rewrites` calls a rewrite -> the module whose function `repeat(model, **settings)` does it again
ROOMS = {"lora": "low_rank_updates", "prune_filters": "filters", "both_strands": "both_strands"}


def repeat(model, rewrites) -> keras.Model:
    """A freshly built model rewritten as another one was, whose `model.kzoo.rewrites` this is."""
    for settings in rewrites:
        settings = dict(settings)
        name = settings.pop("rewrite", None)
        if name not in ROOMS:
            raise ValueError(f"{model.name} was rewritten by {name!r}, which this kzoo does not know; update it")
        model = importlib.import_module(f"kzoo.rewrites.{ROOMS[name]}").repeat(model, **settings)
    return model


def rewrites_of(model) -> tuple:
    """The rewrites that a model has been through, in order; none for a model that is not of the catalogue."""
    return card_of(model).rewrites


def carry(model, rewritten, rewrites) -> keras.Model:
    """The rewritten model with the card of the original; its settings as they come back from JSON."""
    rewritten.kzoo = dataclasses.replace(card_of(model), rewrites=tuple(json.loads(json.dumps(list(rewrites)))))
    return rewritten

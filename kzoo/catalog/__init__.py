"""The catalogue: what can be built, read from the text of the files in `models/`, and the card that a model carries."""

from kzoo.catalog.card import Card, card_of, update_card
from kzoo.catalog.entries import (
    FIGURES,
    MODELS,
    RECIPES,
    SAID,
    Entry,
    arguments,
    arguments_of,
    entries,
    figures,
    find,
    list_models,
    literals,
    literals_of,
    recipes,
    settings,
)
from kzoo.catalog.preprocessing import Preprocessing

__all__ = [
    "FIGURES",
    "MODELS",
    "RECIPES",
    "SAID",
    "Card",
    "Entry",
    "Preprocessing",
    "arguments",
    "arguments_of",
    "card_of",
    "entries",
]
__all__ += ["figures", "find", "list_models", "literals", "literals_of", "recipes", "settings", "update_card"]

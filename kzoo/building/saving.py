"""Folders that hold a model: its weights, its description and its tokenizer, from which the catalogue rebuilds it."""

import dataclasses
import json
import pathlib

import keras

from kzoo import catalog
from kzoo.building.making import build
from kzoo.catalog.preprocessing import Preprocessing
from kzoo.data import Tokenizer
from kzoo.support import atomic
from kzoo.version import __version__
from kzoo.weights.checkpoint import save_weights
from kzoo.weights.hub import WEIGHTS_FILE

MODEL_FILE = "model.json"
TOKENIZER_FILE = "tokenizer.json"


def save(model, folder):
    """Saves a catalogue model with its card as a folder: `weights.safetensors`, `model.json`, `tokenizer.json`.

    Raises ValueError for a model that `kzoo.build` did not make, since the catalogue could not rebuild it.
    """
    folder = pathlib.Path(folder)
    if catalog.card_of(model).architecture is None:
        raise ValueError(f"{model.name} was not built by kzoo.build, so its architecture cannot be rebuilt from a "
                         "folder; use kzoo.save_weights for the weights alone")  # fmt: skip
    atomic.require_writable(folder)
    save_weights(model, folder / WEIGHTS_FILE)
    write_description(model, folder)


def write_description(model, folder):
    """Writes a model's card as `model.json`, from which the catalogue rebuilds the graph, and `tokenizer.json`."""
    if model.kzoo.tokenizer is not None:
        model.kzoo.tokenizer.save(pathlib.Path(folder) / TOKENIZER_FILE)
    description = {
        "name": model.kzoo.name,
        "overrides": model.kzoo.overrides,
        "kzoo": __version__,
        "keras": keras.__version__,
        **({"rewrites": list(model.kzoo.rewrites)} if model.kzoo.rewrites else {}),
        **({"class_names": model.kzoo.class_names} if model.kzoo.class_names else {}),
    }
    if model.kzoo.preprocessing != Preprocessing():
        description["preprocessing"] = dataclasses.asdict(model.kzoo.preprocessing)
    with atomic.file(pathlib.Path(folder) / MODEL_FILE) as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load(folder, dtype=None):
    """Rebuilds a model from a folder that `kzoo.save` or a training run wrote, from kzoo's own catalogue.

    Raises ValueError if the folder is not such a folder, is damaged, or needs a newer kzoo.
    """
    description = read_description(folder)
    overrides = {key: tuple(v) if isinstance(v, list) else v for key, v in description.get("overrides", {}).items()}
    rewrites = description.get("rewrites", ())
    model = build(description["name"], weights=folder, dtype=dtype, rewrites=rewrites, **overrides)
    catalog.update_card(model, class_names=description.get("class_names"))
    if (pathlib.Path(folder) / TOKENIZER_FILE).is_file():
        catalog.update_card(model, tokenizer=Tokenizer.load(folder))
    return model


def read_description(folder):
    """The content of a folder's `model.json`; ValueError if there is none or this kzoo is too old for it."""
    path = pathlib.Path(folder) / MODEL_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no {MODEL_FILE}, so it is neither a saved model nor a training run")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        written_by = tuple(int(part) for part in description["kzoo"].split(".")[:2])
        catalog.find(description["name"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if written_by > tuple(int(part) for part in __version__.split(".")[:2]):
        raise ValueError(f"{path} needs kzoo >= {description['kzoo']}; this is {__version__}")
    return description

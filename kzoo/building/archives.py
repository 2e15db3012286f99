"""Models as Keras's own `.keras` archives, with kzoo's card as one more file in them."""

import dataclasses
import hashlib
import json
import pathlib
import tempfile
import zipfile

import keras

import kzoo.layers  # noqa: F401  registers the layers that archives may name
from kzoo import catalog
from kzoo.catalog.preprocessing import Preprocessing
from kzoo.data import Tokenizer
from kzoo.support import atomic

SUFFIX = ".keras"
CARD = "kzoo.json"
TOKENIZER = "kzoo_tokenizer/"


def write(model, path, description) -> None:
    """Saves a model as a `.keras` file that holds its description, what `model.json` of a folder says, as well."""
    with atomic.file(path) as temporary:
        archive = temporary.with_name(temporary.name + SUFFIX)  # Keras looks at the suffix
        try:
            model.save(archive, include_optimizer=False)
            with zipfile.ZipFile(archive, "a") as file:
                card = model.kzoo
                whole = {**description, "architecture": card.architecture, "task": card.task, "names": card.names}
                file.writestr(CARD, json.dumps(whole, indent=2))
                if model.kzoo.tokenizer is not None:
                    with tempfile.TemporaryDirectory() as folder:
                        model.kzoo.tokenizer.save(folder)
                        for one in pathlib.Path(folder).iterdir():
                            file.write(one, TOKENIZER + one.name)
            archive.replace(temporary)
        finally:
            archive.unlink(missing_ok=True)


def read(path) -> keras.Model:
    """The model of a `.keras` file with its card, if kzoo wrote it; Keras's safe mode stays on, so no code is run.

    Raises ValueError that names the file if it is damaged, or holds layers that are neither Keras's nor registered.
    """
    path = pathlib.Path(path)
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
            if damaged:
                raise ValueError(f"{damaged} does not have its checksum")
            known = json.loads(file.read(CARD)) if CARD in file.namelist() else None
            tokenizer = _tokenizer(file)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        why = "it holds Python code (a Lambda layer), which is never run" if "Lambda" in str(error) else error
        raise ValueError(f"{path} cannot be read: {why}") from error
    if known is not None:
        model.kzoo = dataclasses.replace(card_in(known), tokenizer=tokenizer)
    return model


def graph_of(model) -> dict:
    """The graph of a model as Keras describes it in JSON; ValueError for layers that do not say how they are made."""
    try:
        return json.loads(model.to_json())
    except (NotImplementedError, TypeError) as error:
        raise ValueError(f"{model.name} has a layer that cannot be saved: {error}") from error


def digest_of_graph(model) -> str:
    """A hash of a model's graph that is the same in every process: Keras numbers layers without a name anew in each."""
    order = {layer.name: f"layer {place}" for place, layer in enumerate(model.layers)}

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key != "shared_object_id"}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return order.get(value, value) if isinstance(value, str) else value

    config = plain(graph_of(model)["config"])
    config.pop("name", None)
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def from_graph(graph) -> keras.Model:
    """The model of what `graph_of` gives, with new weights; Keras's safe mode stays on, so no code is run."""
    return keras.saving.deserialize_keras_object(graph, safe_mode=True)


def _tokenizer(file):
    names = [name for name in file.namelist() if name.startswith(TOKENIZER)]
    if not names:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (pathlib.Path(folder) / pathlib.PurePosixPath(name).name).write_bytes(file.read(name))
        return Tokenizer.load(folder)


def card_in(known) -> catalog.Card:
    """The card that a description holds, but for the tokenizer."""
    overrides = {key: tuple(value) if isinstance(value, list) else value for key, value in known["overrides"].items()}
    return catalog.Card(
        known["name"], known["architecture"], known["task"], overrides, tuple(known.get("rewrites", ())),
        Preprocessing(**known.get("preprocessing", {})), class_names=known.get("class_names"), names=known.get("names"),
        trims_silence=known.get("trims_silence", False),
    )  # fmt: skip

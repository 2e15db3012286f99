"""Models as Keras's own `.keras` archives, with kzoo's card as one more file in them."""

import dataclasses
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
                whole = {**description, "architecture": model.kzoo.architecture, "task": model.kzoo.task}
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
        model.kzoo = dataclasses.replace(_card(known), tokenizer=tokenizer)
    return model


def _tokenizer(file):
    names = [name for name in file.namelist() if name.startswith(TOKENIZER)]
    if not names:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (pathlib.Path(folder) / pathlib.PurePosixPath(name).name).write_bytes(file.read(name))
        return Tokenizer.load(folder)


def _card(known):
    overrides = {key: tuple(value) if isinstance(value, list) else value for key, value in known["overrides"].items()}
    return catalog.Card(
        known["name"], known["architecture"], known["task"], overrides, tuple(known.get("rewrites", ())),
        Preprocessing(**known.get("preprocessing", {})), class_names=known.get("class_names"),
    )  # fmt: skip

"""Folders that hold a model: its weights, its description and its tokenizer, from which the catalogue rebuilds it."""

import dataclasses
import hashlib
import json
import pathlib

import keras

from kzoo import catalog
from kzoo.building import archives, pipelines
from kzoo.building.assembly import Assembly, about_part
from kzoo.building.making import assembled, build
from kzoo.catalog import configurations
from kzoo.catalog.configurations import INDEX_FILE
from kzoo.catalog.preprocessing import Preprocessing
from kzoo.data import Tokenizer
from kzoo.data.tokenizing.tokenizer_files import LENGTH_FILE, ROLES_FILE, TARGET_FILE
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean
from kzoo.version import __version__
from kzoo.weights import files
from kzoo.weights.checkpoint import load_weights, save_weights
from kzoo.weights.hub import SCHEME, WEIGHTS_FILE, find_folder

MODEL_FILE = "model.json"
TOKENIZER_FILE = "tokenizer.json"
ARCHIVE = "model.keras"
DESCRIPTIONS = (MODEL_FILE, TOKENIZER_FILE, TARGET_FILE, ROLES_FILE, LENGTH_FILE)
# What `model.json` holds: the type of each value, and what stands for one that is left out
KINDS = {
    "name": (str, ""), "overrides": (dict, {}), "kzoo": (str, ""), "keras": (str, ""), "task": (str, ""),
    "architecture": (str | None, None), "rewrites": (list, []), "class_names": (list, []), "preprocessing": (dict, {}),
    "graph": (dict | None, None), "trims_silence": (bool, False),
}  # fmt: skip
DIGESTS = "kzoo.descriptions"  # in the weights' header, so that a kill between two files leaves no other model


def save(model, folder) -> None:
    """Saves a catalogue model with its card as a folder: `weights.safetensors`, `model.json`, `tokenizer.json`.

    An `Assembly` is saved as an index and a folder for each part; a failure leaves what stood there before. A path that
    ends in `.keras` becomes one file that Keras reads as well, with the card inside; a model of one's own that
    `kzoo.adopt` gave a card is such a file in the folder. Raises ValueError for a model without a task.
    """
    folder = pathlib.Path(folder)
    if not isinstance(model, Assembly) and catalog.card_of(model).task is None:
        raise ValueError(
            f"{model.name} was not built by kzoo.build, so what it is for is not known: kzoo.adopt(model, task=...) "
            "says it; kzoo.save_weights saves weights alone"
        )
    if folder.suffix == archives.SUFFIX:
        if isinstance(model, Assembly):
            raise ValueError(f"{folder} is one file, and {model.name} has several parts; name a folder")
        archives.write(model, folder, _description(model))
        return
    if isinstance(model, Assembly):
        index = folder / INDEX_FILE
        is_ours = index.is_file() and "_kzoo_version" in index.read_text(encoding="utf-8")
        with atomic.folder(folder, overwrite=is_ours) as temporary:
            for part, each in model.items():
                with about_part(part):
                    save(each, temporary / part)
            model.write_index(temporary)
        return
    atomic.require_writable(folder)
    write_description(model, folder)
    write_weights(model, folder)


def write_weights(model, folder) -> None:
    """Writes a model's weights into a folder, where its description lies; one of no architecture is written whole."""
    if model.kzoo.architecture is None:
        archives.write(model, folder / ARCHIVE, _description(model))
    else:
        save_weights(model, folder / WEIGHTS_FILE, metadata={DIGESTS: json.dumps(_digests(pathlib.Path(folder)))})


def _digests(folder):
    """`{name: sha256}` of the files that describe a model; of `model.json` without versions, which change no model."""
    found = {name: (folder / name).read_bytes() for name in DESCRIPTIONS if (folder / name).is_file()}
    if MODEL_FILE in found:
        content = {key: value for key, value in json.loads(found[MODEL_FILE]).items() if key not in ("kzoo", "keras")}
        found[MODEL_FILE] = json.dumps(content, sort_keys=True).encode()
    return {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}


def _check_digests(folder):
    """ValueError if a description is not the one that the weights in the folder were saved with."""
    if not (folder / WEIGHTS_FILE).is_file():
        return
    now = _digests(folder)
    for name, digest in json.loads(files.File(folder / WEIGHTS_FILE).metadata.get(DIGESTS, "{}")).items():
        if now.get(name) != digest:
            raise ValueError(
                f"{folder / name} is {'missing' if name not in now else 'damaged, changed, or that of another model'}: "
                f"{WEIGHTS_FILE} beside it was saved with another; save the model again"
            )


def read_weights(model, folder) -> None:
    """Reads what `write_weights` wrote into the same model."""
    if model.kzoo.architecture is None:
        model.set_weights(archives.read(folder / ARCHIVE).get_weights())
    else:
        load_weights(model, folder)


def write_description(model, folder) -> None:
    """Writes a model's card as `model.json`, from which the catalogue rebuilds the graph, and `tokenizer.json`."""
    card, folder = model.kzoo, pathlib.Path(folder)
    if card.tokenizer is not None:
        card.tokenizer.save(folder / TOKENIZER_FILE)
    description = _description(model)
    if card.architecture is None:
        description["graph"] = archives.graph_of(model)
    with atomic.file(folder / MODEL_FILE) as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _description(model):
    card = model.kzoo
    description = {"name": card.name, "overrides": card.overrides, "kzoo": __version__, "keras": keras.__version__}
    if card.architecture is None:
        description |= {"architecture": None, "task": card.task}
    if card.rewrites:
        description["rewrites"] = card.rewrites
    if card.class_names:
        description["class_names"] = card.class_names
    if card.trims_silence:
        description["trims_silence"] = True
    if card.preprocessing != Preprocessing(**catalog.literals_of(model).get("PREPROCESSING", {})):
        description["preprocessing"] = dataclasses.asdict(card.preprocessing)
    return description


def load(folder, dtype=None) -> keras.Model | Assembly:
    """Rebuilds a model from a folder that `kzoo.save` or a training run wrote, from kzoo's own catalogue.

    A folder with an index of parts gives an `Assembly`; `hf://owner/name[@revision]` is taken for a folder. A `.keras`
    file, and a folder of a model that `kzoo.adopt` gave a card, is read by Keras in its safe mode. Raises ValueError if
    the folder is not such a folder, is damaged, or needs a newer kzoo.
    """
    if isinstance(folder, str) and folder.startswith(SCHEME):
        folder = find_folder(folder)
    if pathlib.Path(folder).suffix == archives.SUFFIX:
        return _load_archive(folder, dtype)
    index = pathlib.Path(folder) / INDEX_FILE
    return _load_parts(index, dtype) if index.is_file() else _load_model(folder, dtype)


def _load_archive(path, dtype):
    if dtype is not None:
        raise ValueError(f"{path} holds its own dtype policy; it cannot be read as dtype={dtype!r}")
    return archives.read(path)


def _load_model(folder, dtype):
    description = read_description(folder)
    _check_digests(pathlib.Path(folder))
    if _is_adopted(description):
        return _load_archive(pathlib.Path(folder) / ARCHIVE, dtype)
    overrides = _with_tuples(description.get("overrides", {}))
    rewrites = description.get("rewrites", ())
    model = build(description["name"], weights=folder, dtype=dtype, rewrites=rewrites, **overrides)
    names, count = description.get("class_names"), catalog.arguments(model).get("num_classes")
    if names and count and count > 1 and len(names) != count:
        raise ValueError(f"{pathlib.Path(folder) / MODEL_FILE} names {len(names)} classes of a model of {count}")
    catalog.update_card(model, class_names=names, trims_silence=description.get("trims_silence", False))
    if model.kzoo.tokenizer is None and (pathlib.Path(folder) / TOKENIZER_FILE).is_file():
        catalog.update_card(model, tokenizer=Tokenizer.load(folder))
    return model


def _load_parts(path, dtype):
    """The `Assembly` of an index and the folders beside it."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        name = index["_name"]
        overrides = {part: _with_tuples(given) for part, given in index["_overrides"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged, or names the parts of another library's model, which kzoo.build reads: {error!r}"
        ) from error
    parts = {}
    for part in [key for key in index if not key.startswith("_")]:
        with about_part(part):
            parts[part] = _load_model(path.parent / part, dtype)
    entry = catalog.entries().get(name)
    if entry and catalog.literals(entry.architecture).get("PARTS"):
        noise = pipelines.read_noise(path.parent) or catalog.literals(entry.architecture).get("NOISE", {}).get(name)
        return assembled(entry, parts, overrides, noise)
    return Assembly(name, parts)


def _with_tuples(overrides):
    """Keywords as they were before JSON, which has no tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in overrides.items()}


def graph_in(folder) -> keras.Model | None:
    """The model of a folder that `kzoo.adopt` gave a card, with that card and new weights; None for other models.

    Raises ValueError if Keras cannot rebuild it from its description.
    """
    description = read_description(folder)
    if not _is_adopted(description):
        return None
    try:
        model = archives.from_graph(description["graph"])
        card = archives.card_in(description)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{pathlib.Path(folder) / MODEL_FILE}: {description['name']} cannot be rebuilt without its own program "
            f"({error}); go on there with kzoo.fit(model, data, {str(folder)!r}, resume=True)"
        ) from error
    has_tokenizer = (pathlib.Path(folder) / TOKENIZER_FILE).is_file()
    tokenizer = Tokenizer.load(folder) if has_tokenizer else None
    model.kzoo = dataclasses.replace(card, tokenizer=tokenizer)
    return model


def _is_adopted(description):
    return description.get("architecture", "") is None


def read_description(folder) -> dict:
    """The content of a folder's `model.json`; ValueError if there is none or this kzoo is too old for it."""
    path = pathlib.Path(folder) / MODEL_FILE
    if not path.is_file():
        hint = (
            f"; kzoo.build({str(folder)!r}) reads its config.json" if configurations.is_published(path.parent) else ""
        )
        raise ValueError(f"{folder} holds no {MODEL_FILE}, so it is neither a saved model nor a training run{hint}")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        written_by = tuple(int(part) for part in description["kzoo"].split(".")[:2])
        for key, (kind, default) in KINDS.items():
            if not isinstance(description.get(key, default), kind):
                raise TypeError(f"{key} is {description[key]!r}")
        if not _is_adopted(description):
            catalog.find(description["name"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if written_by > tuple(int(part) for part in __version__.split(".")[:2]):
        raise ValueError(f"{path} needs kzoo >= {description['kzoo']}; this is {__version__}")
    if unknown := description.keys() - KINDS.keys():
        raise ValueError(f"{path} is damaged: {did_you_mean('key', sorted(unknown)[0], KINDS)}")
    return description

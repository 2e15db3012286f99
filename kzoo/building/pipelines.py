"""Folders that `diffusers` lays out: an index that names a pipeline, and a folder with a configuration for each part.

`unet/config.json` and `unet/diffusion_pytorch_model.safetensors`, `text_encoder/config.json` and `model.safetensors`,
`tokenizer/` and `scheduler/scheduler_config.json`; `model_index.json` says of which class each of them is.
"""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Mapping

from kzoo import catalog, graph
from kzoo.building.assembly import about_part
from kzoo.catalog import configurations
from kzoo.data.tokenizing import published_files
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean
from kzoo.weights import checkpoint

TOKENIZER, SCHEDULER = "tokenizer", "scheduler"
SCHEDULER_FILE = "scheduler_config.json"
# networks that judge or describe pictures beside the pipeline, and what prepares pictures for them
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
FILES = {configurations.DIFFUSERS: "diffusion_pytorch_model.safetensors"}
USUAL_FILE = "model.safetensors"  # of transformers


def read_noise(folder) -> dict | None:
    """The schedule of noise beside the parts in a folder; None where there is none.

    Raises ValueError for one that names another class than the index does.
    """
    path = pathlib.Path(folder) / SCHEDULER / SCHEDULER_FILE
    if not path.parent.is_dir():
        return None
    noise, index = configurations.read_json(path), configurations.read_index(folder) or {}
    named = [name for name in (index.get(SCHEDULER) or [])[1:] if name != noise.get(configurations.CLASS_KEY)]
    if named:
        raise ValueError(
            f"{path} is of {noise.get(configurations.CLASS_KEY)!r}, and {configurations.INDEX_FILE} names {named[0]!r}"
        )
    # Keys of earlier releases stand there without a value.
    kept = {key: value for key, value in noise.items() if value is not None and not key.startswith("_")}
    return {configurations.CLASS_KEY: noise.get(configurations.CLASS_KEY), **kept}


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """What someone published as a pipeline: its place, its folder here, and its index."""

    place: object
    folder: pathlib.Path
    index: dict

    @property
    def weights(self) -> pathlib.Path:
        """The folder with a folder of weights for each part."""
        return self.folder

    def choose(self, given, load_head=True) -> tuple:
        """(name of an entry, overrides) that build it, with the keywords of the caller for each part.

        Raises ValueError for a pipeline or a part that kzoo has not, one that is missing, and one of another network.
        """
        from kzoo.building.published import Published

        architecture, chosen = self._architecture(), {}
        for part, wanted in catalog.literals(architecture)["PARTS"].items():
            with about_part(part):
                told = configurations.read(self.folder / part)
                if told is None:
                    raise ValueError(f"{self.folder / part} holds no {configurations.CONFIG_FILE} that names its kind")
                if told.architecture != catalog.find(wanted["model"]).architecture:
                    raise ValueError(f"{told.path} is of {told.model}; wanted such as {wanted['model']}")
                ours = given.get(part, {})
                if not isinstance(ours, Mapping) or "model" in ours:
                    raise TypeError(f"wanted a dict of keywords of the model that the folder names, got {ours!r}")
                name, overrides = Published(self.place, self.folder / part, told).choose(ours, load_head)
                chosen[part] = {"model": name, **overrides}
        others = {key: value for key, value in given.items() if key not in chosen}
        return _nearest(architecture, chosen, others)

    def _architecture(self):
        name, known = self.index.get(configurations.CLASS_KEY), {}
        for entry in catalog.entries().values():
            if pipeline := catalog.literals(entry.architecture).get("PIPELINE"):
                known[pipeline[configurations.CLASS_KEY]] = entry.architecture
        path = self.folder / configurations.INDEX_FILE
        if name not in known:
            raise ValueError(f"{path}: {did_you_mean('pipeline', str(name), known)}")
        literals = catalog.literals(known[name])
        for key, value in self.index.items():
            is_part = isinstance(value, list) and any(value) and key not in UNUSED
            if is_part and key not in (*literals["PARTS"], TOKENIZER, SCHEDULER):
                raise ValueError(f"{path}: nothing is known of the part {key}: {value!r}")
        for part in (*literals["PARTS"], SCHEDULER):
            if part not in self.index:
                raise ValueError(f"{path} names no {part}, which {name} has")
        for part in (*literals["PARTS"], SCHEDULER, TOKENIZER):
            if any(self.index.get(part) or ()) and not (self.folder / part).is_dir():
                raise ValueError(
                    f"part {part}: {self.folder} has no folder {part}, which {configurations.INDEX_FILE} names"
                )
        return known[name]

    def say(self, model) -> None:
        """Says what was chosen, and what of the folder has no use here."""
        log = logging.getLogger("kzoo")
        log.warning("%s: %s is %s", self.place, self.index[configurations.CLASS_KEY], model.kzoo)
        for key in UNUSED:
            if any(self.index.get(key) or ()):
                log.warning("%s: %s is left out; nothing here reads it", self.place, key)


def _nearest(architecture, chosen, others):
    """The variant most of whose parts are those chosen, and what differs from it."""
    literals, found = catalog.literals(architecture), {}
    for entry in catalog.entries().values():
        if entry.architecture != architecture:
            continue
        overrides = {}
        for part, given in chosen.items():
            usual = {**literals["PARTS"][part], **entry.arguments.get(part, {})}
            name = usual.pop("model")
            base = {**catalog.arguments_of(catalog.find(name), {}), **usual}
            wanted = catalog.arguments_of(
                catalog.find(given["model"]), {k: v for k, v in given.items() if k != "model"}
            )
            different = {key: value for key, value in wanted.items() if key != "name" and base.get(key) != value}
            if different:
                overrides[part] = different
        found.setdefault(entry.name, overrides)
    name = min(found, key=lambda name: sum(map(len, found[name].values())))
    return name, {**found[name], **others}


def write(assembly, folder) -> None:
    """Writes an assembly as a new folder from which `diffusers` loads its pipeline; see `kzoo.save_weights`."""
    card = assembly.kzoo
    literals = catalog.literals(card.architecture) if card.architecture else {}
    if "PIPELINE" not in literals:
        known = [name for name, one in catalog.entries().items() if "PIPELINE" in catalog.literals(one.architecture)]
        raise ValueError(f"{assembly.name} is no pipeline of diffusers; those that are: {', '.join(known)}")
    index = dict(literals["PIPELINE"])
    with atomic.folder(folder) as temporary:
        for part, model in assembly.items():
            with about_part(part):
                index[part] = _write_part(model, temporary / part)
        for model in assembly.values():
            if tokenizer := catalog.card_of(model).tokenizer:
                kind = published_files.write(tokenizer, temporary / TOKENIZER, graph.longest_sequence(model))
                index[TOKENIZER] = ["transformers", kind]
        index[SCHEDULER] = ["diffusers", card.noise[configurations.CLASS_KEY]]
        write_noise(card.noise, temporary)
        _write_json(temporary / configurations.INDEX_FILE, index)


def _write_part(model, folder):
    """Writes the configuration and weights of a part; returns the library and class that the index names."""
    card = catalog.card_of(model)
    if card.rewrites:
        told = ", ".join(row["rewrite"] for row in card.rewrites)
        raise ValueError(f"{model.name} was rewritten ({told}), which no other library repeats; merge or undo it first")
    config = configurations.written(model)
    kind = configurations.DIFFUSERS if configurations.CLASS_KEY in config else ""
    folder.mkdir(parents=True)
    _write_json(folder / configurations.CONFIG_FILE, config)
    family = next(iter(catalog.literals_of(model).get("NAMES", {})), None)
    checkpoint.save_weights(model, folder / FILES.get(kind, USUAL_FILE), family)
    return [kind or "transformers", config[configurations.CLASS_KEY] if kind else config["architectures"][0]]


def write_noise(noise, folder) -> None:
    """Writes a schedule of noise beside the parts of an assembly."""
    folder = pathlib.Path(folder) / SCHEDULER
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / SCHEDULER_FILE, noise)


def _write_json(path, content):
    with atomic.file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

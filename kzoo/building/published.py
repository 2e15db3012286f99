"""From a published folder, such as the Hugging Face hub has, to what the catalogue calls the network in it."""

import dataclasses
import logging
import os
import pathlib

from kzoo import catalog
from kzoo.building import pipelines
from kzoo.catalog import configurations
from kzoo.data import Tokenizer
from kzoo.weights import hub


def is_place(name) -> bool:
    """Whether a name is that of a folder or an address of the hub, and not one of the catalogue."""
    if not isinstance(name, str):
        return isinstance(name, os.PathLike)
    if name.startswith(hub.SCHEME) or "/" in name or os.sep in name:
        return True
    return bool(name) and name not in catalog.entries() and pathlib.Path(name).is_dir()


@dataclasses.dataclass(frozen=True)
class Published:
    """A network that someone published: its place, its folder here, and what its configuration says."""

    place: object
    folder: pathlib.Path
    told: configurations.Description

    @property
    def weights(self) -> pathlib.Path:
        """The folder of its weights."""
        return self.told.path.parent

    def choose(self, given, load_head=True) -> tuple:
        """(name of a variant, overrides) that build it, with the keywords of the caller.

        Raises ValueError that lists what the configuration says and kzoo does not offer, what the keywords contradict,
        what is lacking, and keys of which nothing is known.
        """
        told = self.told
        wrong = told.faults + told.contradictions(given, load_head)
        wrong += told.readings if load_head and "head" not in given else []
        wrong += [f"it lacks {key}" for key in told.lacking]
        wrong += [f"nothing is known of {key}: {value!r}" for key, value in told.unknown.items()]
        if wrong:
            fix = f"; kzoo.build({told.architecture!r}, weights=..., ...) goes by its keywords" if told.unknown else ""
            raise ValueError(f"{told.path}: {'; '.join(wrong)}{fix}")
        entry, overrides = told.choose(given)
        return entry.name, overrides

    def say(self, model) -> None:
        """Says what was chosen."""
        logging.getLogger("kzoo").warning("%s: %s is %s", self.place, self.told.model, model.kzoo)


def find(place, with_weights=True) -> "Published | pipelines.Pipeline":
    """The network, or several, that a folder or an address of the hub holds; ValueError if nothing says which."""
    folder = hub.find_folder(place, with_weights)
    if index := configurations.read_index(folder):
        return pipelines.Pipeline(place, folder, index)
    if (folder / configurations.OUR_FILE).is_file():
        raise ValueError(
            f"{place} holds a model that kzoo saved, with its own description; use kzoo.load({str(place)!r})"
        )
    told = configurations.read(folder)
    if told is None:
        raise ValueError(
            f"{folder} holds no {configurations.CONFIG_FILE} with a model_type or architecture; name the model, and "
            "pass the folder as weights"
        )
    return Published(place, folder, told)


def add_tokenizer(model, folder) -> None:
    """Puts the tokenizer beside a model's weights on its card, if the model reads tokens and there is one."""
    if "tokens" not in catalog.literals_of(model).get("INPUTS", {}).values():
        return
    try:
        catalog.update_card(model, tokenizer=Tokenizer.load(folder))
    except (ValueError, ImportError) as error:
        if not str(error).startswith("no tokenizer at"):
            logging.getLogger("kzoo").warning("%s: no tokenizer: %s", model.name, error)

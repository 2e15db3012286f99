"""From a name of the catalogue to a model with its weights."""

import importlib
from collections.abc import Mapping

import keras

from kzoo import catalog
from kzoo.building import pipelines, published
from kzoo.building.assembly import Assembly, about_part
from kzoo.catalog import keywords
from kzoo.data import Tokenizer, vocabulary_size
from kzoo.data.genomes.kmers import SPECIAL
from kzoo.generation.noise_schedules import settings_of
from kzoo.generation.samplers import SAMPLERS
from kzoo.rewrites import repeat
from kzoo.support.suggest import did_you_mean
from kzoo.weights import checkpoint
from kzoo.weights.blank import BlankVariables
from kzoo.weights.hub import find_folder


def build(name, /, weights=None, dtype=None, load_head=True, rewrites=(), **overrides) -> keras.Model | Assembly:
    """Builds a model of the catalogue as an uncompiled `keras.Model` in the form of a flat functional graph.

    Args:
        name: a variant (`"transformer_base"`) or an architecture (`"transformer"`: its first variant); or a folder or
            `hf://owner/name[@revision]` with weights and the `config.json` of transformers, timm or
            sentence-transformers, from which all else follows, and which is logged.
        weights: safetensors in the reference's names and layout: a file, an index of several, a folder that holds one
            (such as `kzoo.save` writes), or `hf://owner/name[@revision]`.
        dtype: a Keras dtype policy for all layers, such as `"mixed_bfloat16"`; the global policy by default.
        load_head: False leaves the classifier random, for another number of classes than the weights have.
        rewrites: what was done to the graph that the weights belong to, as `model.kzoo.rewrites` says.
        **overrides: any keyword of the model file's `build`, such as `num_classes=10`; of a classifier also `task`,
            what its outputs learn in place of one class each: see docs/adding-a-task.md.

    An entry of several parts builds an `Assembly`; its keywords are its parts, each a dict of that part's keywords, and
    its weights are a folder with a folder for each part, such as `diffusers` lays out, with their tokenizer and their
    schedule of noise; `weights` among a part's keywords are its own. The keyword `noise` replaces settings of that
    schedule, by the keys of `scheduler_config.json`.

    Raises ValueError for an unknown name or a value out of range, TypeError for an unknown keyword or a wrong type;
    ValueError for a configuration that says what kzoo does not offer, does not know, or the overrides contradict.
    """
    if published.is_place(name):
        if weights is not None or rewrites:
            raise ValueError(f"{name} has its own weights; pass neither weights nor rewrites, or the model's name")
        place = published.find(name)
        variant, keywords = place.choose(overrides, load_head)
        model = build(variant, place.weights, dtype, load_head, **keywords)
        place.say(model)
        return model
    entry = catalog.find(name)
    if catalog.literals(entry.architecture).get("PARTS"):
        if rewrites:
            raise TypeError(f"{entry.name} has several parts; pass rewrites among the keywords of one of them")
        return _build_parts(entry, overrides, weights, dtype, load_head)
    _check(entry, overrides)
    policy = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    try:
        if weights is None:
            return _made(entry, overrides, rewrites)
        opened = checkpoint.open_weights(weights)  # its sha256 is computed while the graph is built
        if rewrites or not load_head:  # not all that is built is replaced, or it is built from what was built
            model = _made(entry, overrides, rewrites)
            checkpoint.load_weights(model, opened, load_head)
            published.add_tokenizer(model, opened[0].path.parent)
            return model
        with BlankVariables() as blank:
            model = _made(entry, overrides)
            checkpoint.load_weights(model, opened, assign=blank.assign)
        blank.restore(model)
        for file in opened:
            file.verify()
        published.add_tokenizer(model, opened[0].path.parent)
        return model
    finally:
        keras.config.set_dtype_policy(policy)


def _build_parts(entry, overrides, weights, dtype, load_head):
    """The `Assembly` of an entry."""
    literals, parts = catalog.literals(entry.architecture)["PARTS"], {}
    folder = None if weights is None else find_folder(weights)
    noise, of_parts = _noise(entry, overrides, folder)
    for part, given in of_parts.items():
        if part not in literals:
            raise TypeError(f"{entry.name}: {did_you_mean('part', part, literals)}")
        if not isinstance(given, Mapping):
            raise TypeError(f"{entry.name}: {part} must be a dict of keywords for that part, got {given!r}")
    for part, literal in literals.items():
        given = {**literal, **entry.arguments.get(part, {}), **of_parts.get(part, {})}
        with about_part(part):
            if folder and not (folder / part).is_dir():
                raise ValueError(f"{folder} has no folder {part}")
            where = given.pop("weights", folder and folder / part)
            parts[part] = build(given.pop("model"), where, dtype, load_head, **given)
            if folder and (folder / pipelines.TOKENIZER).is_dir():
                published.add_tokenizer(parts[part], folder / pipelines.TOKENIZER)
    return assembled(entry, parts, overrides, noise)


def _noise(entry, overrides, folder):
    """The schedule of noise of an entry of several parts, or None, and the other overrides.

    What the caller says goes before what the folder says, and that before the entry's own.
    """
    usual = catalog.literals(entry.architecture).get("NOISE", {}).get(entry.name)
    others = {key: value for key, value in overrides.items() if key != "noise"}
    if usual is None:
        return None, overrides
    given = overrides.get("noise", {})
    if not isinstance(given, Mapping):
        raise TypeError(f"{entry.name}: noise must be a dict of settings of the schedule of noise, got {given!r}")
    noise = {**((folder and pipelines.read_noise(folder)) or usual), **given}
    try:
        settings_of(noise, SAMPLERS)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{entry.name}: {error}") from error
    return noise, others


def assembled(entry, parts, overrides, noise=None) -> Assembly:
    """The parts of an entry as an `Assembly` whose card names the entry."""
    card = catalog.Card(entry.name, entry.architecture, entry.task_of({}), overrides, noise=noise)
    return Assembly(entry.name, parts, card)


def _builder(entry):
    return importlib.import_module(f"kzoo.models.{entry.architecture}").build


def _check(entry, overrides):
    entry.task_of(overrides)
    keywords.checked(entry, _builder(entry), _without_task(overrides))


def _without_task(overrides):
    return {key: value for key, value in overrides.items() if key != "task"}


def _made(entry, overrides, rewrites=()):
    """The model of a variant, rewritten, with the card that says how it was built."""
    model = _graph(entry, _without_task(overrides))
    last = getattr(model.layers[-1], "activation", None)
    if entry.task_of(overrides) != entry.usual_task(overrides) and last is keras.activations.softmax:
        raise ValueError(f"{entry.name} ends in a softmax over classes, through which task= learns nothing else")
    literals = catalog.literals(entry.architecture)
    how = catalog.Preprocessing(**literals.get("PREPROCESSING", {}))
    model.kzoo = catalog.Card(entry.name, entry.architecture, entry.task_of(overrides), overrides, preprocessing=how)
    if len(literals.get("CLASS_NAMES", ())) == model.outputs[0].shape[-1]:
        catalog.update_card(model, class_names=[*literals["CLASS_NAMES"]])
    k = literals.get("KMERS", {}).get(entry.name)
    if k and vocabulary_size(model) == 4**k + len(SPECIAL):
        catalog.update_card(model, tokenizer=Tokenizer.of_kmers(k))
    return repeat(model, rewrites)


def _graph(entry, overrides):
    """The graph of a variant. A keyword that names another model, as `BUILT_FROM` says, gets that model's graph."""
    given = {**entry.arguments, "name": entry.name, **overrides}
    everything = catalog.arguments_of(entry, given)
    for key, how in catalog.literals(entry.architecture).get("BUILT_FROM", {}).items():
        given[key] = _part(entry.name, key, how, everything)
    return _builder(entry)(**given)


def _part(model, key, how, given):
    """The graph of the model that a keyword names."""
    choices, options = catalog.list_models(task=how["task"]), given[how["options"]] or {}
    if given[key] not in choices:
        raise ValueError(f"{model}: {did_you_mean(key, given[key], choices)}")
    if not isinstance(options, dict):
        raise TypeError(f"{model}: {how['options']} must be a dict of keywords, got {options!r}")
    shared = {name: given[name] for name in how["shares"]}
    for name in ("name", "task", *shared):
        if name in options:
            raise TypeError(f"{model}: {how['options']} takes no {name}, which is that of {model} itself")
    entry = catalog.find(given[key])
    features = {"num_classes": 0} if catalog.literals(entry.architecture).get("HEADLESS") else {}
    overrides = {**features, **options, **shared}
    _check(entry, overrides)
    return _graph(entry, overrides)

"""Several flat models as one thing, such as a generator and a discriminator, in a folder with one folder a part.

The folder is laid out as `diffusers` lays out its own: `model_index.json` at the top names the parts, and
`<part>/weights.safetensors` and `<part>/model.json` hold each as `kzoo.save` writes a model.
"""

import contextlib
import functools
import inspect
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping

import keras

from kzoo import catalog, measure
from kzoo.building import facts, making, saving
from kzoo.rewrites import low_rank_updates
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean
from kzoo.version import __version__
from kzoo.weights import checkpoint
from kzoo.weights.hub import WEIGHTS_FILE

INDEX_FILE = "model_index.json"
TOTALS = ("parameters", "non_trainable_parameters", "macs")


class Assembly(Mapping):
    """Named flat models that belong together: `assembly["unet"]` is one of them, in the order they were given.

    Args:
        name: of the whole.
        parts: {name: flat Keras model}; the names become those of folders.
        card: what kzoo knows of the whole; by default its name alone.

    `kzoo.save`, `load`, `save_weights`, `load_weights`, `info` and `lora` take it in the place of a model. Raises
    ValueError or TypeError for no parts, a name that no folder can have, or a part that is no functional model.
    """

    def __init__(self, name: str, parts: Mapping, card: catalog.Card | None = None):
        if not parts:
            raise ValueError(f"an Assembly has at least one part; {name!r} has none")
        for part, model in parts.items():
            if not isinstance(part, str) or not part.isidentifier() or part.startswith("_"):
                raise ValueError(f"{name}: {part!r} cannot name a part; use letters, digits and inner underscores")
            if not isinstance(model, keras.Model) or not hasattr(model, "operations"):
                raise TypeError(f"{name}: part {part!r} must be a functional keras.Model, got {type(model).__name__}")
        self.name, self._parts = name, dict(parts)
        self.kzoo = card or catalog.Card(name)

    def __getitem__(self, part):
        if part not in self._parts:
            raise KeyError(did_you_mean(f"part of {self.name}", part, self._parts))
        return self._parts[part]

    def __contains__(self, part):
        return part in self._parts

    def __iter__(self):
        return iter(self._parts)

    def __len__(self):
        return len(self._parts)

    def __repr__(self):
        told = (f"{part} = {model.name} ({model.count_params():,} parameters)" for part, model in self.items())
        return f"<Assembly {self.name}: {', '.join(told)}>"

    def map(self, function: Callable, parts: Iterable[str] | None = None) -> "Assembly":
        """An assembly of `function(model)` for the named parts, by default all; the others are shared."""
        wanted = {**self} if parts is None else {part: self[part] for part in parts}
        return Assembly(self.name, {**self, **{part: function(model) for part, model in wanted.items()}}, self.kzoo)

    def write_index(self, folder) -> None:
        """Writes `model_index.json`, in the form of `diffusers`: facts begin with an underscore, all else is a part."""
        index = {"_class_name": "Assembly", "_kzoo_version": __version__, "_name": self.kzoo.name,
                 "_overrides": self.kzoo.overrides}  # fmt: skip
        index |= {part: ["kzoo", catalog.card_of(model).name] for part, model in self.items()}
        with atomic.file(pathlib.Path(folder) / INDEX_FILE) as temporary:
            temporary.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _about(part):
    """Errors that say which part they are about."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise (ValueError if isinstance(error, ValueError) else TypeError)(f"part {part}: {error}") from error


def _parts_of(name):
    """The PARTS of the file that a name of the catalogue stands for; None if it builds a single model."""
    return catalog.literals(catalog.find(name).architecture).get("PARTS")


def _card(entry, overrides):
    return catalog.Card(entry.name, entry.architecture, entry.task_of({}), overrides)


def _build(name, /, weights=None, dtype=None, load_head=True, **overrides):
    """An entry of several parts builds an `Assembly`; its keywords are its parts, each a dict of that part's keywords,
    and its weights a folder with a folder a part."""
    entry, parts = catalog.find(name), {}
    for part, keywords in overrides.items():
        if part not in _parts_of(name):
            raise TypeError(f"{entry.name}: {did_you_mean('part', part, _parts_of(name))}")
        if not isinstance(keywords, Mapping):
            raise TypeError(f"{entry.name}: {part} must be a dict of keywords for that part, got {keywords!r}")
    for part, literal in _parts_of(name).items():
        keywords = {**literal, **entry.arguments.get(part, {}), **overrides.get(part, {})}
        where = None if weights is None else pathlib.Path(weights) / part
        with _about(part):
            parts[part] = making.build(keywords.pop("model"), where, dtype, load_head, **keywords)
    return Assembly(entry.name, parts, _card(entry, overrides))


def _save(assembly, folder):
    """An `Assembly` is saved as a folder a part and an index; a failure leaves what stood there before."""
    index = pathlib.Path(folder) / INDEX_FILE
    is_ours = index.is_file() and "_kzoo_version" in index.read_text(encoding="utf-8")
    with atomic.folder(folder, overwrite=is_ours) as temporary:
        for part, model in assembly.items():
            with _about(part):
                saving.save(model, temporary / part)
        assembly.write_index(temporary)


def _load(folder, dtype=None):
    """A folder with an index of parts loads as an `Assembly`."""
    path, parts = pathlib.Path(folder) / INDEX_FILE, {}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        name, overrides = index["_name"], index["_overrides"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or names the parts of another library's model: {error!r}") from error
    for part in [key for key in index if not key.startswith("_")]:
        with _about(part):
            parts[part] = saving.load(path.parent / part, dtype)
    is_entry = name in catalog.entries() and _parts_of(name)
    return Assembly(name, parts, _card(catalog.find(name), overrides) if is_entry else None)


def _save_weights(assembly, folder):
    """Of an `Assembly` the path is a folder, which gets a folder a part."""
    with contextlib.ExitStack() as stack:  # every file takes its name once all are written
        for part, model in assembly.items():
            path = pathlib.Path(folder) / part / WEIGHTS_FILE
            checkpoint.save_weights(model, stack.enter_context(atomic.file(path)))


def _load_weights(assembly, folder, load_head=True):
    """An `Assembly` takes a folder with a folder a part, changes nothing unless all parts fit, and gets
    {part: names that stayed}."""
    cards, values, left = {part: catalog.card_of(model) for part, model in assembly.items()}, [], {}
    try:
        for part, model in assembly.items():
            with _about(part):
                files = checkpoint.open_weights(pathlib.Path(folder) / part)
                left[part] = checkpoint.load_weights(model, files, load_head, lambda *pair: values.append(pair))
                for file in files:
                    file.verify()
    except BaseException:
        for part, model in assembly.items():
            model.kzoo = cards[part]
        raise
    for variable, value in values:
        variable.assign(value)
    return left


def _info(model, /, length=measure.DEFAULT_LENGTH, layers=False, **overrides):
    """Of an `Assembly` the counts are totals, and `parts` has the whole dict of every part."""
    if not isinstance(model, Assembly):
        return measure.without_weights(lambda: _info(_build(model, **overrides), length, layers))
    if overrides:
        raise TypeError(f"an Assembly that is built takes no overrides, got {', '.join(overrides)}; pass its name")
    parts = {part: facts.info(each, length, layers) for part, each in model.items()}
    entry = catalog.find(model.kzoo.name) if model.kzoo.architecture else None
    told = {"name": model.name, "architecture": model.kzoo.architecture, "task": model.kzoo.task}
    told |= {key: getattr(entry, key, None) for key in ("summary", "paper")}
    return {**told, **{key: sum(row[key] for row in parts.values()) for key in TOTALS}, "parts": parts}


def _lora(assembly, rank, layers=None, train=None, **settings):
    """Of an `Assembly`, `layers` and `train` are dicts {part: patterns}; a part that `layers` lacks is frozen."""
    for name, value in {"layers": layers, "train": train or {}}.items():
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} of an Assembly must be a dict {{part: patterns}}, got {value!r}")
    for part in (*layers, *(train or {})):
        if part not in assembly or part not in layers:
            raise ValueError(did_you_mean("part with layers to update", part, assembly))
    adapted = {}
    for part, patterns in layers.items():
        also = (train or {}).get(part, ())
        with _about(part):
            adapted[part] = low_rank_updates.lora(assembly[part], rank, patterns, train=also, **settings)
    for part in assembly.keys() - layers.keys():
        assembly[part].trainable = False
    return Assembly(assembly.name, {**assembly, **adapted}, assembly.kzoo)


def is_assembly(model) -> bool:
    """Whether something is an `Assembly`."""
    return isinstance(model, Assembly)


def _either(single, several, is_several=is_assembly):
    """The public function: `several` for what is an `Assembly` or will be, else `single`."""

    name = next(iter(inspect.signature(single).parameters))

    @functools.wraps(single)
    def function(*args, **kwargs):
        model = args[0] if args else kwargs.pop(name)
        return (several if is_several(model) else single)(model, *args[1:], **kwargs)

    function.__doc__ = f"{single.__doc__}\n    {several.__doc__}\n    "
    return function


build = _either(making.build, _build, _parts_of)
save = _either(saving.save, _save)
load = _either(saving.load, _load, lambda folder: (pathlib.Path(folder) / INDEX_FILE).is_file())
save_weights = _either(checkpoint.save_weights, _save_weights)
load_weights = _either(checkpoint.load_weights, _load_weights)
info = _either(facts.info, _info, lambda model: _parts_of(model) if isinstance(model, str) else is_assembly(model))
lora = _either(low_rank_updates.lora, _lora)

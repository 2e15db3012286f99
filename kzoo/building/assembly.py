"""Several flat models as one thing, such as a generator and a discriminator, in a folder with one folder a part.

The folder is laid out as `diffusers` lays out its own: `model_index.json` at the top names the parts, and
`<part>/weights.safetensors` and `<part>/model.json` hold each as `kzoo.save` writes a model.
"""

import contextlib
import functools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras

from kzoo import catalog
from kzoo.catalog import configurations
from kzoo.rewrites import low_rank_updates
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean
from kzoo.version import __version__
from kzoo.weights import checkpoint
from kzoo.weights.hub import WEIGHTS_FILE


class Assembly(Mapping):
    """Named flat models that belong together: `assembly["unet"]` is one of them, in the order they were given.

    Args:
        name: the name of the whole.
        parts: {name: flat Keras model}; the names also become those of the parts' folders.
        card: what kzoo knows of the whole; by default its name alone.

    `kzoo.save`, `load`, `save_weights`, `load_weights`, `info` and `lora` take it in place of a model. Raises
    ValueError or TypeError if there are no parts, a name cannot be a folder's, or a part is not a functional model.
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

    def __iter__(self):
        return iter(self._parts)

    def __len__(self):
        return len(self._parts)

    def __repr__(self):
        told = (f"{part} = {model.name} ({model.count_params():,} parameters)" for part, model in self.items())
        return f"<Assembly {self.name}: {', '.join(told)}>"

    def map(self, function: Callable, parts: Iterable[str] | None = None) -> "Assembly":
        """An assembly with `function(model)` for the named parts, by default all of them; the others are shared."""
        wanted = {**self} if parts is None else {part: self[part] for part in parts}
        return Assembly(self.name, {**self, **{part: function(model) for part, model in wanted.items()}}, self.kzoo)

    def write_index(self, folder) -> None:
        """Writes `model_index.json`, in the form of `diffusers`: facts begin with an underscore, all else is a part."""
        index = {"_class_name": "Assembly", "_kzoo_version": __version__}
        index |= {"_name": self.kzoo.name, "_overrides": self.kzoo.overrides}
        index |= {part: ["kzoo", catalog.card_of(model).name] for part, model in self.items()}
        with atomic.file(pathlib.Path(folder) / configurations.INDEX_FILE) as temporary:
            temporary.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        if self.kzoo.noise:
            from kzoo.building import pipelines

            pipelines.write_noise(self.kzoo.noise, folder)


@contextlib.contextmanager
def about_part(part) -> Iterator:
    """Errors that say which part they are about."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise (ValueError if isinstance(error, ValueError) else TypeError)(f"part {part}: {error}") from error


def _or_one(single):
    """Decorates what is done to an `Assembly`, and makes it the public function, which leaves a model to `single`."""

    def decorate(several):
        @functools.wraps(single)
        def function(model, *args, **kwargs):
            return (several if isinstance(model, Assembly) else single)(model, *args, **kwargs)

        function.__doc__ = f"{single.__doc__}\n    {several.__doc__}\n    "
        return function

    return decorate


@_or_one(checkpoint.save_weights)
def save_weights(assembly, path, names=None) -> None:
    """For an `Assembly`, `path` is a folder, which gets a folder for each part, and `names` a dict {part: family}; or
    `names` is "diffusers", and `path` a new folder that also gets the configurations, index, schedule of noise and
    tokenizer with which `diffusers` loads it as a pipeline."""
    if names == configurations.DIFFUSERS:
        from kzoo.building import pipelines

        pipelines.write(assembly, path)
        return
    if names is not None and not (isinstance(names, Mapping) and names.keys() <= assembly.keys()):
        raise TypeError(f"names of an Assembly must be a dict {{part: family}} of its parts, got {names!r}")
    with contextlib.ExitStack() as stack:  # every file takes its name once all are written
        for part, model in assembly.items():
            file = pathlib.Path(path) / part / WEIGHTS_FILE
            checkpoint.save_weights(model, stack.enter_context(atomic.file(file)), (names or {}).get(part))


@_or_one(checkpoint.load_weights)
def load_weights(assembly, weights, load_head=True) -> list[str]:
    """For an `Assembly`, `weights` is a folder with a folder for each part, nothing changes unless all parts fit, and
    {part: names that stayed} is returned."""
    cards, values, left = {part: catalog.card_of(model) for part, model in assembly.items()}, [], {}
    try:
        for part, model in assembly.items():
            with about_part(part):
                files = checkpoint.open_weights(pathlib.Path(weights) / part)
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


@_or_one(low_rank_updates.lora)
def lora(assembly, rank, layers=None, alpha=None, dropout=0.0, train=()) -> Any:
    """For an `Assembly`, `layers` and `train` are dicts {part: patterns}; a part that `layers` lacks is frozen."""
    train = train or {}
    for name, value in {"layers": layers, "train": train}.items():
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} of an Assembly must be a dict {{part: patterns}}, got {value!r}")
    for part in (*layers, *train):
        if part not in assembly or part not in layers:
            raise ValueError(did_you_mean("part with layers to update", part, assembly))
    adapted = {}
    for part, patterns in layers.items():
        with about_part(part):
            adapted[part] = low_rank_updates.lora(assembly[part], rank, patterns, alpha, dropout, train.get(part, ()))
    for part in assembly.keys() - layers.keys():
        assembly[part].trainable = False
    return Assembly(assembly.name, {**assembly, **adapted}, assembly.kzoo)

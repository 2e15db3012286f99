"""The catalogue: what can be built, read from the text of the files in `models/`.

A model file is its own entry: the first line of its docstring, its `TASK` and its `VARIANTS`. Reading the text keeps
listing fast, since nothing of Keras is imported until something is built.
"""

import ast
import dataclasses
import fnmatch
import functools
import importlib
import inspect
import json
import math
import pathlib
import re

from kzoo.suggest import did_you_mean

MODELS = pathlib.Path(__file__).with_name("models")
FIGURES = pathlib.Path(__file__).with_name("figures.json")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One variant of the catalogue: what `build` needs to know and what `list` shows.

    `tasks` has the task of every value of the keyword `head`, or of "" where the architecture has one task only.
    """

    name: str
    architecture: str
    tasks: dict
    summary: str
    paper: str
    arguments: dict

    @property
    def task(self):
        """The task as built without overrides."""
        return self.task_of({})

    def task_of(self, overrides):
        """The task of the model that these overrides build."""
        head = {**self.arguments, **overrides}.get("head", "")
        return self.tasks.get(head) or next(iter(self.tasks.values()))


@dataclasses.dataclass(frozen=True)
class Origin:
    """How a model was built; every model of the catalogue carries it as `model.kzoo`.

    `rewrites` are the rewrites of its graph since then, in order: dicts of their keywords and `rewrite`, their name.
    """

    name: str
    architecture: str
    task: str
    overrides: dict
    rewrites: tuple = ()


@functools.cache
def literals(architecture):
    """The module-level literals of a model file and its docstring (as `DOC`), without running the file."""
    tree = ast.parse((MODELS / f"{architecture}.py").read_text(encoding="utf-8"))
    values = {"DOC": ast.get_docstring(tree) or ""}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            try:
                values[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # a table of functions: not part of the catalogue
    return values


@functools.cache
def entries():
    """All variants by name, and each architecture's name for its first variant."""
    found = {}
    for path in sorted(MODELS.glob("*.py")):
        if path.stem == "__init__":
            continue
        values = literals(path.stem)
        summary = values["DOC"].partition("\n")[0].partition(": ")[2].rstrip(".")
        paper = re.search(r"https?://[^\s,)]*\w", values["DOC"])
        for name, arguments in values["VARIANTS"].items():
            tasks = values["TASK"] if isinstance(values["TASK"], dict) else {"": values["TASK"]}
            entry = Entry(name, path.stem, tasks, summary, paper.group() if paper else "", arguments)
            found[name] = entry
            found.setdefault(path.stem, entry)
    return found


def find(name):
    """The entry of a variant or architecture; ValueError with the nearest names if there is none."""
    if not isinstance(name, str) or name not in entries():
        raise ValueError(did_you_mean("model", name, list_models()))
    return entries()[name]


def figures():
    """Parameters and multiply-accumulates per variant, as the last run of `scripts/make_figures.py` computed them."""
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}


def list_models(pattern="*", task=None, max_params=None):
    """Names of the variants that match a shell-style pattern, a task and a largest number of parameters.

    A variant matches a task that one of its heads is for. Raises ValueError for a task that no model has.
    """
    known = entries()
    tasks = sorted({task for entry in known.values() for task in entry.tasks.values()})
    if task is not None and task not in tasks:
        raise ValueError(did_you_mean("task", task, tasks))
    sizes = figures() if max_params is not None else {}
    return [
        name
        for name, entry in known.items()
        if entry.name == name
        and (fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(entry.architecture, pattern))
        and task in (None, *entry.tasks.values())
        and (max_params is None or sizes.get(name, {}).get("parameters", math.inf) <= max_params)
    ]


def build(name, /, weights=None, dtype=None, load_head=True, rewrites=(), **overrides):
    """Builds a model of the catalogue as an uncompiled `keras.Model` in the form of a flat functional graph.

    Args:
        name: a variant (`"transformer_base"`) or an architecture (`"transformer"`: its first variant).
        weights: safetensors in the reference's names and layout: a file, an index of several, a folder that holds one
            (such as `kzoo.save` writes), or `hf://owner/name[@revision]`.
        dtype: a Keras dtype policy for all layers, such as `"mixed_bfloat16"`; the global policy by default.
        load_head: False leaves the classifier random, for another number of classes than the weights have.
        rewrites: what was done to the graph that the weights are of, as `model.kzoo.rewrites` says.
        **overrides: any keyword of the model file's `build`, such as `num_classes=10`.

    Raises ValueError for an unknown name or a value out of range, TypeError for an unknown keyword or a wrong type.
    """
    entry = find(name)
    module = importlib.import_module(f"kzoo.models.{entry.architecture}")
    arguments = {"name": entry.name, **entry.arguments, **_checked(entry, module.build, overrides)}
    import keras

    policy = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    try:
        if weights is None:
            return _made(module, arguments, entry, overrides, rewrites)
        from kzoo import checkpoint
        from kzoo.blank import BlankVariables

        opened = checkpoint.open_weights(weights)  # its sha256 is computed while the graph is built
        if rewrites or not load_head:  # not all that is built is replaced, or it is built from what was built
            model = _made(module, arguments, entry, overrides, rewrites)
            checkpoint.load_weights(model, opened, load_head)
            return model
        with BlankVariables() as blank:
            model = _made(module, arguments, entry, overrides)
            checkpoint.load_weights(model, opened, assign=blank.assign)
        for file in opened:
            file.verify()
        return model
    finally:
        keras.config.set_dtype_policy(policy)


def _made(module, arguments, entry, overrides, rewrites=()):
    """The model of a module, rewritten, with how it was built."""
    model = module.build(**arguments)
    model.kzoo = Origin(entry.name, entry.architecture, entry.task_of(overrides), overrides)
    if not rewrites:
        return model
    from kzoo.rewrites import repeat

    return repeat(model, rewrites)


def arguments(model):
    """Every keyword that a model of the catalogue was built with, defaults too; ValueError for any other model."""
    origin = getattr(model, "kzoo", None)
    if origin is None:
        raise ValueError(f"{model.name} was not built by kzoo.build, so its keywords are not known")
    function = importlib.import_module(f"kzoo.models.{origin.architecture}").build
    defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    return {**defaults, **find(origin.name).arguments, **origin.overrides}


def _checked(entry, function, overrides):
    """The overrides, if every keyword is known and every value is of the kind its default is."""
    defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    for key, value in overrides.items():
        if key not in defaults:
            raise TypeError(f"{entry.name}: {did_you_mean('keyword', key, defaults)} (all: {', '.join(defaults)})")
        headless = key == "num_classes" and literals(entry.architecture).get("HEADLESS", False)
        _check_value(entry.name, key, value, entry.arguments.get(key, defaults[key]), least=0 if headless else 1)
    return overrides


def _check_value(model, key, value, default, least):
    """One rule a kind of value serves every model, because keywords are the field's standard terms."""
    is_count = isinstance(default, int) and not isinstance(default, bool)
    if key.endswith("dropout"):
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            raise ValueError(f"{model}: {key} must be a number from 0 up to but not including 1, got {value!r}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"{model}: {key} must be True or False, got {value!r}")
    elif is_count or isinstance(default, tuple):
        values = (value,) if is_count else value
        names = not is_count and isinstance(default[0], str)
        kinds = (str,) if names else (int, type(None))
        sequence = isinstance(values, tuple | list) and all(type(item) in kinds for item in values)
        if not sequence or (is_count and value is None):
            wanted = "an int" if is_count else f"a tuple of {'strings' if names else 'ints'}"
            raise TypeError(f"{model}: {key} must be {wanted}, got {value!r}")
        if not names and any(item is not None and item < least for item in values):
            raise ValueError(f"{model}: {key} must be at least {least}, got {value!r}")
    elif isinstance(default, float):
        if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
            raise ValueError(f"{model}: {key} must be a number above 0, got {value!r}")
    elif isinstance(default, str) and not isinstance(value, str):
        raise TypeError(f"{model}: {key} must be a string, got {value!r}")

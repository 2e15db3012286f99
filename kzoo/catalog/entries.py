"""The catalogue: what can be built, read from the text of the files in `models/`.

A model file is its own entry: the first line of its docstring and the literals of LITERALS. Reading the text keeps
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

from kzoo.catalog.card import card_of
from kzoo.support.suggest import did_you_mean

# literal of a model file -> what the house reads in it; an upper-case literal that is not listed is an error
LITERALS = {
    "TASK": "what the model is for, or a dict from each value of the keyword `head` to what it is for",
    "INPUTS": "{input: what kind of thing it is}",
    "PREPROCESSING": "how pixels become its input, or what it writes becomes pixels: keywords of `Preprocessing`",
    "AGREES_WITH": "the reference implementation whose outputs a test compares with",
    "PARTS": "for several networks: {part: {`model`: name, keywords of its `build`}}, in place of a function `build`",
    "NOISE": "of several networks that diffuse: {variant: the content of `diffusers`' scheduler_config.json}",
    "PIPELINE": "what `model_index.json` of `diffusers` says beside the parts: `_class_name`, ...",
    "WRITES": "the input that generation extends",
    "VARIANTS": "{name: keywords of `build`}; `like` names another variant whose keywords come first",
    "BUILT_FROM": "{keyword that names another model: {`task` of that model, `options`: the keyword that holds its "
    "keywords, `shares`: keywords that it takes from this model}}",
    "HEADLESS": "what the model is for with `num_classes=0`, which gives features",
    "HEAD": "layers that `load_head=False` leaves as they are; without it, the last with weights of a classifier",
    "HEAD_IF_MISSING": "layers that belong to the head only if the file lacks them",
    "OTHER_HEADS": "patterns of tensors that belong to heads which the model may lack",
    "CONVOLVED": "{family of NAMES: {Dense kernel that it stores as a convolution's: side of its window}}",
    "GRIDS": "{layer with a position for a class token and each patch of an image: the keyword of the patches' size}",
    "TRAINING_ONLY": "patterns of tensors that serve training alone",
    "DERIVED": "{tensor of the reference: where it comes from, `computed` or `zeros`}",
    "NAMES": "{family of checkpoints: {name there, with {} for what changes: name here}}, see kzoo/weights/naming.py; "
    "the first is the one that the layers are named after",
    "LAYOUTS": "{class of a layer or last part of its name: {variable: (tensor, layout)}}, exceptions to "
    "`kzoo.weights.layouts`",
    "HAIKU": "the modules that come first in every key of Haiku's archives (.npz), see kzoo/weights/haiku.py",
    "CLASS_NAMES": "names of its classes, where it has as many, until data name them otherwise",
    "KMERS": "{variant that reads DNA in overlapping words: how many letters each has}",
    "LORA_LAYERS": "layers that low-rank updates usually choose",
    "CONFIG": "{`model_type` of a published configuration, or `timm` or `diffusers`: {`models`: {network there: "
    "keywords here, with `model` for a variant} or variants of the same name, `keywords`: {key: keyword, or (keyword, "
    "*places in it)}, "
    "`otherwise`: {switch: {value: keywords that differ then}}, `follows`: {keyword: the one whose value it has unless "
    "it is given}, `defaults`: {key: its value where it is absent}, `stands_for`: {key: {value there: value here}}, "
    "`repeated`: {keyword: the one that has as many items as a single value stands for}, `each`: {key: (what all its "
    "items must be, the keyword with as many items)}, `problems`: {a "
    "`problem_type`: the task that it is}, `values`: {key: values that this graph "
    "computes, None where the key is absent}, `ignored`: keys of no meaning, "
    "`modules`: {class of a sentence-transformers module: {mode: keywords}}}}",
}
REQUIRED = {"TASK", "VARIANTS"}
MODELS = pathlib.Path(__file__).parents[1] / "models"
TASKS = MODELS.with_name("tasks")
SAID = ("name", "architecture", "task", "summary", "paper")  # of what `kzoo.info` tells, what an entry says by itself
FIGURES = pathlib.Path(__file__).with_name("figures.json")
RECIPES = FIGURES.with_name("recipes.json")


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
    def task(self) -> str:
        """The task as built without overrides."""
        return self.task_of({})

    def usual_task(self, overrides) -> str:
        """The task that the model file gives the head that these overrides choose."""
        given = {**self.arguments, **overrides}
        if given.get("num_classes") == 0 and (headless := literals(self.architecture).get("HEADLESS")):
            return headless
        return self.tasks.get(given.get("head", "")) or next(iter(self.tasks.values()))

    def task_of(self, overrides) -> str:
        """The task of the model that these overrides build; ValueError for a `task` that such a model has no head for.

        The same head may learn something else than the model file says, as `instead_of` lists.
        """
        own = self.usual_task(overrides)
        asked = overrides.get("task", own)
        if asked == own or own in instead_of().get(asked, ()):
            return asked
        if asked not in instead_of():
            raise ValueError(f"{self.name}: {did_you_mean('task', asked, [own, *instead_of()])}")
        heads = [name for name, task in self.tasks.items() if name and task in instead_of()[asked]]
        hint = f"; pass head={' or '.join(map(repr, heads))}" if heads else ""
        raise ValueError(f"{self.name} is for {own}, whose outputs task={asked!r} cannot learn{hint}")


@functools.cache
def literals(architecture) -> dict:
    """The module-level literals of a model file and its docstring (as `DOC`), without running the file.

    Raises ValueError for an upper-case literal that LITERALS does not list, one that it lists and that is no literal,
    and a file that lacks one of REQUIRED or, for a single network, INPUTS. A constant of the file's own begins with an
    underscore.
    """
    tree = ast.parse((MODELS / f"{architecture}.py").read_text(encoding="utf-8"))
    values = {"DOC": ast.get_docstring(tree) or ""}
    for node in tree.body:
        name = node.targets[0].id if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) else ""
        if not name.isupper() or name.startswith("_"):
            continue
        try:
            values[name] = ast.literal_eval(node.value)
        except ValueError:  # such as a table of functions, which is not part of the catalogue
            if name in LITERALS:
                raise ValueError(f"models/{architecture}.py: {name} must be written out as a literal") from None
            continue
        if name not in LITERALS:
            told = did_you_mean("literal", name, LITERALS)
            raise ValueError(f"models/{architecture}.py: {told} A constant of the file's own is called _{name}")
    if missing := sorted({*REQUIRED, *([] if "PARTS" in values else ["INPUTS"])} - values.keys()):
        raise ValueError(f"models/{architecture}.py lacks {', '.join(missing)}")
    return values


def literals_of(model) -> dict:
    """The literals of the file that a model was built from; none for a model that `kzoo.build` did not make."""
    architecture = card_of(model).architecture
    return literals(architecture) if architecture else {}


@functools.cache
def instead_of() -> dict:
    """{task: tasks whose models may be built for it, by the keyword `task`}, as files of tasks say in INSTEAD_OF."""
    found = {}
    for path in sorted(TASKS.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "INSTEAD_OF":
                found[path.stem] = ast.literal_eval(node.value)
    return found


@functools.cache
def entries() -> dict[str, Entry]:
    """All variants by name, and each architecture's name for its first variant."""
    found = {}
    for path in sorted(MODELS.glob("*.py")):
        if path.stem == "__init__":
            continue
        values = literals(path.stem)
        summary = values["DOC"].partition("\n")[0].partition(": ")[2].rstrip(".")
        paper = re.search(r"https?://[^\s,)]*\w", values["DOC"])
        tasks = values["TASK"] if isinstance(values["TASK"], dict) else {"": values["TASK"]}
        for name in values["VARIANTS"]:
            arguments = _arguments(path.stem, values["VARIANTS"], name)
            entry = Entry(name, path.stem, tasks, summary, paper.group() if paper else "", arguments)
            found[name] = entry
            found.setdefault(path.stem, entry)
    return found


def _arguments(architecture, variants, *chain):
    """The keywords of the last variant of a chain, in which each one starts from the next."""
    arguments = dict(variants[chain[-1]])
    base = arguments.pop("like", None)
    if base is None:
        return arguments
    if base in chain:
        raise ValueError(f"models/{architecture}.py: variants start from each other: {', '.join((*chain, base))}")
    if base not in variants:
        raise ValueError(f"models/{architecture}.py: {chain[-1]}: {did_you_mean('variant', base, variants)}")
    return {**_arguments(architecture, variants, *chain, base), **arguments}


def find(name) -> Entry:
    """The entry of a variant or architecture; ValueError with the nearest names if there is none."""
    if not isinstance(name, str) or name not in entries():
        raise ValueError(_unknown(name))
    return entries()[name]


def _unknown(name):
    """What to say about a name that no variant has: the one that published configurations mean by it, or near ones."""
    for architecture in {entry.architecture for entry in entries().values()}:
        for table in literals(architecture).get("CONFIG", {}).values():
            row = table["models"].get(name) if isinstance(table["models"], dict) else None
            if row and "model" in row:
                more = "".join(f", {key}={value!r}" for key, value in row.items() if key != "model")
                return f"unknown model {name!r}; did you mean {row['model']!r}{more}?"
    told = did_you_mean("model", name, list_models())
    return told if told.endswith("?") else f"{told}; kzoo.list_models() and kzoo list name all"


def figures() -> dict:
    """What `kzoo.info` counts in every variant, as the last run of `scripts/make_figures.py` computed it.

    The counts are those of the graph as it is by default, at the default length of a sequence.
    """
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}


def recipes() -> dict:
    """How models of a task are trained by default, {task: fields of a recipe}; `scripts/make_figures.py` writes it."""
    return json.loads(RECIPES.read_text(encoding="utf-8"))


def settings(entry) -> dict:
    """The keywords of a variant's `build` with their values, read from the text of the model file.

    A default that is no literal, such as a function, is given as its text.
    """
    tree = ast.parse((MODELS / f"{entry.architecture}.py").read_text(encoding="utf-8"))
    build = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "build"), None)
    if build is None:
        return dict(entry.arguments)
    given = build.args.args[-len(build.args.defaults) :], build.args.defaults
    given = zip((*given[0], *build.args.kwonlyargs), (*given[1], *build.args.kw_defaults), strict=True)
    defaults = {argument.arg: _value(default) for argument, default in given if argument.arg != "name"}
    return {**defaults, **entry.arguments}


def _value(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def list_models(pattern="*", task=None, max_params=None) -> list[str]:
    """Names of the variants that match a shell-style pattern, a task and a largest number of parameters.

    A variant matches a task that one of its heads is for, or may be built for by the keyword `task`. Raises ValueError
    for a task that no model has.
    """
    known = entries()
    if task is not None:
        wanted = {task, *instead_of().get(task, ())}
        tasks = sorted({*instead_of(), *(task for entry in known.values() for task in entry.tasks.values())})
        if task not in tasks:
            raise ValueError(did_you_mean("task", task, tasks))
    sizes = figures() if max_params is not None else {}
    return [
        name
        for name, entry in known.items()
        if entry.name == name
        and (fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(entry.architecture, pattern))
        and (task is None or not wanted.isdisjoint(entry.tasks.values()))
        and (max_params is None or sizes.get(name, {}).get("parameters", math.inf) <= max_params)
    ]


def arguments(model) -> dict:
    """Every keyword that a model of the catalogue was built with, defaults too; ValueError for any other model."""
    card = card_of(model)
    if card.architecture is None:
        raise ValueError(f"{model.name} was not built by kzoo.build, so its keywords are not known")
    return arguments_of(find(card.name), card.overrides)


def arguments_of(entry, overrides) -> dict:
    """Every keyword that a variant is built with, defaults too; of several networks those of its parts that differ."""
    if literals(entry.architecture).get("PARTS"):
        return {**entry.arguments, **overrides}
    function = importlib.import_module(f"kzoo.models.{entry.architecture}").build
    defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    return {**defaults, **entry.arguments, **overrides}

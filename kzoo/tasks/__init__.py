"""Kinds of work. A task is one file of this folder (or one folder) with an instance `TASK`; the file is its entry."""

import functools
import importlib
import pathlib

from kzoo import catalog
from kzoo.catalog import card_of
from kzoo.support.suggest import did_you_mean
from kzoo.tasks.base import Task, num_classes, num_outputs, probabilities
from kzoo.tasks.compiling import compile_model, plain_names
from kzoo.tasks.inference import embed, evaluate, generate, predict
from kzoo.tasks.losses import Accuracy, SparseCrossEntropy

__all__ = [
    "Accuracy", "SparseCrossEntropy", "Task", "compile_model", "embed", "evaluate", "every", "find", "generate",
    "names", "num_classes", "num_outputs", "of", "of_or_guess", "plain_names", "predict", "probabilities", "recipe_of",
]  # fmt: skip


@functools.cache
def names() -> list:
    """The names of all tasks."""
    folder = pathlib.Path(__file__).parent
    files = [*folder.glob("*.py"), *folder.glob("*/__init__.py")]
    found = [path for path in files if "\nTASK = " in path.read_text(encoding="utf-8")]
    return sorted(path.stem if path.stem != "__init__" else path.parent.name for path in found)


def find(name, model_name="the model") -> Task:
    """The task of that name; ValueError that says which model asks for one that is unknown."""
    if name not in names():
        raise ValueError(f"{model_name}: {did_you_mean('task', name, names())}")
    return importlib.import_module(f"kzoo.tasks.{name}").TASK


def every() -> list:
    """All tasks."""
    return [find(name) for name in names()]


def of(model) -> Task:
    """The task of a model; ValueError for a model that was not built for one."""
    name = card_of(model).task
    if name is None:
        raise ValueError(f"{model.name} was not built by kzoo.build, so its task is not known")
    return find(name, model.name)


def recipe_of(name, overrides) -> dict:
    """The recipe of a catalogue model: that of the task its file is for, whatever else its outputs learn."""
    return find(catalog.find(name).usual_task(overrides), name).recipe


def of_or_guess(model) -> Task:
    """The task of a model; where that is not known, what its output looks like: one logit, or classes."""
    if card_of(model).task is None:
        return find("binary_classification" if model.outputs[0].shape[-1] == 1 else "image_classification")
    return of(model)

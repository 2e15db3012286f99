"""Kinds of work: what data a task takes, what it learns by, how its outputs read and how they are scored."""

from kzoo.tasks.base import TASKS, compile_model, find, num_classes, num_heads, of, plain_names, probabilities
from kzoo.tasks.inference import evaluate, predict

__all__ = [
    "TASKS", "compile_model", "evaluate", "find", "num_classes", "num_heads", "of", "plain_names", "predict",
    "probabilities",
]  # fmt: skip

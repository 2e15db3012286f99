"""Choosing layers by name: exact names, the ends of names after a dot, shell-style patterns, regular expressions."""

import fnmatch
import re


def as_list(argument, patterns, empty=False) -> list:
    """A pattern or list of patterns as a list; TypeError, naming the argument, for anything else."""
    patterns = [patterns] if isinstance(patterns, str | re.Pattern) else patterns
    fits = isinstance(patterns, list | tuple) and all(isinstance(pattern, str | re.Pattern) for pattern in patterns)
    if not fits or not (patterns or empty):
        raise TypeError(f"{argument} must be a name or pattern or a list of such, got {patterns!r}")
    return patterns


def matching(model, pattern) -> list:
    """The layers of a model that a pattern chooses."""
    if isinstance(pattern, re.Pattern):
        return [layer for layer in model.layers if pattern.fullmatch(layer.name)]
    exact = [layer for layer in model.layers if layer.name == pattern]
    ends = [pattern, f"*.{pattern}"]
    return exact or [layer for layer in model.layers if any(fnmatch.fnmatchcase(layer.name, end) for end in ends)]


def text_of(pattern) -> str:
    """A pattern as a person wrote it."""
    return pattern.pattern if isinstance(pattern, re.Pattern) else pattern

"""The keywords of a model's `build`, checked before anything is built."""

import inspect
import math
import re

from kzoo.catalog.entries import literals
from kzoo.support.suggest import did_you_mean

# names of ints of which there is at least one, unless the default says otherwise
COUNTS = re.compile(r"num_\w+|(\w+_)?(dims?|filters|units|depths?|sizes?|length|shape|growth_rate)")


def checked(entry, function, overrides) -> dict:
    """The overrides, if every keyword is known and every value is of the kind its default is.

    Raises TypeError for an unknown keyword or a value of another kind, ValueError for one out of range.
    """
    defaults = {key: parameter.default for key, parameter in inspect.signature(function).parameters.items()}
    for key, value in overrides.items():
        if key not in defaults:
            raise TypeError(f"{entry.name}: {did_you_mean('keyword', key, defaults)} (all: {', '.join(defaults)})")
        default = entry.arguments.get(key, defaults[key])
        if key == "num_classes" and literals(entry.architecture).get("HEADLESS"):
            default = 0
        _check_value(entry.name, key, value, default)
    return overrides


def _check_value(model, key, value, default):
    """One rule for each kind of value serves every model, because keywords are the field's standard terms."""
    if key.endswith("dropout"):
        if not _is_number(value) or not 0 <= value < 1:
            raise ValueError(f"{model}: {key} must be a number from 0 up to but not including 1, got {value!r}")
    elif isinstance(default, tuple):
        _check_tuple(model, key, value, default)
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise TypeError(f"{model}: {key} must be True or False, got {value!r}")
    elif isinstance(default, int):
        if type(value) is not int:
            raise TypeError(f"{model}: {key} must be an int, got {value!r}")
        _check_least(model, key, value, [value], [default])
    elif isinstance(default, float):
        is_factor = key.endswith("multiplier")
        if not _is_number(value) or not math.isfinite(value) or value < 0 or (is_factor and value == 0):
            wanted = "a number above 0" if is_factor else "a finite number of at least 0"
            raise ValueError(f"{model}: {key} must be {wanted}, got {value!r}")
    elif isinstance(default, str) and not isinstance(value, str):
        raise TypeError(f"{model}: {key} must be a string, got {value!r}")


def _check_tuple(model, key, value, default):
    """A tuple takes items of the kinds of its default: strings, ints, or floats, which ints stand for too."""
    kinds = {type(item) for item in default} - {type(None)}
    kind, takes = next(
        (row for row in ((float, (float, int)), (int, (int, type(None))), (str, (str,))) if row[0] in kinds),
        (None, None),
    )
    is_sequence = isinstance(value, tuple | list)
    if not is_sequence or (kind and not all(type(item) in takes for item in value)):
        items = {float: " of numbers", int: " of ints", str: " of strings", None: ""}[kind]
        raise TypeError(f"{model}: {key} must be a tuple{items}, got {value!r}")
    numbers = [item for item in value if _is_number(item)]
    if not all(math.isfinite(item) for item in numbers):
        raise ValueError(f"{model}: {key} must be finite, got {value!r}")
    _check_least(model, key, value, numbers, [item for item in default if _is_number(item)])


def _check_least(model, key, value, numbers, defaults):
    """Counts are at least 1 and other numbers at least 0, or as small as their default."""
    least = min([1 if COUNTS.fullmatch(key) else 0, *defaults])
    if any(number < least for number in numbers):
        raise ValueError(f"{model}: {key} must be at least {least}, got {value!r}")


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)

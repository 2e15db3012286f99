"""The keywords of a model's `build`, checked before anything is built."""

import inspect

from kzoo.catalog.entries import literals
from kzoo.support.suggest import did_you_mean


def checked(entry, function, overrides):
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

"""Whatever people pass to `fit` and `evaluate` as data: names, arrays, texts, tables, batches."""

import dataclasses
import os
from typing import Any

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.tasks import of_or_guess
from kzoo.tasks.base import takes_tokens
from kzoo.tasks.feeding.loading import from_arrays, from_texts, load

TARGETS = ("label", "labels", "target", "targets")  # what the column to learn is called, where none is named


@dataclasses.dataclass
class Given:
    """Examples in memory that are not split and batched yet: arrays, or texts, with what is to be learned of each."""

    x: object
    y: object
    validation: object = None
    class_names: list | None = None

    def load(self, model, **options) -> Any:
        """The `Data` of these examples; `options` are those of `from_arrays`."""
        model = of_or_guess(model).fed(model)
        make = from_texts if takes_tokens(model) and are_texts(self.x) else from_arrays
        return make(self.x, self.y, model, validation=self.validation, class_names=self.class_names, **options)


def read(model, data, y=None, validation=None, names=None) -> Any:
    """What is passed as data, as a `Data`, a name, None for the task's default, or `Given` examples.

    Args:
        names: the columns of a table in memory that are meant, as `columns` of `load`, which reads those of a file.

    Raises ValueError or TypeError that names what was passed and what is wanted.
    """
    from kzoo.data import Data  # imports TensorFlow, which predictions on another backend do without

    if data is None or isinstance(data, str | os.PathLike | Data):
        for name, value in {"y": y, "validation_data": validation}.items():
            if value is not None:
                raise ValueError(f"{name} goes with arrays, tables or batches; a data set has its own")
        if names and isinstance(data, Data):
            raise ValueError(f"columns={names!r} is for tables; {data.name} is loaded already, so pass it there")
        return os.fspath(data) if isinstance(data, os.PathLike) else data
    model = of_or_guess(model).fed(model)
    if isinstance(data, dict) and "train" in data and "train" not in columns.inputs_of(model):  # splits by name
        held = data.get("validation") if validation is None else validation
        return read(model, data["train"], y, held, names)
    if names and not _is_table(data):
        raise ValueError(f"columns={names!r} is for tables, and {type(data).__name__} is none")
    if _are_batches(data):
        if y is not None:
            raise ValueError(f"batches hold their own targets; y was passed beside a {type(data).__name__}")
        return _from_batches(model, data, validation)
    given = _examples(model, data, y, names)
    if validation is None:
        return given
    if _are_batches(validation):
        raise ValueError("validation_data in batches goes with training data in batches; pass arrays for both")
    is_table = _is_table(validation)
    held = _examples(model, validation, y if isinstance(y, str) else None, names if is_table else None)
    return dataclasses.replace(given, validation=(held.x, held.y))


def _from_batches(model, data, validation):
    from kzoo.data import given_batches

    task, how = of_or_guess(model), card_of(model).preprocessing
    target, parts, name = task.target(model), {"train": data}, "batches"
    if validation is not None and _are_batches(validation):
        parts["validation"] = validation
    made = given_batches.from_batches(name, parts, model, target, how)
    if validation is not None and not _are_batches(validation):
        held = _examples(model, validation, None)
        made.validation = held.load(model, batch_size=made.train.batch_size, validation_fraction=0).train.as_it_is()
    return made


def _are_batches(data):
    """Whether something gives batches: neither arrays nor a table, but with a length and an order."""
    if isinstance(data, tuple | list | dict | str) or hasattr(data, "__array__") or _is_table(data):
        return False
    if hasattr(data, "cardinality") or (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        return True
    if hasattr(data, "__iter__") and not hasattr(data, "__len__"):
        raise ValueError(
            f"a {type(data).__name__} has no length, and without one no run can resume: pass arrays, a tf.data.Dataset "
            "or a keras.utils.PyDataset"
        )
    return hasattr(data, "__iter__")


def _is_table(data):
    """A frame of pandas, or a data set of Hugging Face's `datasets`."""
    is_frame = hasattr(data, "iloc") and hasattr(data, "columns")
    return is_frame or (hasattr(data, "column_names") and hasattr(data, "__len__"))


def _examples(model, data, y, names=None):
    if names:
        data, y = _chosen(data, y, names)
    if y is None and hasattr(data, "__array__") and not of_or_guess(model).needs_targets:
        y = np.zeros(len(data), np.int32)
    if y is None or isinstance(y, str):
        if _is_table(data):
            return _of_table(model, data, y)
        if not isinstance(data, tuple | list) or len(data) != 2:
            size = f" of {len(data)}" if isinstance(data, tuple | list) else ""
            got = f"got a {type(data).__name__}{size}"
            raise ValueError(f"data must be a pair (x, y) of arrays, {got}; or pass x and y apart")
        data, y = data
    x = _columns(model, data) if _is_table(data) else data
    if hasattr(x, "iloc"):  # a column of a frame
        x = x.to_numpy()
    return Given(by_order(model, x), y.to_numpy() if hasattr(y, "iloc") else y)


def by_order(model, x) -> Any:
    """Inputs of a model in the form that checks take: a list in the model's order becomes a dict."""
    from kzoo.data.given_batches import by_name

    if isinstance(x, list) and x and not are_texts(x):
        return by_name(x, columns.inputs_of(model))
    return np.asarray(x, dtype=object).tolist() if are_texts(x) and not isinstance(x, tuple) else x


def are_texts(x) -> bool:
    """Whether examples are texts: a list or array of strings, or a pair of those."""
    if isinstance(x, tuple):
        return len(x) in (1, 2) and all(are_texts(column) for column in x)
    if isinstance(x, dict | str) or not hasattr(x, "__len__") or not len(x):
        return False
    return all(isinstance(one, str) for one in (x if isinstance(x, list) else np.ravel(np.asarray(x))[:100]))


def _chosen(table, y, names):
    """The columns of a table in memory that are meant, and what is learned: a name, or numbers (rows, columns)."""
    from kzoo.data.sources import chosen_columns, table_files

    wanted = chosen_columns.asked(names)
    if y is not None and all(wanted):
        raise ValueError(f"columns={names!r} names what is to be learned, and y was passed as well")
    held = dict.fromkeys(map(str, getattr(table, "column_names", None) or table.columns))
    known = table_files.Table("the table", held, [])
    chosen = chosen_columns.choose(known, wanted, "numbers", None, several=True, learns=y is None)
    targets = [y] if isinstance(y, str) else chosen.targets
    if len(targets) > 1:
        y, targets = np.stack([np.asarray(table[name], np.float32) for name in targets], axis=-1), []
    kept = [*chosen.inputs, *targets]
    return table[kept] if hasattr(table, "iloc") else table.select_columns(kept), targets[0] if targets else y


def _of_table(model, table, target):
    """The inputs and the target of a table; the column to learn is named, or has one of the usual names."""
    names = [str(name) for name in getattr(table, "column_names", None) or table.columns]
    usual = [name for name in TARGETS if name in names]
    if target is None and len(usual) != 1:
        raise ValueError(f"which column is to be learned? pass y= with one of {', '.join(names)}")
    target = target or usual[0]
    if target not in names:
        raise ValueError(f"y={target!r} is no column of the table; it has {', '.join(names)}")
    kind = getattr(table, "features", {}).get(target) if hasattr(table, "column_names") else None
    y = table[target]
    y = y.to_numpy() if hasattr(y, "iloc") else list(y)
    return Given(_columns(model, table, target), y, class_names=getattr(kind, "names", None))


def _columns(model, table, target=None):
    """A table's columns, but for its target, as the inputs of a model."""
    names = [name for name in getattr(table, "column_names", None) or table.columns if str(name) != target]
    held = {name: table[name].to_numpy() if hasattr(table[name], "iloc") else list(table[name]) for name in names}
    wanted = columns.inputs_of(model)
    if takes_tokens(model) and not {*wanted} <= {*held}:
        texts = [np.asarray(values, dtype=object).tolist() for values in held.values() if are_texts(values)]
        if len(texts) not in (1, 2):
            raise ValueError(f"{model.name} takes one text or two; the table has {len(texts)} in {', '.join(names)}")
        return tuple(texts) if len(texts) == 2 else texts[0]
    if {*wanted} <= {*held} and (len(wanted) > 1 or len(held) == 1):
        held = {name: _stacked(model, name, held[name]) for name in wanted}
        return held if len(held) > 1 else next(iter(held.values()))
    if len(wanted) == 1 and len(held) == 1:
        (name,) = held
        return _stacked(model, name, held[name])
    words = [str(name) for name, values in held.items() if np.asarray(values).dtype.kind not in "biuf"]
    if words or len(wanted) > 1:
        raise ValueError(
            f"{model.name} takes {', '.join(wanted)}; the table's columns {', '.join(words or map(str, names))} are "
            "not those: pass numbers alone, such as table[['width', 'height']] and y apart"
        )
    return np.stack([np.asarray(values, np.float32) for values in held.values()], axis=-1)


def _stacked(model, name, values):
    """A column of arrays or pictures as one array."""
    shape = columns.inputs_of(model).get(name, next(iter(columns.inputs_of(model).values()))).shape
    if hasattr(values[0], "convert"):  # a picture of Pillow's
        values = [np.asarray(one.convert("L" if shape[-1] == 1 else "RGB")) for one in values]
    arrays = [np.asarray(one) for one in values]
    sizes = sorted({array.shape for array in arrays})
    if len(sizes) > 1:
        raise ValueError(f"column {name!r} holds arrays of {len(sizes)} shapes, such as {sizes[0]} and {sizes[1]}")
    return np.stack(arrays)


def loaded(model, data, y=None, validation=None, names=None, **options) -> Any:
    """`read`, and the `Data` of what that gives."""
    found = data if isinstance(data, Given) else read(model, data, y, validation, names)
    if found is None or isinstance(found, str):
        return load(found or of_or_guess(model).default_data, model, columns=names, **options)
    return found.load(model, **options) if isinstance(found, Given) else found

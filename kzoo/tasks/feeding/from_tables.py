"""What a task learns from tables: texts, images or numbers with their labels; and predictions for their rows."""

import os
import pathlib
from typing import Any

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.data.sources import chosen_columns, folders
from kzoo.tasks.base import takes_images, takes_sounds, takes_tokens


def _inputs(model):
    """What kind of cells a model reads, and how many of them a row may have."""
    if takes_tokens(model):
        return "texts", 2
    if columns.lettered(model):
        return "texts", 1
    if takes_images(model):
        return "images", 1
    if takes_sounds(model):
        return "sounds", 1
    wanted = columns.inputs_of(model)
    odd = [name for name, column in wanted.items() if not _has_cells(column)]
    if odd:
        raise ValueError(f"{model.name} takes {', '.join(odd)}, which no table gives; pass arrays")
    return ("inputs", len(wanted)) if len(wanted) > 1 else ("numbers", None)


def _has_cells(column):
    """Whether cells of a table can hold an input: numbers, or the paths of images."""
    return len(column.shape) == 1 or (column.kind == "image" and None not in column.shape)


def _opened(files, model, names, several=False, learns=True, skip_bad=False):
    """The tables, and what kind of cells the model reads; the columns of several inputs are called as these are."""
    kind, most = _inputs(model)
    own = list(columns.inputs_of(model)) if kind == "inputs" else []
    return chosen_columns.open_tables(files, names, kind, most, several, learns, skip_bad, own), kind


def _cells(model, table, names, kind):
    """The columns that a model reads; of several inputs, in their order, images being fitted already."""
    if kind != "inputs":
        return chosen_columns.inputs_of(table, names, kind)
    found = []
    for name, column in zip(names, columns.inputs_of(model).values(), strict=True):
        if column.kind != "image":
            found.append(chosen_columns.vectors_of(table, name, column.shape[0]))
            continue
        images = np.zeros((len(table.places), *column.shape), np.float32)
        for row, path in enumerate(chosen_columns.paths_of(table, name)):
            try:
                if row not in table.bad:
                    images[row] = folders.fit(path.read_bytes(), column.shape, card_of(model).preprocessing)
            except ValueError as error:
                table.bad[row] = f"{path} cannot be read as an image: {error}"
        found.append(images)
    return found


def width(task, files, model, names) -> int | None:
    """The `num_classes` that tables ask of a model: labels that differ, or numbers for each example."""
    target = task.target(model)
    if isinstance(target, dict):
        return None
    opened, _ = _opened(files, model, names, isinstance(target, columns.Values))
    table = opened.tables[opened.first]
    y, _ = chosen_columns.targets_of(target, table, opened.chosen.targets)
    if isinstance(y, np.ndarray):
        return y.shape[1]
    good = [value for row, value in enumerate(y) if row not in table.bad]
    return len({word for value in good for word in ([value] if isinstance(value, str) else value)})


def labelled(task, name, files, model, how) -> Any:
    """The `Data` of tables with an example and its label, labels or numbers in each row."""
    from kzoo.data import labelled_texts, pictures

    target, known, parts = task.target(model), card_of(model).class_names, {}
    opened, kind = _opened(files, model, how.columns, isinstance(target, columns.Values), skip_bad=how.skip_bad)
    for split, table in opened.tables.items():
        x = _cells(model, table, opened.chosen.inputs, kind)
        y, names = chosen_columns.targets_of(target, table, opened.chosen.targets)
        good = table.good_rows(how.skip_bad)
        y, known = chosen_columns.encoded(f"{name} {split} labels", target, _taken(y, good), known or names)
        parts[split] = (tuple(_taken(column, good) for column in x), np.asarray(y))
        opened.notes += table.notes
    identity = {"name": name, **opened.identity, "class_names": known}
    if kind == "images":
        files = {split: list(zip(paths, y.tolist(), strict=True)) for split, ((paths,), y) in parts.items()}
        root = pathlib.Path(os.path.commonpath([path.parent for part in files.values() for path, _ in part]))
        data = pictures.from_files(name, root, files, known, model, target, how.options, how.skip_bad)
        data.fingerprint |= identity
    else:
        opened.notes += chosen_columns.carve(name, parts, how.options)
    if kind == "texts":
        data = labelled_texts.from_parts(name, identity, parts, model, target, how.options, how.texts, known)
    elif kind == "numbers":
        parts = {split: (numbers, y, None) for split, ((numbers,), y) in parts.items()}
        data = pictures.from_parts(name, identity, parts, model, target, how.options, known)
    elif kind == "inputs":
        wanted = list(columns.inputs_of(model))
        parts = {split: (dict(zip(wanted, x, strict=True)), y, None) for split, (x, y) in parts.items()}
        data = pictures.from_parts(name, identity, parts, model, target, how.options, known, fitted=True)
    data.notes[:0] = opened.notes
    return data


def _taken(column, rows):
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]


def rows_of_table(task, model, path, names, tokenizer, top=3, skip_bad=False) -> list:
    """One row of results for every row of a table, which needs no column to learn."""
    from kzoo.data import prepare_inputs, resizing

    opened, kind = _opened({"all": pathlib.Path(path)}, model, names, learns=False)
    table = opened.tables["all"]
    x = _cells(model, table, opened.chosen.inputs, kind)
    good = table.good_rows(skip_bad)
    x = [_taken(column, good) for column in x]
    if kind in ("images", "sounds"):
        return task.rows_of_files(model, x[0], top, skip_bad)
    if kind == "texts" and len(x) == 1:
        rows = task.rows_of_texts(model, x[0], tokenizer, top)
    elif kind == "texts":
        rows = task.rows(task.predict_texts(model, tuple(x)), model.kzoo.class_names, top)
        rows = [{"text": list(pair), **row} for pair, row in zip(zip(*x, strict=True), rows, strict=True)]
    elif kind == "inputs":
        wanted, how = columns.inputs_of(model), card_of(model).preprocessing
        x = {
            name: resizing.to_input(cells, column.shape, how).numpy() if column.kind == "image" else cells
            for cells, (name, column) in zip(x, wanted.items(), strict=True)
        }
        rows = task.rows(task.predict(model, x), model.kzoo.class_names, top)
    else:
        rows = task.rows(task.predict(model, prepare_inputs(model, x[0])), model.kzoo.class_names, top)
    return [{"file": str(path), "row": table.places[place], **row} for place, row in zip(good, rows, strict=True)]

"""Predictions as rows that people and programs can read."""

import logging
import pathlib
from collections.abc import Iterator

import keras
import numpy as np

from kzoo.data import columns
from kzoo.data.inputs import prepare_inputs


def readable(read, paths, skip_bad) -> Iterator:
    """(path, what `read` gives of it) for files; those that it calls bad are an error, or left out, which is logged."""
    bad = []
    for path in paths:
        try:
            found = read(path)
        except ValueError as error:
            if not pathlib.Path(path).is_file():
                raise
            if not skip_bad:
                raise ValueError(f"{error}; --skip-bad leaves such files out") from error
            bad.append(error)
            continue
        yield path, found
    if bad:
        line = f"{len(bad):,} of {len(paths):,} files cannot be read ({bad[0]}{'; ...' * (len(bad) > 1)})"
        if len(bad) == len(paths):
            raise ValueError(line)
        logging.getLogger("kzoo").warning("%s; left out", line)


def files(task, model, paths, top, skip_bad=False) -> list:
    """One row for every example in files that hold a model's one input."""
    inputs = list(columns.inputs_of(model).values())
    if len(inputs) != 1:
        taken = ", ".join(column.name for column in inputs)
        raise ValueError(f"{model.kzoo.name} takes {taken}, which files cannot give; use --data")
    rows = []
    for path, x in readable(inputs[0].read, paths, skip_bad):
        found = task.predict(model, prepare_inputs(model, x))
        rows += [{"file": str(path), **row} for row in task.rows(found, model.kzoo.class_names, top)]
    return rows


def lines_of(texts) -> list:
    """The texts themselves, and all lines of those that are files, so that results stand beside what they are of."""
    from kzoo.data.tokenizing.tokenizer_files import read_text, split_lines

    lines = []
    for one in texts:
        # A long text is no name that a file system would look up.
        is_file = len(one) < 1024 and "\n" not in one and pathlib.Path(one).is_file()
        found = split_lines(read_text(pathlib.Path(one))) if is_file else [one]
        lines += found
    return lines


class TokenNames:
    """A vocabulary as a list of names."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __getitem__(self, index):
        return self.tokenizer.engine.id_to_token(int(index)) or f"<{index}>"


def first_batch(data, split, limit) -> tuple:
    """Inputs, targets and weights or None of the first examples of a split, as arrays."""
    from kzoo.tasks.inference import choose_split

    x, y, weight = keras.utils.unpack_x_y_sample_weight(next(iter(choose_split(data, split).dataset)))
    return keras.tree.map_structure(lambda array: None if array is None else np.asarray(array)[:limit], (x, y, weight))


def known_tokens(data, outputs) -> np.ndarray:
    """Probabilities of the tokens that the tokenizer has: a model may know more ids than that."""
    found = keras.ops.convert_to_numpy(outputs)
    return found[..., : data.tokenizer.vocabulary_size] if data.tokenizer else found


def decoded(tokenizer, ids, mask) -> list:
    """Texts of rows of ids where the mask is above 0."""
    return tokenizer.decode([row[keep > 0].tolist() for row, keep in zip(ids, mask, strict=True)])


def name_of(index, class_names) -> str:
    """The name of a class, its number where it has none."""
    return class_names[index] if class_names else str(index)


def classes(found, class_names, top) -> list:
    """The likeliest classes of rows of probabilities, the best first."""
    return [
        {"classes": [
            {"class": name_of(index, class_names), "probability": float(row[index])} for index in np.argsort(-row)[:top]
        ]}
        for row in found
    ]  # fmt: skip


def values(numbers, names) -> dict:
    """The numbers of one example by their names, or by their places."""
    return {name_of(index, names): float(number) for index, number in enumerate(numbers)}


def line(row) -> str:
    """One row as a line of text."""
    name = row.get("file", row.get("example", repr(row.get("text"))))
    name = f"{name}, {row['row']}" if "row" in row else name
    if "tokens" in row:
        return f"{name}: " + " ".join(f"{entry['token']}/{entry['class']}" for entry in row["tokens"])
    if "words" in row:
        return f"{name}: " + " ".join(f"{entry['word']}/{entry['class'] or '-'}" for entry in row["words"])
    if "masks" in row:
        return f"{name}: " + "; ".join(_chances(found) for found in row["masks"])
    if "values" in row:
        wanted = f" (wanted {_values(row['target'])})" if "target" in row else ""
        return f"{name}: {_values(row['values'])}{wanted}"
    if "labels" in row:
        truth = f" (labels {', '.join(row['target']) or 'none'})" if "target" in row else ""
        return f"{name}: {', '.join(row['labels']) or 'none'}; {_chances(row['classes'])}{truth}"
    if "classes" not in row:
        return f"{row['example']}: {row['source']!r} -> {row['prediction']!r} (wanted {row['target']!r})"
    label = f" (label {row['label']})" if "label" in row else ""
    return f"{name}: {_chances(row['classes'])}{label}"


def _chances(found):
    return ", ".join(f"{entry['class']} {entry['probability']:.3f}" for entry in found)


def _values(numbers):
    values = ", ".join(f"{name} {value:.6g}" for name, value in numbers.items())
    return values.removeprefix("0 ") if len(numbers) == 1 else values

"""Where sequences with labels come from: prepared data sets, tables, FASTA files with a table or regions."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import checks, columns
from kzoo.data.genomes import genome_files
from kzoo.data.sources import chosen_columns, table_files

SEQUENCES = ("sequence", "seq", "dna", "rna", "protein")  # what a column of them is usually called
NONE = "none"  # what a letter is that is no site


@dataclasses.dataclass
class Found:
    """Sequences and labels by split, as `kzoo.data.genomes.lettered.from_parts` takes them."""

    parts: dict
    identity: dict
    class_names: list | None
    notes: list


def read(task, name, model, how) -> Found:
    """The sequences of a name for a model.

    Args:
        name: a data set of tensorflow-datasets with a text and a label; a table with a column of sequences; or a FASTA
            file and, after a comma, a table whose first column names its records, or a BED file whose fourth column has
            the labels of regions, `|` between several.
        how: the `kzoo.data.dataset.How` of the call.

    Where every letter has a class, a table has a column for each class but the first, whose cells list the places of
    its letters, counted from 1 and parted by spaces.
    """
    target = task.target(model)
    files = _pair(name)
    if files is not None:
        return _with_labels(name, _labelled_regions(*files, target, how), model, target, how)
    files = table_files.find(name)
    if files is not None:
        return _from_tables(name, files, model, target, how)
    return _prepared(task, name, target, how)


def width(task, name, model, how) -> int | None:
    """The `num_classes` that the sequences of a name ask of a model."""
    target = task.target(model)
    if isinstance(target, columns.TokenLabel):
        return None
    if _pair(name) is None and table_files.find(name) is None:
        return len(task.prepared(name, how).info.features["label"].names)
    loose = dataclasses.replace(how)
    labels = (_labelled_regions(*_pair(name), target, loose) if _pair(name) else _of_tables(
        table_files.find(name), target, loose))[0]  # fmt: skip
    first = labels.get("train", labels.get("all"))[1]
    return len({word for one in first for word in ([one] if isinstance(one, str) else one)})


def _pair(name):
    """The two files of a name "genome.fa,regions.bed"; None for another name."""
    parts = [pathlib.Path(part.strip()).expanduser() for part in name.split(",")]
    if len(parts) != 2 or not genome_files.is_fasta(parts[0]):
        return None
    for part in parts:
        if not part.is_file():
            raise ValueError(f"no file at {part}; {name!r} names a FASTA file and what its sequences stand for")
    return parts


def _labelled_regions(fasta, beside, target, how):
    """`({split: (sequences, labels)}, identity, notes)` of a FASTA file and the file beside it."""
    if beside.suffix.lower() == ".bed":
        genome = genome_files.Genome(fasta)
        regions = genome_files.read_bed(beside, genome)
        unnamed = next((region.place for region in regions if not region.name), None)
        if unnamed:
            raise ValueError(f"{unnamed} has no label; wanted it as the fourth column")
        labels = [region.name.split("|") if isinstance(target, columns.LabelSet) else region.name for region in regions]
        return {"all": ([genome_files.letters_of(genome, one) for one in regions], labels)}, {}, []
    records = genome_files.read_fasta(fasta)
    table = table_files.read(beside)
    names = list(table.columns)
    wanted = chosen_columns.asked(how.columns)
    key, labels = (wanted[0] or names[:1])[0], wanted[1] or names[1:]
    unknown = [one for one in table.columns[key] if one not in records]
    if unknown or len({*table.columns[key]}) < len(table.places):
        told = f"{unknown[0]!r} is no record of {fasta}" if unknown else "a record is named twice"
        raise ValueError(f"{beside}: {told}; its column {key!r} names each record once")
    y, _ = chosen_columns.targets_of(target, table, labels[:1] if len(labels) > 1 else labels)
    good = table.good_rows(how.skip_bad)
    notes = [f"columns: {key} -> {labels[0]}"]
    left = len(records) - len(table.places)
    notes += [f"{fasta}: {left:,} records have no label and are left out"] if left else []
    return {"all": ([records[table.columns[key][row]] for row in good], [y[row] for row in good])}, {}, notes


def _of_tables(files, target, how):
    by_letter = isinstance(target, columns.TokenLabel)
    several = by_letter or isinstance(target, columns.Values)
    named = how.columns or _usual(files, by_letter)
    opened = chosen_columns.open_tables(files, named, "texts", 1, several, skip_bad=how.skip_bad)
    parts, (source,) = {}, opened.chosen.inputs
    for split, table in opened.tables.items():
        texts = chosen_columns.texts_of(table, source)
        if by_letter:
            y = _places(table, texts, opened.chosen.targets)
        else:
            y, _ = chosen_columns.targets_of(target, table, opened.chosen.targets)
        good = table.good_rows(how.skip_bad)
        rows = [texts[row] for row in good], [y[row] for row in good]
        parts[split] = tuple(map(checks.objects, rows)) if by_letter else rows
        opened.notes += table.notes
    return parts, {**opened.identity}, opened.notes, opened.chosen.targets


def _usual(files, by_letter):
    """The columns of a table that calls one of them `sequence`, inputs and targets; None where that says too little."""
    table = table_files.read(files.get("train", files.get("all")))
    names = [name for name in table.columns if name.lower() not in chosen_columns.NUMBERING]
    inputs = [name for name in names if name.lower() in SEQUENCES]
    others = [name for name in names if name not in inputs]
    if not by_letter:
        others = [name for name in others if name.lower() in chosen_columns.TARGETS] or others[-1:]
    return (inputs, others) if len(inputs) == 1 and others else None


def _places(table, texts, names):
    """The class of each letter, from columns that list the places of the letters of a class."""
    found = []
    for row, text in enumerate(texts):
        length = len("".join(text.split())) if isinstance(text, str) else 0
        labels = np.zeros(length, np.int32)
        for number, name in enumerate(names, 1):
            cell = table.columns[name][row]
            listed = cell if isinstance(cell, list) else str("" if cell is None else cell).replace(",", " ").split()
            wrong = [one for one in listed if not str(one).isdecimal() or not 1 <= int(one) <= length]
            if wrong:
                table.bad.setdefault(row, f"{name} lists {wrong[0]!r}, wanted places from 1 to {length:,}")
                continue
            labels[[int(one) - 1 for one in listed]] = number
        found.append(labels)
    return found


def _from_tables(name, files, model, target, how):
    parts, identity, notes, names = _of_tables(files, target, how)
    if isinstance(target, columns.TokenLabel):
        known = card_of(model).class_names or [NONE, *names]
        if len(known) != target.num_classes or known[1:] != list(names):
            raise ValueError(
                f"{name} has columns of {', '.join(names)}, and {model.name} tells {target.num_classes} classes apart"
                f"{' (' + ', '.join(known) + ')' if card_of(model).class_names else ''}: name one column for each "
                "class but the first, as in columns='sequence:acceptor,donor' (--columns)"
            )
        notes += chosen_columns.carve(name, parts, how.options)
        return Found(parts, {"name": name, **identity}, known, notes)
    return _with_labels(name, (parts, identity, notes), model, target, how)


def _with_labels(name, found, model, target, how):
    """Labels as the model learns them, one table or file being carved into splits."""
    parts, identity, notes = found
    known, encoded = card_of(model).class_names, {}
    for split, (texts, labels) in parts.items():
        where = f"{name} {split} labels"
        if isinstance(target, columns.LabelSet):
            y, known = target.encode(where, labels, known)
        else:
            y, known = chosen_columns.encoded(where, target, labels, known)
        encoded[split] = (texts, np.asarray(y))
    notes = notes + chosen_columns.carve(name, encoded, how.options)
    return Found(encoded, {"name": name, **identity}, known, notes)


def _prepared(task, name, target, how) -> Any:
    """A data set of TFDS with one text and a label."""
    from kzoo.data.sources import corpora, prepared

    builder = task.prepared(name, how)
    if isinstance(target, columns.TokenLabel):
        raise ValueError(
            f"data set {name!r} has a label for each sequence (its features: {', '.join(builder.info.features)}), and "
            f"{task.words} learns one for each letter: pass a table, or task='dna_classification'"
        )
    parts, class_names = corpora.read_labelled(builder, prepared.sizes(builder))
    parts = {split: (texts[0], labels) for split, (texts, labels) in parts.items()}
    return Found(parts, prepared.identity(name, builder), class_names, [])

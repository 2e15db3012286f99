"""Pictures as what goes in and what should come out."""

from typing import Any

from kzoo.data import columns, dataset
from kzoo.tasks.feeding import held_pictures


def _shape(model):
    return tuple(columns.inputs_of(model)["image"].shape)


def load(task, name, model, how) -> Any:
    """The `Data` of a folder of pictures, or of a prepared data set with an image."""
    return _batches(name, held_pictures.read(task, name, _shape(model), how), how.options)


def from_arrays(name, parts, model, options) -> Any:
    """The `Data` of `{split: (pictures, whatever, weight or None)}`."""
    return _batches(name, held_pictures.from_arrays(name, parts, _shape(model)), options)


def synthetic(name, model, sizes, options) -> Any:
    """Random pictures, for tests and benchmarks."""
    return _batches(name, held_pictures.synthetic(name, sizes, _shape(model)), options)


def _batches(name, held, options):
    held_pictures.refuse_changes(options)
    rows = {split: (pictures,) for split, pictures in held.parts.items()}
    for split, (pictures,) in rows.items():
        dataset.check_examples(f"{name} {split}", pictures, pictures)
    notes = [*held.notes, *dataset.carve(name, rows, [rows["train"][0]], options)]

    def finish(batch, random):
        pictures = held_pictures.to_signed(batch[0])
        return pictures, pictures

    identity = {"content": dataset.digest_of(rows["train"]), **held.identity}
    return dataset.make_data(name, identity, dataset.make_splits(rows, finish, options), options, None, notes=notes)

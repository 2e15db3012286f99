"""Pictures with their captions as batches: from tables of paths, and from prepared data sets."""

import copy
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.data import columns, dataset, pictures, token_rows
from kzoo.data.augmentation import Augmentation
from kzoo.data.sources import folders
from kzoo.data.splits import Split
from kzoo.tasks.feeding import captioned
from kzoo.tasks.image_text_matching import towers

KIND = "wordpieces"  # of tokens that are learned where there is no tokenizer


def load(task, name, model, how) -> Any:
    """The `Data` of a table `path,caption`, or of prepared data sets, whose names may be joined by `+`."""
    column = columns.inputs_of(model)["image"]
    return _batches(name, captioned.read(task, name, model, column.shape, how), model, column, how)


def _batches(name, found, model, column, how):
    options = copy.copy(how.options)
    options.require(Augmentation)
    rows = {split: (images, np.array(captions, object)) for split, (images, captions) in found.parts.items()}
    for split, (images, captions) in rows.items():
        dataset.check_examples(f"{name} {split}", images, captions)
        empty = [place for place, caption in enumerate(captions) if not caption.strip()]
        if empty:
            raise ValueError(f"{name} {split}: {len(empty):,} captions are empty, the first that of example {empty[0]}")
    notes = dataset.carve(name, rows, [rows["train"][1]], options)  # equal captions stay together
    # The loss depends on how many pairs a batch has: all have as many.
    options.drop_remainder = len(rows["train"][1]) > options.batch_size
    tokenizer = how.texts.tokenizer or model.kzoo.tokenizer
    tokenizer = token_rows.make_tokenizer(tokenizer, list(rows["train"][1]), model, KIND)
    max_length = token_rows.check_length(model, how.texts.max_length, minimum=3)
    towers.check_end(model, tokenizer)
    wanted = {}
    for split, (images, captions) in rows.items():
        ids, _, cut = token_rows.encode([captions.tolist()], tokenizer, max_length)
        notes += token_rows.report_cut(f"{name} {split}", cut, len(captions), max_length, "captions")
        pairs = np.unique(captions.astype(str), return_inverse=True)[1].astype(np.int32)
        wanted[split] = (images, (ids, pairs))
    identity = {"name": name, **found.identity, **how.texts.fingerprint(max_length, tokenizer)}
    identity.setdefault("content", dataset.digest_of([wanted["train"][0], wanted["train"][1][1]]))
    finish, draw = Finish(model, column, tokenizer, options), None
    if options.augment:
        size = column.shape[:2]
        draw = functools.partial(options.augment.draw, size=size, source=size)
    splits = {}
    for split, part in wanted.items():
        read = folders.from_paths(found.fits[split], finish, column.shape) if found.fits else finish
        splits[split] = Split(part, read, **options.of_split(split, draw))
    return dataset.make_data(name, identity, splits, options, None, tokenizer, [*found.notes, *notes])


class Finish:
    """From gathered rows to the model's inputs and the ids of pairs."""

    def __init__(self, model, column, tokenizer, options):
        from kzoo.tasks import of

        self.pad, self.limit = tokenizer.pad_id or 0, towers.longest_text(model)
        self.of_images = pictures.image_finish(model, of(model).target(model), column, None, column.shape[:2], options)

    def __call__(self, rows, random) -> tuple:
        """`(x, y)` of (images, (ragged ids, ids of pairs)) and random numbers or None."""
        images, (tokens, pairs) = rows
        image, y = self.of_images((images, pairs), random)
        ids, _ = token_rows.padded(tokens, self.pad, self.limit)
        return {"image": image, "token_ids": tf.ensure_shape(ids, (None, None))}, y

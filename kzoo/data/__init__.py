"""Data: a name or your arrays become training, validation and test batches in a model's input structure.

Importing this package imports neither TensorFlow nor Keras; the names below resolve on first use. Those whose work the
task decides come from the room of tasks.
"""

import importlib

ROOMS = {
    "load": "kzoo.tasks.loading",
    "from_arrays": "kzoo.tasks.loading",
    "from_texts": "kzoo.tasks.loading",
    "synthetic_batch": "kzoo.tasks.synthetic_batches",
    "num_classes": "kzoo.tasks.base",
    "Data": "kzoo.data.dataset",
    "Split": "kzoo.data.splits",
    "Augmentation": "kzoo.data.augmentation",
    "RECIPES": "kzoo.data.augmentation",
    "Tokenizer": "kzoo.data.tokenizing.tokenizers",
    "check_data": "kzoo.data.inputs",
    "check_inputs": "kzoo.data.inputs",
    "check_labels": "kzoo.data.checks",
    "vocabulary_size": "kzoo.data.columns",
}

__all__ = list(ROOMS)


def __getattr__(name):
    if name not in ROOMS:
        raise AttributeError(f"module 'kzoo.data' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)

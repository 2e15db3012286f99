"""Data: a name or your arrays become training, validation and test batches in a model's input structure.

Importing this package imports neither TensorFlow nor Keras; the names below resolve on first use.
"""

import importlib

ROOMS = {
    "load": "loading",
    "from_arrays": "loading",
    "from_texts": "loading",
    "Data": "dataset",
    "Split": "splits",
    "Augmentation": "augmentation",
    "RECIPES": "augmentation",
    "Tokenizer": "tokenizing.tokenizers",
    "check_data": "checks",
    "check_inputs": "checks",
    "check_labels": "checks",
    "num_classes": "checks",
    "vocabulary_size": "checks",
    "synthetic_batch": "synthetic",
}

__all__ = list(ROOMS)


def __getattr__(name):
    if name not in ROOMS:
        raise AttributeError(f"module 'kzoo.data' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"kzoo.data.{ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)

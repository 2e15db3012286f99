"""Data: a name or your arrays become training, validation and test batches in a model's input structure.

Importing this package imports neither TensorFlow nor Keras; the names below resolve on first use. Those whose work
depends on the task come from the room of tasks.
"""

import importlib

NAMES = {
    "kzoo.tasks.feeding.loading": "load from_arrays from_texts",
    "kzoo.tasks.feeding.synthetic_batches": "synthetic_batch",
    "kzoo.tasks.base": "num_classes",
    "kzoo.data.dataset": "Data",
    "kzoo.data.splits": "Split",
    "kzoo.data.augmentation": "Augmentation RECIPES",
    "kzoo.data.sounds.sound_augmentation": "SoundAugmentation",
    "kzoo.data.genomes.strands": "LetterAugmentation",
    "kzoo.data.tokenizing.tokenizers": "Tokenizer",
    "kzoo.data.tokenizing.alphabets": "make_alphabet",
    "kzoo.data.inputs": "check_data check_inputs prepare_inputs",
    "kzoo.data.checks": "check_labels",
    "kzoo.data.columns": "vocabulary_size",
}
ROOMS = {name: room for room, names in NAMES.items() for name in names.split()}

__all__ = list(ROOMS)


def __getattr__(name):
    if name not in ROOMS:
        raise AttributeError(f"module 'kzoo.data' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)

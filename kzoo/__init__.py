"""kzoo: a Keras 3 model zoo in which every number is checked.

Names resolve on first use, so that importing kzoo imports neither Keras nor TensorFlow.
"""

import importlib

from kzoo.support import onednn
from kzoo.version import __version__

onednn.turn_on()

NAMES = {
    "building": "build info save load save_weights load_weights lora Assembly",
    "catalog": "list_models Preprocessing",
    "training": "fit",
    "training.pruning": "sparsity",
    "tasks": "evaluate predict embed",
    "tasks.adopting": "adopt",
    "generation": "generate",
    "exporting": "export",
    "runtimes": "fast",
    "runtimes.writers": "fast_writer",
    "graph": "features",
    "rewrites.low_rank_updates": "merge_lora lora_report",
    "rewrites.adapters": "save_lora load_lora",
    "rewrites.filters": "prune_filters prune_report",
    "explaining": "attention_maps",
}
ROOMS = {name: room for room, names in NAMES.items() for name in names.split()}

__all__ = [*ROOMS, "data", "layers", "__version__"]


def __getattr__(name):
    if name in ("data", "layers"):
        return importlib.import_module(f"kzoo.{name}")
    if name not in ROOMS:
        raise AttributeError(f"module 'kzoo' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"kzoo.{ROOMS[name]}"), name)


def __dir__():
    return sorted(__all__)

"""kzoo: a Keras 3 model zoo in which every number is checked.

Names resolve on first use, so that importing kzoo imports neither Keras nor TensorFlow.
"""

import importlib

from kzoo.support import onednn
from kzoo.version import __version__

onednn.turn_on()

ROOMS = {
    "build": "building",
    "list_models": "catalog",
    "info": "building",
    "load_weights": "building",
    "save_weights": "building",
    "save": "building",
    "load": "building",
    "Assembly": "building",
    "fit": "training",
    "sparsity": "training.pruning",
    "evaluate": "tasks",
    "predict": "tasks",
    "generate": "generation",
    "export": "exporting",
    "fast": "runtimes",
    "fast_writer": "runtimes.writers",
    "features": "graph",
    "lora": "building",
    "merge_lora": "rewrites.low_rank_updates",
    "lora_report": "rewrites.low_rank_updates",
    "save_lora": "rewrites.adapters",
    "load_lora": "rewrites.adapters",
    "prune_filters": "rewrites.filters",
    "prune_report": "rewrites.filters",
    "attention_maps": "explaining",
    "Preprocessing": "catalog",
}

__all__ = [*ROOMS, "data", "layers", "__version__"]


def __getattr__(name):
    if name in ("data", "layers"):
        return importlib.import_module(f"kzoo.{name}")
    if name not in ROOMS:
        raise AttributeError(f"module 'kzoo' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"kzoo.{ROOMS[name]}"), name)


def __dir__():
    return sorted(__all__)

"""kzoo: a Keras 3 model zoo in which every number is checked.

Names resolve on first use, so that importing kzoo imports neither Keras nor TensorFlow.
"""

import importlib

from kzoo.support import forks, onednn  # noqa: F401  the first must be there before a process is copied
from kzoo.version import __version__

onednn.turn_on()

NAMES = {
    "building": "build info save load save_weights load_weights lora Assembly",
    "catalog": "list_models Preprocessing",
    "training": "fit",
    "training.pruning": "sparsity",
    "tasks": "evaluate predict embed generate",
    "tasks.adopting": "adopt",
    "exporting": "export",
    "runtimes": "fast",
    "runtimes.writers": "fast_writer",
    "graph": "features",
    "rewrites.low_rank_updates": "merge_lora lora_report",
    "rewrites.adapters": "save_lora load_lora",
    "rewrites.filters": "prune_filters prune_report",
    "explaining": "attention_maps explain mutagenesis",
    "tasks.genome_reading": "both_strands predict_regions predict_variants",
}
# what other libraries call them
SYNONYMS = {
    **dict.fromkeys(("create_model", "get_model", "from_pretrained", "AutoModel", "pipeline"), "build"),
    **dict.fromkeys(("list_pretrained", "list_architectures", "available_models"), "list_models"),
    **{"load_model": "load", "save_model": "save", "save_pretrained": "save", "load_state_dict": "load_weights"},
    **{"train": "fit", "summary": "info", "create_feature_extractor": "features", "prune": "prune_filters"},
    **{"load_data": "data.load", "get_peft_model": "lora", "quantize": "export"},
}
# modules of the first release -> where their content lies
MOVED = {
    "atomic": "support.atomic", "blank": "weights.blank", "checkpoint": "weights.checkpoint", "cli_info": "cli.tables",
    "detection": "tasks.object_detection", "detections": "tasks.object_detection", "heatmaps": "explaining.heatmaps",
    "hub": "weights.hub", "inference": "tasks.inference", "layouts": "weights.layouts",
    "predictions": "tasks.reading", "preprocessing": "catalog.preprocessing", "suggest": "support.suggest",
    "tensors": "weights.files",
}  # fmt: skip
ROOMS = {name: room for room, names in NAMES.items() for name in names.split()}

__all__ = [*ROOMS, "data", "layers", "__version__"]


def __getattr__(name):
    if name in ("data", "layers"):
        return importlib.import_module(f"kzoo.{name}")
    if name in MOVED:
        raise AttributeError(f"kzoo.{name} is now kzoo.{MOVED[name]}")
    if name not in ROOMS:
        meant = f"did you mean {SYNONYMS[name]}? " if name in SYNONYMS else ""
        raise AttributeError(f"module 'kzoo' has no attribute {name!r}; {meant}it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"kzoo.{ROOMS[name]}"), name)


def __dir__():
    return sorted(__all__)

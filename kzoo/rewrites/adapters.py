"""Low-rank updates in files apart from their model, as the library `peft` writes and reads them."""

import json
import pathlib
import re

import keras
import numpy as np

from kzoo import catalog, graph
from kzoo.layers import LowRankDense
from kzoo.rewrites import low_rank_updates as rewrite
from kzoo.support import atomic
from kzoo.weights import files, naming
from kzoo.weights.layouts import find_slots, tensors_of

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
PREFIX = "base_model.model."
FLOATS = {"F64", "F32", "F16", "BF16"}
# what peft can do and these updates do not, and the value of its configuration that says that it was not done
PLAIN = dict.fromkeys(("use_dora", "use_rslora", "lora_bias", "use_qalora"), False)
PLAIN |= {"bias": "none", "rank_pattern": {}, "alpha_pattern": {}}
PLAIN |= dict.fromkeys(
    ("layer_replication", "target_parameters", "trainable_token_indices", "use_bdlora", "alora_invocation_tokens")
)
# `init_lora_weights` of adapters that belong to the base as it was published; PiSSA, OLoRA, CorDA and LoftQ change it
BASE_AS_IT_IS = (True, False, None, "gaussian", "eva", "orthogonal")


def save_lora(model, path) -> None:
    """Writes the low-rank updates of a model, and the layers that trained beside them, as a folder that `peft` loads.

    `adapter_model.safetensors` has the tensors, `base_model.model.<layer>.lora_A.weight` (rank, inputs) and
    `...lora_B.weight` (units, rank), `adapter_config.json` rank, alpha and layers. Layer names are those of the
    reference's class with a head, such as `BertForSequenceClassification`. Raises ValueError if there are no updates.
    """
    settings = rewrite.find_settings(model)
    arrays = {}
    for slot in _slots(model, settings["train"]):
        value = keras.ops.convert_to_numpy(slot.variable.value)
        arrays.update({PREFIX + name: part for name, part in zip(slot.names, slot.write(value), strict=True)})
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": catalog.card_of(model).name,
        "r": settings["rank"],
        "lora_alpha": settings["alpha"],
        "lora_dropout": settings["dropout"],
        "target_modules": settings["layers"],
        "modules_to_save": settings["train"] or None,
        "fan_in_fan_out": any(_is_stored_by_inputs(model, name) for name in settings["layers"]),
        "bias": "none",
        "task_type": None,
        "inference_mode": True,
    }
    path = pathlib.Path(path)
    atomic.require_writable(path)
    files.write(path / WEIGHTS_FILE, arrays, {"format": "pt"})
    with atomic.file(path / CONFIG_FILE) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_lora(model, path) -> keras.Model:
    """A model with the low-rank updates of a folder that `kzoo.save_lora` or `peft` wrote.

    Args:
        model: the base model, or one that has such updates already and gets the values of these.
        path: the folder.

    Returns the rewritten model; `model` itself in the second case. Raises ValueError, `model` unchanged, that lists the
    missing, unexpected and mis-shaped names of an adapter of another base, rank or choice of layers; for what `peft`
    can do and these updates do not; and for damaged files.
    """
    graph.require_flat(model, "load_lora")
    path = pathlib.Path(path)
    config = _read_config(path / CONFIG_FILE)
    file = files.File(path / WEIGHTS_FILE)
    file.verify()
    specification = file.specification
    layers, bare = {layer.name for layer in model.layers}, [name.removeprefix(PREFIX) for name in specification]
    is_known = lambda name: re.split(r"\.(?:lora_|\w+$)", name)[0] in layers  # noqa: E731
    _, renamed = naming.recognise(model, bare, is_known)
    names = dict(zip(renamed, specification, strict=True))  # name here -> name there
    shapes = {here: specification[there][0] for here, there in names.items()}
    has_updates = any(isinstance(layer, LowRankDense) for layer in model.layers)
    if has_updates:
        settings = rewrite.find_settings(model)
        ours = (settings["rank"], float(settings["alpha"]))
        if ours != (config["r"], float(config["lora_alpha"])):
            raise ValueError(
                f"{path} has rank {config['r']} and alpha {config['lora_alpha']}, {model.name} rank {ours[0]} and "
                f"alpha {ours[1]:g}; load it into the base model"
            )
    else:
        settings = _settings(model, config, shapes)
    _compare(model, path, settings, shapes)
    strange = [name for name, (_, dtype) in specification.items() if dtype not in FLOATS]
    if strange:
        raise ValueError(f"{path}: {strange[0]} holds {specification[strange[0]][1]}; floating point is wanted")
    arrays = file.read()
    if not has_updates:
        if not settings["layers"]:
            raise ValueError(f"{path} holds no low-rank updates of layers")
        model = rewrite.lora(model, **settings)
    values = []
    for slot in _slots(model, settings["train"]):
        values.append((slot.variable, slot.read(*(np.asarray(arrays[names[name]]) for name in slot.names))))
    for variable, value in values:
        variable.assign(value)
    return model


def _is_stored_by_inputs(model, name):
    """Whether the reference stores a layer's matrix as (inputs, outputs), which `peft` is told."""
    exceptions = catalog.literals_of(model).get("LAYOUTS", {})
    return tensors_of(model.get_layer(name), exceptions)["kernel"][1] == "same"


def _slots(model, train):
    """The weights that an adapter holds: A and B of every update, and all of the layers that train."""
    updates = {id(v) for layer in model.layers if isinstance(layer, LowRankDense) for v in (layer.lora_a, layer.lora_b)}
    return [slot for slot in find_slots(model) if id(slot.variable) in updates or slot.layer.name in train]


def _read_config(path):
    """The content of `adapter_config.json`; ValueError if it is absent, damaged or of another method."""
    if not path.is_file():
        raise ValueError(f"{path.parent} holds no {path.name}, so it is not an adapter")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        kind, rank, alpha = config["peft_type"], config["r"], config["lora_alpha"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {type(error).__name__}: {error}") from error
    if kind != "LORA":
        raise ValueError(f"{path} is of the method {kind!r}; LORA is wanted")
    other = [f"{key}={config[key]!r}" for key, plain in PLAIN.items() if config.get(key, plain) not in (plain, None)]
    if other:
        raise ValueError(f"{path} asks for {', '.join(other)}, which kzoo's low-rank updates do not do")
    if (start := config.get("init_lora_weights")) not in BASE_AS_IT_IS:
        raise ValueError(
            f"{path} says init_lora_weights={start!r}: its updates belong to a base that was changed when they began; "
            "save them in peft with path_initial_model_for_weight_conversion, which makes them updates of the original"
        )
    try:
        rewrite.check_numbers(rank, alpha, config.get("lora_dropout") or 0.0)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: r={rank!r}, lora_alpha={alpha!r}: {error}") from error
    return config


def _settings(model, config, shapes):
    """The keywords with which `lora` makes a model for these tensors, without layers that the model lacks."""
    layers = {name.rpartition(".lora_")[0] for name in shapes if ".lora_" in name}
    known = {layer.name: layer for layer in model.layers}
    others = {name.rpartition(".")[0] for name in shapes if ".lora_" not in name}
    return {
        "rank": config["r"],
        "alpha": config["lora_alpha"],
        "dropout": config.get("lora_dropout") or 0.0,
        "layers": [name for name in known if name in layers and isinstance(known[name], keras.layers.Dense)],
        "train": [name for name in known if name in others],
    }


def _compare(model, path, settings, shapes):
    """ValueError unless the file's names and shapes are those of the updates that the settings make."""
    rank, wanted = settings["rank"], {}
    for name in settings["layers"]:
        inputs, units = model.get_layer(name).kernel.shape
        wanted |= {f"{name}.lora_A.weight": (rank, inputs), f"{name}.lora_B.weight": (units, rank)}
    for slot in find_slots(model):
        if slot.layer.name in settings["train"]:
            wanted |= {name: tuple(shape) for name, shape in zip(slot.names, slot.shapes, strict=True)}
    problems = {
        "missing": [name for name in wanted if name not in shapes],
        "unexpected": [name for name in shapes if name not in wanted],
        "mis-shaped": [
            f"{name} {shapes[name]}, wanted {shape}"
            for name, shape in wanted.items()
            if name in shapes and shapes[name] != shape
        ],
    }
    if any(problems.values()):
        raise ValueError(f"{path} does not fit {model.name}, which is unchanged; {files.told(problems)}")

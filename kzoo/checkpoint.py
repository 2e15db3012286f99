"""Weights between a model and safetensors files in the reference implementation's names and layout.

Loading is all-or-nothing: names, shapes and dtypes are compared from the headers, then every array is read and
converted, and only then is the first variable assigned.
"""

import dataclasses
import json
import logging
import math
import pathlib
import re

import keras
import numpy as np

from kzoo import atomic, catalog, tensors
from kzoo.hub import WEIGHTS_FILE, find_files
from kzoo.layouts import find_slots
from kzoo.preprocessing import Preprocessing, read_beside
from kzoo.version import __version__

MODEL_FILE = "model.json"
TOKENIZER_FILES = ("tokenizer.json", "special_tokens_map.json")
FLOATS = {"F64", "F32", "F16", "BF16"}


def save_weights(model, path):
    """Writes a model's weights as safetensors in the reference's names and layout, with its sha256 inside.

    The file is written beside `path` and renamed, so a full disk or a kill leaves what stood there before.
    """
    arrays = {}
    for slot in find_slots(model):
        value = keras.ops.convert_to_numpy(slot.variable.value)
        arrays.update(zip(slot.names, slot.write(value), strict=True))
    origin = getattr(model, "kzoo", None)
    # transformers loads a file only if its metadata names a framework's layout
    tensors.write(path, arrays, {"format": "pt", "kzoo.name": origin.name if origin else model.name})


def open_weights(weights):
    """The files of `weights`, as `load_weights` takes them, with their headers read; ValueError if one is damaged."""
    return [tensors.File(path) for path in find_files(weights)]


def load_weights(model, weights, load_head=True, assign=None):
    """Loads safetensors in the reference's names and layout into a model, all or nothing.

    Tensors of float16, bfloat16 or float64 are converted to the variables' dtype. What a file beside the weights says
    of the images they were trained on becomes `model.preprocessing`. A first convolution over another number of
    channels than the file's three takes their sum (one channel) or repeats them, rescaled so that its output keeps its
    size.

    Args:
        weights: a `.safetensors` file, an index of several, a folder that holds one of these, or
            `hf://owner/name[@revision]`; or what `open_weights` gave.
        load_head: False leaves the classifier as it is, for another number of classes.
        assign: `assign(variable, value)` gives a variable its value, in place of `variable.assign(value)`. The files
            are not verified then: what was made of them is to be given up if `verify` of one raises.

    Returns the names of tensors that stayed as they were (those of the head), also logged. Raises ValueError that lists
    the first missing, unexpected and mis-shaped names, or says how a file is damaged; the model is unchanged then.
    """
    literals = _literals(model)
    if not load_head and "HEAD" not in literals:
        raise ValueError(f"load_head=False: {model.name} has no head that can be left out")
    slots = find_slots(model)
    checkpoint = _Checkpoint(model, weights, literals, slots)
    head = () if load_head else checkpoint.head_to_leave()
    loaded = [slot for slot in slots if slot.layer.name not in head]
    left = [name for slot in slots if slot.layer.name in head for name in slot.names]
    first = next((slot for slot in slots if isinstance(slot.layer, keras.layers.Conv2D)), None)
    adapted = first if first and checkpoint.has_other_channels(first) else None
    checkpoint.compare(loaded, adapted, head)
    arrays = checkpoint.read(verify=assign is None)
    # TensorFlow copies an array that becomes a tensor; other backends may go on reading the file.
    copies = keras.backend.backend() != "tensorflow"
    values = []
    for slot in loaded:
        parts = [np.asarray(arrays[name]) for name in slot.names]
        if slot is adapted:
            parts = [_adapt_channels(parts[0], slot.shapes[0][1])]
        dtype = keras.backend.standardize_dtype(slot.variable.dtype)
        values.append(slot.read(*parts).astype(dtype, copy=copies))
    preprocessing = read_beside(checkpoint.files[0].path)
    for slot, value in zip(loaded, values, strict=True):
        if assign:
            assign(slot.variable, value)
        else:
            slot.variable.assign(value)
    if preprocessing:
        model.preprocessing = preprocessing
    if left:
        logging.getLogger("kzoo").warning("%s: not loaded, as they were: %s", model.name, ", ".join(left))
    return left


def _adapt_channels(kernel, num_channels):
    """A first convolution (filters, channels, height, width) over another number of input channels."""
    if num_channels == 1:
        return kernel.astype("float32").sum(axis=1, keepdims=True)
    repeated = np.tile(kernel.astype("float32"), (1, math.ceil(num_channels / kernel.shape[1]), 1, 1))
    return repeated[:, :num_channels] * (kernel.shape[1] / num_channels)


def _literals(model):
    """The literals of the file that a catalogue model was built from: DERIVED, ALIASES, HEAD."""
    origin = getattr(model, "kzoo", None)
    return catalog.literals(origin.architecture) if origin else {}


class _Checkpoint:
    """The tensors of one or several files by the names this model gives them."""

    def __init__(self, model, weights, literals, slots):
        self.model, self.literals = model, literals
        self.wanted = {
            name: tuple(shape) for slot in slots for name, shape in zip(slot.names, slot.shapes, strict=True)
        }
        self.stored = {}  # name here -> (file, name there)
        self.specification = {}  # name here -> (shape, dtype)
        self.files = weights if isinstance(weights, list) else open_weights(weights)
        self.weights = self.files[0].path if len(self.files) == 1 else self.files[0].path.parent
        for file in self.files:
            for name, facts in file.specification.items():
                here = self._rename(name)
                if here in self.stored:
                    both = f"in {self.stored[here][0].path.name} and {file.path.name}"
                    raise ValueError(f"{self.weights} holds {here} twice, {both}")
                self.stored[here] = (file, name)
                self.specification[here] = facts

    def _rename(self, name):
        """Names changed between releases of a reference; ALIASES of the model file lists (pattern, replacement)."""
        for pattern, replacement in self.literals.get("ALIASES", ()):
            name = re.sub(pattern, replacement, name)
        return name

    def has_other_channels(self, slot):
        """Whether the file's first convolution has three input channels and this model's another number."""
        there, here = self.specification.get(slot.names[0], ((),))[0], tuple(slot.shapes[0])
        return len(there) == 4 and there[1] == 3 != here[1] and there[:1] + there[2:] == here[:1] + here[2:]

    def derived(self):
        """Tensors that the reference stores and this graph computes or ties: {name: where it comes from}."""
        table = self.literals.get("DERIVED", {})
        others = [name for name in self.specification if name not in self.wanted]
        found = {name: "computed" for name in others if name.endswith(".num_batches_tracked")}
        for pattern in (*self.literals.get("TRAINING_ONLY", ()), *self.literals.get("OTHER_HEADS", ())):
            found.update({name: "of no use here" for name in others if re.match(pattern, name)})
        return {**found, **{name: table[name] for name in others if name in table}}

    def head_to_leave(self):
        """Names of the layers that load_head=False leaves as they are.

        HEAD of the model file lists them; those of HEAD_IF_MISSING belong to the head only if the file lacks them.
        """
        lacking = [
            layer
            for layer in self.literals.get("HEAD_IF_MISSING", ())
            if not any(name.startswith(f"{layer}.") for name in self.specification)
        ]
        return (*self.literals.get("HEAD", ()), *lacking)

    def compare(self, slots, adapted, head):
        """ValueError that lists what is missing, unexpected, mis-shaped or no float; decided from the headers alone."""
        wanted = {name: tuple(shape) for slot in slots for name, shape in zip(slot.names, slot.shapes, strict=True)}
        known = {*wanted, *self.derived()}
        there = {name: self.specification[name] for name in wanted if name in self.specification}
        exempt = adapted.names[0] if adapted else None
        problems = {
            "missing": [name for name in wanted if name not in there],
            "unexpected": [
                name
                for name in self.specification
                if name not in known and not name.startswith(tuple(f"{layer}." for layer in head))
            ],
            "mis-shaped": [
                f"{name} {shape}, wanted {wanted[name]}"
                for name, (shape, _) in there.items()
                if shape != wanted[name] and name != exempt
            ],
            "not floating point": [f"{name} {dtype}" for name, (_, dtype) in there.items() if dtype not in FLOATS],
        }
        if any(problems.values()):
            self.verify()  # a damaged name is no other model
            raise ValueError(
                f"{self.weights} does not fit {self.model.name}, which is unchanged; "
                f"{tensors.told(problems)}{self._head_hint(slots)}"
            )

    def _head_hint(self, slots):
        """The usual reason for mis-shaped names is a head with another number of classes."""
        head = slots[-1]
        shapes = [self.specification[name][0] for name in head.names if name in self.specification]
        if not shapes or not shapes[0] or shapes[0][0] == head.shapes[0][0]:
            return ""
        hint = f". For a file with {shapes[0][0]} outputs build the model with num_classes={shapes[0][0]}"
        return f"{hint}, or keep {head.shapes[0][0]} and pass load_head=False" if "HEAD" in self.literals else hint

    def verify(self):
        """ValueError if a file is damaged."""
        for file in self.files:
            file.verify()

    def read(self, verify):
        """All arrays by the names here, after checking those that are derived from others."""
        contents = {file: file.read(verify) for file in self.files}
        arrays = {name: contents[file][there] for name, (file, there) in self.stored.items()}
        for name, sources in self.derived().items():
            for source in (sources,) if isinstance(sources, str) else sources:
                if source == "zeros" and np.any(arrays[name]):
                    self.verify()
                    raise ValueError(f"{self.weights}: {name} is not zero, and this architecture has no such weight")
                if source in arrays and not np.array_equal(arrays[name], arrays[source]):
                    self.verify()
                    raise ValueError(
                        f"{self.weights}: {name} differs from {source}, and this architecture ties the two"
                    )
        return arrays


def save(model, folder):
    """Saves a catalogue model as a folder: `weights.safetensors`, `model.json` (name, overrides, versions), and the
    tokenizer of a model that was trained on texts.

    Raises ValueError for a model that `kzoo.build` did not make, since the catalogue could not rebuild it.
    """
    folder = pathlib.Path(folder)
    if getattr(model, "kzoo", None) is None:
        raise ValueError(f"{model.name} was not built by kzoo.build, so its architecture cannot be rebuilt from a "
                         "folder; use kzoo.save_weights for the weights alone")  # fmt: skip
    atomic.require_writable(folder)
    save_weights(model, folder / WEIGHTS_FILE)
    tokenizer = getattr(model, "tokenizer", None)
    if isinstance(tokenizer, pathlib.Path) and tokenizer.resolve() != folder.resolve():
        for name in TOKENIZER_FILES:
            if (tokenizer / name).is_file():
                with atomic.file(folder / name) as temporary:
                    temporary.write_bytes((tokenizer / name).read_bytes())
    elif tokenizer is not None and not isinstance(tokenizer, pathlib.Path):
        tokenizer.save(folder)
    write_description(model, folder)


def write_description(model, folder, **extra):
    """Writes `model.json`: all that the catalogue needs to rebuild the graph, and `extra` facts about its outputs."""
    description = {
        "name": model.kzoo.name,
        "overrides": model.kzoo.overrides,
        "kzoo": __version__,
        "keras": keras.__version__,
        **({"rewrites": list(model.kzoo.rewrites)} if model.kzoo.rewrites else {}),
        **extra,
    }
    preprocessing = getattr(model, "preprocessing", Preprocessing())
    if preprocessing != Preprocessing():
        description["preprocessing"] = dataclasses.asdict(preprocessing)
    with atomic.file(pathlib.Path(folder) / MODEL_FILE) as temporary:
        temporary.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def load(folder, dtype=None):
    """Rebuilds a model from a folder that `kzoo.save` or a training run wrote, from kzoo's own catalogue.

    Raises ValueError if the folder is not such a folder, is damaged, or needs a newer kzoo.
    """
    description = read_description(folder)
    overrides = {key: tuple(v) if isinstance(v, list) else v for key, v in description.get("overrides", {}).items()}
    rewrites = description.get("rewrites", ())
    model = catalog.build(description["name"], weights=folder, dtype=dtype, rewrites=rewrites, **overrides)
    if (pathlib.Path(folder) / TOKENIZER_FILES[0]).is_file():
        model.tokenizer = pathlib.Path(folder)  # read when it is needed
    return model


def read_description(folder):
    """The content of a folder's `model.json`; ValueError if there is none or this kzoo is too old for it."""
    path = pathlib.Path(folder) / MODEL_FILE
    if not path.is_file():
        raise ValueError(f"{folder} holds no {MODEL_FILE}, so it is neither a saved model nor a training run")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        written_by = tuple(int(part) for part in description["kzoo"].split(".")[:2])
        catalog.find(description["name"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if written_by > tuple(int(part) for part in __version__.split(".")[:2]):
        raise ValueError(f"{path} needs kzoo >= {description['kzoo']}; this is {__version__}")
    return description

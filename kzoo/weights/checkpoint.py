"""Weights between a model and safetensors files in the reference implementation's names and layout.

Loading is all-or-nothing: names, shapes and dtypes are compared from the headers, then every array is read and
converted, and only then is the first variable assigned.
"""

import logging
import pathlib
import re

import keras
import numpy as np

from kzoo import catalog
from kzoo.catalog import configurations
from kzoo.catalog.preprocessing import read_beside
from kzoo.weights import adapting, files, haiku, naming, weight_norm
from kzoo.weights.hub import find_files
from kzoo.weights.layouts import find_slots

FLOATS = {"F64", "F32", "F16", "BF16"}


def save_weights(model, path, names=None, metadata=None) -> None:
    """Writes a model's weights as safetensors in the reference's names and layout, with its sha256 inside.

    The file is written beside `path` and renamed, so a full disk or a kill leaves what stood there before. A path that
    ends in `.npz` becomes an archive as AlphaFold's reference has it; other models have none, which is a ValueError.

    Args:
        names: the family of checkpoints whose names they get, such as `"timm"`, one of those in the model file's NAMES;
            by default the family that the model's weights came from, which stands on its card. Raises ValueError for
            another, and for one that lacks a tensor of the model's.
        metadata: texts for the file's header, a dict.
    """
    arrays = {}
    for slot in find_slots(model):
        value = keras.ops.convert_to_numpy(slot.variable.value)
        arrays.update(zip(slot.names, slot.write(value), strict=True))
    arrays = naming.written(model, names, arrays)
    if pathlib.Path(path).suffix == haiku.SUFFIX:
        root = catalog.literals_of(model).get("HAIKU")
        if root is None:
            raise ValueError(f"{path}: {model.name} has no names in Haiku's archives; write a .safetensors file")
        haiku.write(path, arrays, root)
        return
    # transformers loads a file only if its metadata names a framework's layout
    files.write(path, arrays, {"format": "pt", "kzoo.name": catalog.card_of(model).name, **(metadata or {})})


def open_weights(weights) -> list[files.File | haiku.Archive]:
    """The files of `weights`, as `load_weights` takes them, with their headers read; ValueError if one is damaged."""
    return [haiku.Archive(path) if path.suffix == haiku.SUFFIX else files.File(path) for path in find_files(weights)]


def load_weights(model, weights, load_head=True, assign=None) -> list[str]:
    """Loads safetensors in the reference's names and layout into a model, all or nothing.

    Tensors of float16, bfloat16 or float64 are converted to the variables' dtype. What a file beside the weights says
    of the images they were trained on, and of the classes, goes onto the model's card. A first convolution over another
    number of channels than the file's three takes their sum (one channel) or repeats them, rescaled so that its output
    keeps its size. Positions of a square of patches are interpolated for images of another size, as timm does.

    Args:
        weights: a `.safetensors` file, an index of several, a folder that holds one of these, or
            `hf://owner/name[@revision]`; AlphaFold's `.npz`; or what `open_weights` gave.
        load_head: False leaves the classifier as it is, for another number of classes: the layers that HEAD of the
            model file lists, or else the last layer with weights.
        assign: `assign(variable, value)` gives a variable its value, in place of `variable.assign(value)`. The files
            are not verified then: whatever was made of them must be discarded if `verify` of one raises.

    Returns the names of tensors that stayed as they were (those of the head), also logged. Raises ValueError that lists
    the first missing, unexpected and mis-shaped names, what the `config.json` beside the file says otherwise than the
    model, or how a file is damaged; the model is unchanged then.
    """
    literals = catalog.literals_of(model)
    slots = find_slots(model)
    if not load_head and not _head(model, slots):
        raise ValueError(f"load_head=False: {model.name} has no head that can be left out")
    weights = weights if isinstance(weights, list) else open_weights(weights)
    told = _compare_configuration(model, weights[0].path.parent, load_head)
    checkpoint = _Checkpoint(model, weights, literals, slots)
    head = () if load_head else checkpoint.head_to_leave()
    loaded = [slot for slot in slots if slot.layer.name not in head]
    left = [name for slot in slots if slot.layer.name in head for name in slot.names]
    adapted = _adaptations(model, checkpoint, slots)
    checkpoint.compare(loaded, adapted, head)
    arrays = checkpoint.read(verify=assign is None)
    # TensorFlow copies an array that becomes a tensor; other backends may go on reading the file.
    copies = True if keras.backend.backend() != "tensorflow" else None
    values = []
    for slot in loaded:
        parts = [np.asarray(arrays[name]) for name in slot.names]
        if slot.names[0] in adapted:
            parts = [adapted[slot.names[0]](parts[0])]
        values.append(np.array(slot.read(*parts), copy=copies))
    preprocessing = read_beside(checkpoint.files[0].path)
    for slot, value in zip(loaded, values, strict=True):
        if assign:
            assign(slot.variable, value)
        else:
            slot.variable.assign(value)
    if preprocessing:
        catalog.update_card(model, preprocessing=preprocessing)
    if checkpoint.family != catalog.card_of(model).names:
        catalog.update_card(model, names=checkpoint.family)
    if told and load_head and (names := told.names_for(catalog.arguments(model))):
        catalog.update_card(model, class_names=names)
    if left:
        logging.getLogger("kzoo").warning("%s: not loaded, as they were: %s", model.name, ", ".join(left))
    return left


def has_other_head(model, weights) -> bool:
    """Whether the head in files of weights is there and has other sizes than a model's, which needs no weights yet."""
    slots = find_slots(model)
    there = _Checkpoint(model, open_weights(weights), catalog.literals_of(model), slots)
    wanted = {
        name: tuple(shape)
        for slot in slots if slot.layer.name in there.head
        for name, shape in zip(slot.names, slot.shapes, strict=True)
    }  # fmt: skip
    return any(there.specification.get(name, (shape,))[0] != shape for name, shape in wanted.items())


def _head(model, slots) -> tuple:
    """Names of the layers of a model's head; none for one without classes whose file lists none."""
    listed = catalog.literals_of(model).get("HEAD", ())
    has_classes = bool(catalog.card_of(model).architecture and catalog.arguments(model).get("num_classes"))
    return listed or ((slots[-1].layer.name,) if has_classes and slots else ())


def _compare_configuration(model, folder, load_head):
    """What the `config.json` beside the weights says, or None; ValueError if that is another function than the model's.

    Weights fit many functions: another number of heads that divides the width, another activation or epsilon.
    """
    card = catalog.card_of(model)
    told = configurations.read(folder, card.architecture) if card.architecture else None
    if told is None:
        return None
    given = {**catalog.arguments(model), "task": card.task}
    if wrong := told.faults + told.contradictions(given, load_head):
        raise ValueError(f"{told.path} does not fit {model.name}, which is unchanged: {'; '.join(wrong)}")
    if told.unknown:
        words = ", ".join(f"{key}: {value!r}" for key, value in told.unknown.items())
        logging.getLogger("kzoo").warning("%s: nothing is known of %s", told.path, words)
    return told


def _adaptations(model, checkpoint, slots):
    """{tensor: how it becomes one for this model's images}, where the file's is for other images."""
    found, by_layer = {}, {slot.layer.name: slot for slot in slots}
    first = next((slot for slot in slots if isinstance(slot.layer, keras.layers.Conv2D)), None)
    if first and checkpoint.has_other_channels(first):
        found[first.names[0]] = lambda kernel: adapting.adapt_channels(kernel, first.shapes[0][1])
    for slot in slots:
        name, here = slot.names[0], tuple(slot.shapes[0])
        side = checkpoint.literals.get("CONVOLVED", {}).get(checkpoint.family, {}).get(name)
        there = checkpoint.specification.get(name, ((),))[0]
        if side and there == (here[0], here[1] // side**2, side, side):
            found[name] = lambda kernel, here=here: kernel.reshape(here)
    for layer, keyword in checkpoint.literals.get("GRIDS", {}).items():
        if layer not in by_layer:  # of a tower that is not built
            continue
        name, here = by_layer[layer].names[0], tuple(by_layer[layer].shapes[0])
        there = checkpoint.specification.get(name, ((),))[0]
        given = catalog.arguments(model)
        grid = [size // given[keyword] for size in given["input_shape"][:2]]
        side = adapting.square_grid((1, *there)[-3:])  # with an axis of one before the others, or without
        if there != here and side and there[-1] == here[-1]:
            found[name] = lambda table, grid=grid: adapting.interpolate_positions(table, grid)
            logging.getLogger("kzoo").warning(
                "%s: positions of %d x %d patches are interpolated to %d x %d", model.name, side, side, *grid
            )
    return found


class _Checkpoint:
    """The tensors of one or several files by the names this model gives them."""

    def __init__(self, model, weights, literals, slots):
        self.model, self.literals, self.head = model, literals, _head(model, slots)
        self.wanted = {
            name: tuple(shape) for slot in slots for name, shape in zip(slot.names, slot.shapes, strict=True)
        }
        self.stored = {}  # name here -> (file, name there)
        self.specification = {}  # name here -> (shape, dtype)
        unstack = lambda file: file.unstacked(self.wanted, literals.get("HAIKU"))  # noqa: E731
        self.files = [unstack(file) if isinstance(file, haiku.Archive) else file for file in weights]
        self.weights = self.files[0].path if len(self.files) == 1 else self.files[0].path.parent
        tensors = [(file, name) for file in self.files for name in file.specification]
        ties = self.literals.get("DERIVED", {})
        is_known = lambda name: name in self.wanted or name in ties  # noqa: E731
        family, renamed = naming.recognise(model, [name for _, name in tensors], is_known)
        self.family = family.name if family else None
        for (file, name), here in zip(tensors, renamed, strict=True):
            if here in self.stored:
                both = f"in {self.stored[here][0].path.name} and {file.path.name}"
                raise ValueError(f"{self.weights} holds {here} twice, {both}")
            self.stored[here] = (file, name)
            self.specification[here] = file.specification[name]
        self.joined, self.normed = self._join(), weight_norm.pairs(self.specification)
        for whole, (length, direction) in self.normed.items():
            self.specification.pop(length)
            self.specification[whole] = self.specification.pop(direction)
        self._untie(ties)

    def _untie(self, ties):
        """Gives a tensor that the file lacks the value of one that the reference ties to it, which the file holds."""
        for name, sources in ties.items():
            for source in (sources,) if isinstance(sources, str) else sources:
                is_lacking = source in self.wanted and source not in self.specification
                if is_lacking and name in self.specification and name not in self.wanted:
                    self.stored[source] = self.stored.pop(name)
                    self.specification[source] = self.specification.pop(name)

    def _join(self):
        """{tensor: its parts}, in order, of those that NAMES has as `tensor[0]`, `tensor[1]`, ... of one tensor.

        They are joined along the first axis, as torch stores the projections of query, key and value in one. Parts of
        different shapes stay apart, under names that the model does not know.
        """
        parts = {}
        for name in sorted(self.specification):
            if match := re.fullmatch(r"(.+)\[\d\]", name):
                parts.setdefault(match[1], []).append(name)
        parts = {
            whole: names
            for whole, names in parts.items()
            if whole not in self.specification and len({self.specification[name] for name in names}) == 1
        }
        for whole, names in parts.items():
            *_, (shape, dtype) = (self.specification.pop(name) for name in names)
            self.specification[whole] = (len(names) * shape[0], *shape[1:]) if shape else shape, dtype
        return parts

    def has_other_channels(self, slot) -> bool:
        """Whether the file's first convolution has three input channels and this model's another number."""
        there, here = self.specification.get(slot.names[0], ((),))[0], tuple(slot.shapes[0])
        return len(there) == 4 and there[1] == 3 != here[1] and there[:1] + there[2:] == here[:1] + here[2:]

    def derived(self) -> dict:
        """Tensors that the reference stores and this graph computes or ties: {name: where it comes from}."""
        table = self.literals.get("DERIVED", {})
        others = [name for name in self.specification if name not in self.wanted]
        found = {name: "computed" for name in others if name.endswith(".num_batches_tracked")}
        for pattern in (*self.literals.get("TRAINING_ONLY", ()), *self.literals.get("OTHER_HEADS", ())):
            found.update({name: "of no use here" for name in others if re.match(pattern, name)})
        return {**found, **{name: table[name] for name in others if name in table}}

    def head_to_leave(self) -> tuple:
        """Names of the layers that load_head=False leaves as they are.

        Those of HEAD_IF_MISSING belong to the head only if the file lacks them.
        """
        lacking = [
            layer
            for layer in self.literals.get("HEAD_IF_MISSING", ())
            if not any(name.startswith(f"{layer}.") for name in self.specification)
        ]
        return (*self.head, *lacking)

    def compare(self, slots, adapted, head) -> None:
        """ValueError that lists what is missing, unexpected, mis-shaped or no float; decided from the headers alone."""
        wanted = {name: tuple(shape) for slot in slots for name, shape in zip(slot.names, slot.shapes, strict=True)}
        known = {*wanted, *self.derived()}
        there = {name: self.specification[name] for name in wanted if name in self.specification}
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
                if shape != wanted[name] and name not in adapted
            ],
            "of float8, which needs its scales (convert the file to bfloat16)": [
                f"{name} {dtype}" for name, (_, dtype) in there.items() if dtype.startswith("F8")
            ],
            "not floating point": [
                f"{name} {dtype}"
                for name, (_, dtype) in there.items()
                if dtype not in FLOATS and not dtype.startswith("F8")
            ],
        }
        if any(problems.values()):
            self.verify()  # a damaged name is no other model
            raise ValueError(
                f"{self.weights} does not fit {self.model.name}, which is unchanged; "
                f"{files.told(problems)}{self._head_hint(slots)}"
            )

    def _head_hint(self, slots):
        """The usual reason for mis-shaped names is a head with another number of classes."""
        wanted = catalog.arguments(self.model).get("num_classes") if self.literals else None
        heads = [slot for slot in slots if slot.layer.name in self.head]
        for slot in heads if wanted else ():
            there, here = self.specification.get(slot.names[0], ((),))[0], slot.shapes[0]
            if not there or there[0] == here[0] or here[0] % wanted or not hasattr(slot.layer, "kernel"):
                continue
            classes, rest = divmod(there[0], here[0] // wanted)  # a detector has outputs at several anchors
            if not rest:
                build = f"For a file with {classes} classes build the model with num_classes={classes}"
                return f". {build}, or keep {wanted} and pass load_head=False"
        return ""

    def verify(self) -> None:
        """ValueError if a file is damaged."""
        for file in self.files:
            file.verify()

    def read(self, verify) -> dict:
        """All arrays by the names here, after checking those that are derived from others."""
        contents = {file: file.read(verify) for file in self.files}
        arrays = {name: contents[file][there] for name, (file, there) in self.stored.items()}
        arrays |= {whole: np.concatenate([arrays.pop(name) for name in parts]) for whole, parts in self.joined.items()}
        for whole, pair in self.normed.items():
            arrays[whole] = weight_norm.fused(*(arrays.pop(name) for name in pair))
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

"""Walking flat functional graphs."""

import bisect
import dataclasses
import math
import weakref

import keras
import numpy as np

from kzoo.support.suggest import did_you_mean

_FITTING = weakref.WeakKeyDictionary()  # model -> sizes of images that were found to fit


@dataclasses.dataclass(frozen=True)
class Call:
    """One node of the graph: a layer or operation, the tensors that entered it and those that left it."""

    operation: object
    inputs: tuple
    outputs: tuple


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of a recorded graph with all its arguments; tensors in them are symbolic."""

    layer: object
    args: tuple
    kwargs: dict
    outputs: object

    @property
    def inputs(self) -> list:
        """The symbolic tensors among the arguments."""
        return [x for x in keras.tree.flatten((self.args, self.kwargs)) if isinstance(x, keras.KerasTensor)]


def record(model, length=None, batch_size=None) -> tuple:
    """The graph as `(inputs, [Step, ...], outputs)`, to be read, or to be run again in parts or with other calls.

    Inputs and outputs are new symbolic tensors in the model's structure.

    Args:
        length: what an unknown dimension other than the batch becomes, so that shapes are concrete; or such lengths by
            the names of inputs.
        batch_size: size of the batch; None leaves it open.
    """
    steps = []
    lengths = length if isinstance(length, dict) else {tensor.name: length for tensor in model.inputs}

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        if length is not None and isinstance(layer, keras.layers.EinsumDense):
            # It leaves open whatever its `output_shape` does, even where the input's sizes are known.
            kernel = keras.KerasTensor(layer.kernel.shape, layer.kernel.dtype)
            outputs = keras.ops.reshape(outputs, keras.ops.einsum(layer.equation, *args, kernel).shape)
        steps.append(Step(layer, args, kwargs, outputs))
        return outputs

    inputs = keras.tree.map_structure(
        lambda tensor: keras.Input(
            batch_shape=(batch_size, *(lengths[tensor.name] if size is None else size for size in tensor.shape[1:])),
            dtype=tensor.dtype,
            name=tensor.name,
        ),
        model.input,
    )
    clone = keras.models.clone_model(model, inputs, clone_function=lambda layer: layer, call_function=call)
    return inputs, steps, clone.output


def replay(steps, values, call=None) -> None:
    """Runs recorded steps on real tensors.

    Args:
        steps: `Step`s in order.
        values: dict from the id of a symbolic tensor to its value; what the steps give is added.
        call: `call(step, args, kwargs)` gives the outputs of one step; the layer itself by default.
    """
    for step in steps:
        args, kwargs = keras.tree.map_structure(
            lambda x: values[id(x)] if isinstance(x, keras.KerasTensor) else x, (step.args, step.kwargs)
        )
        outputs = call(step, args, kwargs) if call else step.layer(*args, **kwargs)
        pairs = zip(keras.tree.flatten(step.outputs), keras.tree.flatten(outputs), strict=True)
        values.update({id(symbol): value for symbol, value in pairs})


def replace_layers(model, make, length=None) -> keras.Model:
    """A functional model like the given one, which stays as it is, but for some layers; all others are shared.

    Args:
        make: `make(step)` gives the layer that stands in for `step.layer`, or that layer itself. It is asked at the
            first call of a layer, and what it gives serves all of them.
        length: as in `record`.
    """
    inputs, steps, outputs = record(model, length)
    values = {id(tensor): tensor for tensor in keras.tree.flatten(inputs)}
    made = {}

    def call(step, args, kwargs):
        if id(step.layer) not in made:
            made[id(step.layer)] = make(step)
        return made[id(step.layer)](*args, **kwargs)

    replay(steps, values, call)
    results = keras.tree.map_structure(lambda tensor: values[id(tensor)], outputs)
    return keras.Model(inputs, results, name=model.name)


def calls(model, length=None) -> list[Call]:
    """Every call of the graph in order, as `Call` rows with symbolic tensors; `length` as in `record`."""
    _, steps, _ = record(model, length)
    return [Call(step.layer, tuple(step.inputs), tuple(keras.tree.flatten(step.outputs))) for step in steps]


def features(model, taps) -> keras.Model:
    """A functional model over the outputs of named taps of a model, sharing its layers and weights.

    Args:
        taps: names of layers, or of stages: a stage stands for the last layer whose name begins with it, so that
            `layer2` of a ResNet is `layer2.3`, the end of its second stage.

    Returns a model from the same input to a dict {tap: tensor}. Raises ValueError for a tap that no layer has, with the
    nearest names.
    """
    taps = [taps] if isinstance(taps, str) else list(taps)
    if not taps:
        raise ValueError("taps must name at least one layer or stage")
    # Not `layer.output`: a layer that several models share gives the tensor of the first of them.
    inputs, steps, _ = record(model)
    known = {tensor.name: tensor for tensor in keras.tree.flatten(inputs)}
    for step in steps:
        known.setdefault(step.layer.name, step.outputs)
    return keras.Model(inputs, {tap: known[find_tap(model, tap).name] for tap in taps}, name=f"{model.name}_features")


def require_flat(model, purpose) -> None:
    """Raises ValueError unless a model is a flat functional graph: no nested models, no subclassed `keras.Model`."""
    if not hasattr(model, "operations"):
        raise ValueError(
            f"{purpose} rewrites a flat functional graph, such as kzoo.build gives; got a {type(model).__name__}"
        )
    nested = [layer.name for layer in model.layers if isinstance(layer, keras.Model)]
    if nested:
        raise ValueError(
            f"{purpose} rewrites a flat functional graph; {model.name} holds the models {', '.join(nested[:3])} as "
            "layers: put their layers into one graph"
        )


def find_tap(model, tap) -> keras.Layer:
    """The layer of that name, else the last layer of the stage of that name; ValueError with the nearest names."""
    layers = [layer for layer in model.layers if layer.name == tap or layer.name.startswith(f"{tap}.")]
    exact = [layer for layer in layers if layer.name == tap]
    if not layers:
        stages = {".".join(layer.name.split(".")[:count]) for layer in model.layers for count in (1, 2, 3)}
        raise ValueError(f"{model.name}: {did_you_mean('tap', tap, sorted(stages))}")
    return (exact or layers)[-1]


def layers_before(model, tap) -> list:
    """The layers that come before a named layer or stage in the graph's order; ValueError with the nearest names."""
    find_tap(model, tap)
    names = [layer.name for layer in model.layers]
    first = next(index for index, name in enumerate(names) if name == tap or name.startswith(f"{tap}."))
    return model.layers[:first]


def check_image_size(model, height, width) -> None:
    """ValueError that names the smallest size if images are too small for a model of one image of an open size.

    A convolution or pooling without padding needs as many pixels as its kernel has.
    """

    def fits(*size):
        try:
            model.compute_output_spec(keras.KerasTensor((1, *size, model.inputs[0].shape[-1]), "float32"))
        except ValueError:
            return False
        return True

    if (height, width) in _FITTING.setdefault(model, set()):
        return
    if fits(height, width):
        _FITTING[model].add((height, width))
        return
    large = next((side for side in (2**power for power in range(1, 13)) if fits(side, side)), None)
    if large is None:  # size is not what is wrong
        return
    least = bisect.bisect_left(range(large), True, lo=large // 2, key=lambda side: fits(side, side))
    raise ValueError(
        f"images of {height}x{width} are too small for {model.name}, which takes {least}x{least} or more: enlarge "
        "them, or build it with an input_shape, to which they are resized"
    )


def longest_sequence(model) -> int | None:
    """How many tokens the model has learned positions for; None if it takes any number."""
    tables = [layer for layer in model.layers if type(layer).__name__ == "LearnedPositions"]
    # Beside texts, whose length is open, those of an image's patches limit nothing.
    of_texts = [layer for layer in tables if keras.tree.flatten(layer.input)[0].shape[1] is None]
    return min((layer.max_length for layer in of_texts or tables), default=None)


def strides(model) -> dict:
    """How many input pixels one step of each tap stands for: {tap: (vertical, horizontal)}.

    Raises ValueError if the input's height or width is not known.
    """
    height, width = model.inputs[0].shape[1:3]
    outputs = (
        model.output if isinstance(model.output, dict) else dict(zip(model.output_names, model.outputs, strict=True))
    )
    if None in (height, width) or any(len(tensor.shape) != 4 for tensor in outputs.values()):
        raise ValueError(
            f"{model.name}: strides need a known image size and taps that are images; got input "
            f"{model.inputs[0].shape}, outputs {[tensor.shape for tensor in outputs.values()]}"
        )
    return {name: (round(height / t.shape[1]), round(width / t.shape[2])) for name, t in outputs.items()}


def num_bytes(variables) -> int:
    """Bytes that Keras variables take, from their shapes and dtypes alone."""
    sizes = {"bfloat16": 2}  # which NumPy does not know
    return sum(
        math.prod(variable.shape) * (sizes.get(variable.dtype) or np.dtype(variable.dtype).itemsize)
        for variable in variables
    )

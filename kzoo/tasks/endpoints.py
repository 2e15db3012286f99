"""What a server is given beside the model's own inputs and outputs: images of any size, and generation."""

import dataclasses
from collections.abc import Callable

import numpy as np

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.tasks import base


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One signature of a SavedModel.

    Args:
        make: `make(call)` gives the function of the signature, from tensors to a dict of them; `call` stands for the
            model.
        specs: {input: (shape, dtype)}, in the order of the function's arguments.
        inputs, outputs: the same in words, for the report.
        draw: `draw(random, batch_size)` gives arrays for the inputs, on which the export is compared.
        compared: the output that is compared.
        exact: whether it must be equal; else to within the tolerance of `serve`.
        shares_variables: whether the function needs the model's own variables, which `serve` then shares.
    """

    make: Callable
    specs: dict
    inputs: dict
    outputs: dict
    draw: Callable
    compared: str
    exact: bool = False
    shares_variables: bool = False


def named_outputs(model) -> dict:
    """`{name: what it holds}` of a model's outputs in flat order, as every export names them.

    Where the task is not known, outputs keep the names that Keras gives them, and what they hold is None. No output has
    the name of an input, since ONNX has one name for one tensor.
    """
    from kzoo.tasks import of

    if card_of(model).task is not None:
        words = of(model).output_words(model)
    else:
        words = dict.fromkeys(base.keyed(model.output) if isinstance(model.output, dict) else model.output_names)
    if len(words) != len(model.outputs):  # one layer gives several
        words = dict.fromkeys(f"output_{index}" for index in range(len(model.outputs)))
    inputs = {tensor.name for tensor in model.inputs}
    return {f"{name}_output" if name in inputs else name: told for name, told in words.items()}


def of_images(model, finish, outputs, compared) -> dict:
    """`serve_images`: uint8 images of any size, brought to the model's input as its card says.

    Args:
        finish: `finish(outputs, height, width)` gives a dict of tensors from those of the model.
        outputs: its outputs in words.
    """
    import tensorflow as tf

    from kzoo.data import resizing

    shape, how = tuple(model.inputs[0].shape[1:]), card_of(model).preprocessing

    def make(call):
        def serve(images):
            fitted = resizing.to_input(resizing.to_float(resizing.resize(images, shape, how)), shape, how)
            return finish(call(fitted), *(tf.shape(images)[axis] for axis in (1, 2)))

        return serve

    def draw(random, batch_size):
        sides = (size or 96 for size in shape[:2])
        return [random.integers(0, 256, (batch_size, *sides, shape[2]), "uint8")]

    spec = ((None, None, None, shape[2]), "uint8")
    words = {"images": f"uint8 {spec[0]}"}
    return {"serve_images": Endpoint(make, {"images": spec}, words, outputs, draw, compared)}


def results_in_words(task, model) -> dict:
    """What `read` gives, in words."""
    return {task.results: f"float32 (None, {task.num_results(model)})"}


def of_results(task, model) -> dict:
    """`serve_images` of a model of images: what its task reads from its outputs."""

    def finish(outputs, height, width):
        return {task.results: task.read(model, outputs)}

    return of_images(model, finish, results_in_words(task, model), task.results)


def of_classifier(task, model) -> dict:
    """`serve_images` of a classifier of images: probabilities and the likeliest label."""
    import tensorflow as tf

    def finish(outputs, height, width):
        found = task.read(model, outputs)
        return {task.results: found, "label": tf.argmax(found, axis=-1, output_type=tf.int32)}

    return of_images(model, finish, {**results_in_words(task, model), "label": "int32 (None,)"}, task.results)


def of_writer(model) -> dict:
    """`generate` of a model that writes tokens: greedy, any number of prompts of any length, the cache inside."""
    from kzoo.generation import serving

    generate, wanted = serving.greedy(model)
    high = min(tensor.shape[-1] for tensor in model.outputs)

    def make(call):
        return lambda *values: generate(**dict(zip(wanted, values, strict=True)))

    def draw(random, batch_size):
        length, lengths = 5 + batch_size, random.integers(1, 5, batch_size)
        places = np.arange(length)[None, :]
        # Sources are padded at their end, prompts before their beginning.
        real = places < lengths[:, None] if "start" in wanted else places >= length - lengths[:, None]
        given = {"max_new_tokens": np.int32(6), "stops": np.array([-1], np.int32), "start": np.int32(1)}
        for name, (shape, _, _) in wanted.items():
            if len(shape) == 2:
                is_mask = columns.NAMES.get(name) == "mask"
                given[name] = (real * (1 if is_mask else random.integers(1, high, real.shape))).astype(np.int32)
        return [given[name] for name in wanted]

    return {"generate": Endpoint(
        make,
        {name: (shape, dtype) for name, (shape, dtype, _) in wanted.items()},
        {name: f"{dtype} {shape}: {what}" for name, (shape, dtype, what) in wanted.items()},
        {"tokens": "int32 (None, max_new_tokens)", "lengths": "int32 (None,)"},
        draw, "tokens", exact=True, shares_variables=True,
    )}  # fmt: skip

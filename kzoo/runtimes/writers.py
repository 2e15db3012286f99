"""Generation in another runtime: the part of a decoder that runs for every token, and its cache beside it.

A new token attends to what was written before and to itself in two products. So the runtime only reads the cache, and
returns one new row for each layer instead of a changed copy of everything.
"""

import pathlib
import tempfile
import threading

import keras
import numpy as np
from keras import ops

from kzoo.catalog import card_of
from kzoo.data.synthetic import synthetic_inputs
from kzoo.generation import loop
from kzoo.generation.decoder import Decoder
from kzoo.generation.memories import ATTENTION
from kzoo.layers.attention import MASKED, join_heads, split_heads
from kzoo.runtimes import choices, litert, openvino
from kzoo.runtimes.fast_path import folder_bytes

PRECISIONS = {"openvino": ("float32", "bfloat16", "int8_weights"), "litert": ("float32", "int8_weights")}


def fast_writer(model, precision="int8_weights", runtime="openvino") -> "FastWriter":
    """A model that writes tokens, made faster for `kzoo.generate`: every step runs in another runtime.

    Args:
        model: what `kzoo.generate` takes, except recurrent and convolutional models; it is not changed, and later
            changes of its weights do not show.
        precision: "float32", "bfloat16" (on processors that have it), or "int8_weights": weights of 8 bits with a scale
            for each channel, so that every token reads a quarter of the bytes.
        runtime: "openvino" or "litert", extras of kzoo. LiteRT is faster with weights of 8 bits, but takes no
            translators and no bfloat16, handles several texts one after the other, needs up to minutes to convert 124M
            weights, and reads the prompt in TensorFlow with weights of 32 bits, which stay in memory.

    Returns a `FastWriter`, which is passed to `kzoo.generate` in place of the model; all settings work but beam search.
    Its `report` says the bytes of the program and how far the logits of a random text moved.

    Raises ValueError for a model that writes no tokens or not by attention alone, a translator in LiteRT, and an
    unknown runtime or precision; ModuleNotFoundError that names the extra if the runtime is not installed.
    """
    choices.check(runtime, precision, None)
    if precision not in PRECISIONS.get(runtime, ()):
        able = "; ".join(f"{name!r}, precision {' or '.join(row)}" for name, row in PRECISIONS.items())
        raise ValueError(f"fast_writer writes in {able}; got runtime {runtime!r}, precision {precision!r}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"fast_writer needs KERAS_BACKEND=tensorflow; this process runs {keras.backend.backend()}")
    return FastWriter(model, precision, runtime)


class FastWriter:
    """What `fast_writer` returns: `programs` for `kzoo.generate`, and what it needs to know of the model itself."""

    def __init__(self, model, precision, runtime):
        decoder = STEPS[runtime](model, precision)
        self.name, self.kzoo, self.programs = model.name, card_of(model), _Programs(decoder)
        asked = {"model": model.name, "runtime": runtime, "precision": precision}
        self.report = {**asked, "bytes": decoder.num_bytes, **_moved(decoder, model)}

    def __repr__(self) -> str:
        return f"<FastWriter {self.name}: {self.report['runtime']}, {self.report['precision']}>"


class _Programs:
    """`generation.programs.Programs` with a loop in Python, whose body is one call of the runtime."""

    def __init__(self, decoder):
        self.decoder, self.choosers = decoder, {}

    def write(self, plan, request, xla):
        return self.go_on(plan, request, self.begin(plan, request, xla), xla)

    def begin(self, plan, request, xla):
        return loop.prefill(self.decoder, plan, request)

    def go_on(self, plan, request, state, xla):
        context, caches, place = state["context"], state["caches"], request["prompt"].shape[1] - 1
        state = {key: value for key, value in state.items() if key not in ("context", "caches")}
        going, count = bool(loop.unfinished(request, state)), int(state["count"])
        while going:
            tokens = state["last"][:, None]
            logits, _ = self.decoder.step(tokens, place + count, request["num_pads"], context, caches)
            state, going = self._chooser(plan)(request, state, logits)
            count += 1
        return {**state, "context": context, "caches": caches}

    def _chooser(self, plan):
        """A compiled function that gives the state with one more token, and whether tokens are left to write."""
        import tensorflow as tf

        def choose(request, state, logits):
            state = loop.choose(self.decoder, plan, request, state, logits)
            return state, loop.unfinished(request, state)

        if plan not in self.choosers:
            self.choosers[plan] = tf.function(choose, autograph=False)
        return self.choosers[plan]

    def search(self, plan, request, xla):
        raise ValueError("a fast writer has no beam search; pass num_beams=1, or the model itself")


class _Steps(Decoder):
    """A `Decoder` whose `step` runs in another runtime.

    Its caches are NumPy arrays (batch, num_heads, length, head_dim), the keys and values of each layer, changed in
    place.
    """

    def __init__(self, model, precision):
        super().__init__(model)
        remembering = [step for step, _ in self.remembering(1)]
        other = [step.layer.name for step in remembering if self.memories[id(step)] is not ATTENTION]
        if other:
            raise ValueError(f"{model.name} is recurrent or convolutional ({other[0]}), and fast_writer writes by "
                             "attention alone; pass the model itself to kzoo.generate")  # fmt: skip
        self.cached = [(step.layer.num_heads, tensor) for step in remembering for tensor in step.inputs[1:3]]
        self.lock = threading.Lock()

    def empty_caches(self, batch_size, length, context):
        size, length = int(batch_size), int(length)
        return [np.zeros((size, heads, length, tensor.shape[-1] // heads), "float32") for heads, tensor in self.cached]

    def step(self, tokens, position, num_pads, context, caches):
        """As `Decoder.step`, but the caches that it returns are the same arrays, changed."""
        position = int(position)
        given = [tokens, np.full((1,), position, "int32"), num_pads, *context]
        arrays = [np.ascontiguousarray(ops.convert_to_numpy(array)) for array in given]
        with self.lock:
            logits, *rows = self.infer(arrays, caches)
        for cache, new in zip(caches, rows, strict=True):
            cache[:, :, position : position + new.shape[2]] = new
        return ops.convert_to_tensor(logits), caches


class _OpenVINOSteps(_Steps):
    def __init__(self, model, precision):
        super().__init__(model, precision)
        concrete, self.names = _program(self)
        package = openvino.import_openvino()
        converted = package.convert_model(concrete)
        if precision == "int8_weights":
            converted = openvino.with_int8_weights(converted)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            package.save_model(converted, str(folder / openvino.FILE), compress_to_fp16=False)
            self.num_bytes = folder_bytes(folder)
            self.request = openvino.compiled(folder, precision).create_infer_request()
        self.results = [tensor.name for tensor in concrete.outputs]

    def infer(self, arrays, caches):
        results = self.request.infer(dict(zip(self.names, arrays + caches, strict=True)), share_inputs=True)
        return [results[name] for name in self.results]


class _LiteRTSteps(_Steps):
    """Its program takes one token of one text: with open sizes for both, XNNPACK would run none of its products."""

    def __init__(self, model, precision):
        super().__init__(model, precision)
        if self.context:
            raise ValueError(f"{model.name} reads a source, and LiteRT writes with language models alone; pass runtime "
                             "'openvino'")  # fmt: skip
        concrete, names = _program(self, batch_size=1, num_tokens=1)
        content = litert.converted(concrete, precision)
        self.num_bytes = len(content)
        self.run = litert.runner(litert.make_interpreter(content), names)
        self.read_prompt, _ = _program(self)  # in TensorFlow, for any size

    def infer(self, arrays, caches):
        tokens, position, num_pads = arrays
        if tokens.shape[1] > 1:
            outputs = self.read_prompt(*(ops.convert_to_tensor(array) for array in (*arrays, *caches)))
            return [ops.convert_to_numpy(output) for output in outputs]
        rows = [slice(row, row + 1) for row in range(len(tokens))]
        texts = [[tokens[row], position, num_pads[row], *(cache[row] for cache in caches)] for row in rows]
        return [np.concatenate(parts) for parts in zip(*map(self.run, texts), strict=True)]


STEPS = {"openvino": _OpenVINOSteps, "litert": _LiteRTSteps}


def _attend_apart(layer, args, kwargs, cache, now):
    """Attends separately to what was written and to the new tokens; also returns the new keys and values by head."""
    places, num_pads = now.places, now.num_pads
    query, key, value = (ops.transpose(split_heads(x, layer.num_heads), (0, 2, 1, 3)) for x in args[:3])
    query = ops.cast(query, "float32") * query.shape[-1] ** -0.5
    key, value = ops.cast(key, "float32"), ops.cast(value, "float32")
    keys, values = cache
    at = ops.arange(ops.shape(keys)[2], dtype="int32")
    written = (at[None, :] < places[0]) & (at[None, :] >= num_pads[:, None])
    causal = (places[None, :] <= places[:, None])[None] & (places[None, None, :] >= num_pads[:, None, None])
    before = ops.where(written[:, None, None, :], ops.matmul(query, ops.swapaxes(keys, -1, -2)), MASKED)
    new = ops.where(causal[:, None], ops.matmul(query, ops.swapaxes(key, -1, -2)), MASKED)
    # A softmax over both, in parts: their common maximum keeps the exponentials finite.
    largest = ops.maximum(ops.max(before, -1, keepdims=True), ops.max(new, -1, keepdims=True))
    before, new = ops.exp(before - largest), ops.exp(new - largest)
    total = ops.sum(before, -1, keepdims=True) + ops.sum(new, -1, keepdims=True)
    outputs = (ops.matmul(before, values) + ops.matmul(new, value)) / total
    outputs = ops.cast(join_heads(ops.transpose(outputs, (0, 2, 1, 3))), layer.compute_dtype)
    return outputs, [key, value]


def _program(decoder, batch_size=None, num_tokens=None):
    """One step as a traced function of constant weights, and the names of its inputs; sizes of None stay open."""
    import tensorflow as tf

    ints = {"tokens": (batch_size, num_tokens), "position": (1,), "num_pads": (batch_size,)}
    specs = [tf.TensorSpec(shape, "int32", name) for name, shape in ints.items()]
    specs += [tf.TensorSpec(one.shape, one.dtype, f"context_{index}") for index, one in enumerate(decoder.context)]
    for index, (heads, tensor) in enumerate(decoder.cached):
        shape = (batch_size, heads, None, tensor.shape[-1] // heads)
        specs.append(tf.TensorSpec(shape, "float32", f"cache_{index}"))
    weights = [(variable, variable.numpy()) for variable in decoder.variables(decoder.steps)]

    def run(tokens, position, num_pads, *rest):
        context, flat = rest[: len(decoder.context)], rest[len(decoder.context) :]
        caches = [list(pair) for pair in zip(flat[::2], flat[1::2], strict=True)]
        with keras.StatelessScope(state_mapping=[(variable, tf.constant(value)) for variable, value in weights]):
            logits, after = Decoder.step(decoder, tokens, position[0], num_pads, context, caches, _attend_apart)
        return [ops.cast(logits, "float32"), *keras.tree.flatten(after)]

    concrete = tf.function(run, input_signature=specs, autograph=False).get_concrete_function()
    return concrete, [spec.name for spec in specs]


def _moved(decoder, model, length=16):
    """How far the last logits for a random text are from the model's own, as `max_difference` and `scale`."""
    x = synthetic_inputs(model, 2, length=min(length, decoder.max_length or length))
    wanted = ops.convert_to_numpy(model(x, training=False))[:, -1]
    x = x if isinstance(x, dict) else {decoder.token_name: x}
    tokens = x[decoder.token_name]
    source = {name: array for name, array in x.items() if name not in ("padding_mask", decoder.token_name)}
    context = decoder.read(source)
    caches, num_pads = decoder.empty_caches(2, tokens.shape[1], context), np.zeros(2, "int32")
    decoder.step(tokens[:, :-1], 0, num_pads, context, caches)
    logits, _ = decoder.step(tokens[:, -1:], tokens.shape[1] - 1, num_pads, context, caches)
    difference = np.abs(ops.convert_to_numpy(logits) - wanted)
    return {"max_difference": float(difference.max()), "scale": float(np.abs(wanted).max())}

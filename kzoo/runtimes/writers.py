"""Generation on another runtime: the part of a decoder that runs for every token, and its cache beside it.

A new token attends to what was written before and to itself in two products, so that the cache is only read there, and
one row a layer comes back instead of a changed copy of it all.
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


def fast_writer(model, precision="int8_weights", runtime="openvino"):
    """A model that writes tokens, for `kzoo.generate` to write with faster: every step in another runtime.

    Args:
        model: what `kzoo.generate` takes, but for recurrent and convolutional ones; it is not changed, and later
            changes of its weights do not show.
        precision: "float32", "bfloat16" (on processors that have it), or "int8_weights": weights of 8 bits with a scale
            a channel, which is a quarter of the bytes that every token reads.
        runtime: "openvino" or "litert", extras of kzoo. LiteRT is the faster with weights of 8 bits; it takes no
            translators and no bfloat16, one text of several at a time, up to minutes to convert 124M weights, and it
            reads the prompt in TensorFlow with weights of 32 bits, which stay in memory.

    Returns a `FastWriter`, to be passed to `kzoo.generate` in the model's place; all of its settings but beam search
    work. Its `report` says the bytes of the program and how far the logits of a random text moved.

    Raises ValueError for a model that writes no tokens or not by attention alone, a translator in LiteRT, an unknown
    runtime or precision; ModuleNotFoundError that names the extra where the runtime is not installed.
    """
    choices.check(runtime, precision, None)
    if precision not in PRECISIONS.get(runtime, ()):
        able = "; ".join(f"{name!r}, precision {' or '.join(row)}" for name, row in PRECISIONS.items())
        raise ValueError(f"fast_writer writes in {able}; got runtime {runtime!r}, precision {precision!r}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"fast_writer needs KERAS_BACKEND=tensorflow; this process runs {keras.backend.backend()}")
    return FastWriter(model, precision, runtime)


class FastWriter:
    """What `fast_writer` gives: `programs` for `kzoo.generate`, and what it needs of the model itself."""

    def __init__(self, model, precision, runtime):
        self.name = model.name
        self.kzoo = card_of(model)
        self.programs = _Programs(STEPS[runtime](model, precision))
        self.report = {
            "model": model.name, "runtime": runtime, "precision": precision, "bytes": self.programs.decoder.num_bytes,
            **_moved(self.programs.decoder, model),
        }  # fmt: skip

    def __repr__(self):
        return f"<FastWriter {self.name}: {self.report['runtime']}, {self.report['precision']}>"


class _Programs:
    """`generation.programs.Programs` with a loop in Python, whose body is one call of the runtime."""

    def __init__(self, decoder):
        self.decoder = decoder
        self.choosers = {}

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
        """A compiled function: the state with one more token, and whether tokens are left to write."""
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

    Its caches are NumPy arrays (batch, num_heads, length, head_dim), keys and values of every layer, written in place.
    """

    def __init__(self, model, precision):
        super().__init__(model)
        remembering = [step for step, _ in self.remembering(1)]
        other = [step.layer.name for step in remembering if self.memories[id(step)] is not ATTENTION]
        if other:
            raise ValueError(f"{model.name} is recurrent or convolutional ({other[0]}), and fast_writer writes by "
                             "attention alone; pass the model itself to kzoo.generate")  # fmt: skip
        self.attending = remembering
        self.lock = threading.Lock()

    def empty_caches(self, batch_size, length, context):
        caches = []
        for step in self.attending:
            for tensor in step.inputs[1:3]:
                heads = step.layer.num_heads
                caches.append(np.zeros((int(batch_size), heads, int(length), tensor.shape[-1] // heads), "float32"))
        return caches

    def step(self, tokens, position, num_pads, context, caches):
        """As `Decoder.step`, but the caches stay the same arrays."""
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
        with tempfile.TemporaryDirectory() as folder:
            package.save_model(converted, str(pathlib.Path(folder) / openvino.FILE), compress_to_fp16=False)
            self.num_bytes = folder_bytes(folder)
            self.request = openvino.compiled(pathlib.Path(folder), precision).create_infer_request()
        self.results = [tensor.name for tensor in concrete.outputs]

    def infer(self, arrays, caches):
        results = self.request.infer(dict(zip(self.names, arrays + caches, strict=True)), share_inputs=True)
        return [results[name] for name in self.results]


class _LiteRTSteps(_Steps):
    """The program takes one token of one text: with open sizes for both, XNNPACK would run none of its products."""

    def __init__(self, model, precision):
        super().__init__(model, precision)
        if self.context:
            raise ValueError(f"{model.name} reads a source, and LiteRT writes with language models alone; pass runtime "
                             "'openvino'")  # fmt: skip
        concrete, names = _program(self, batch_size=1, num_tokens=1)
        content = litert.converted(concrete, precision)
        self.num_bytes = len(content)
        self.run = litert.runner(litert.make_interpreter(content), names)
        self.read_prompt, _ = _program(self)  # TensorFlow's, of any size

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
    """Attention to what was written and, apart, to the new tokens; the new keys and values by head."""
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
    # A softmax over both, in parts: a maximum that both know keeps the exponentials finite.
    largest = ops.maximum(ops.max(before, -1, keepdims=True), ops.max(new, -1, keepdims=True))
    before, new = ops.exp(before - largest), ops.exp(new - largest)
    total = ops.sum(before, -1, keepdims=True) + ops.sum(new, -1, keepdims=True)
    outputs = (ops.matmul(before, values) + ops.matmul(new, value)) / total
    outputs = ops.cast(join_heads(ops.transpose(outputs, (0, 2, 1, 3))), layer.compute_dtype)
    return outputs, [key, value]


def _program(decoder, batch_size=None, num_tokens=None):
    """One step as a traced function of constant weights, and the names of its inputs; sizes of None stay open."""
    import tensorflow as tf

    specs = [
        tf.TensorSpec((batch_size, num_tokens), "int32", "tokens"), tf.TensorSpec((1,), "int32", "position"),
        tf.TensorSpec((batch_size,), "int32", "num_pads"),
    ]  # fmt: skip
    for index, tensor in enumerate(decoder.context):
        specs.append(tf.TensorSpec(tensor.shape, tensor.dtype, f"context_{index}"))
    for index, array in enumerate(decoder.empty_caches(1, 1, None)):
        _, heads, _, width = array.shape
        specs.append(tf.TensorSpec((batch_size, heads, None, width), "float32", f"cache_{index}"))
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
    """How far the logits after a random text are from the model's own, as `max_difference` and `scale`."""
    x = synthetic_inputs(model, 2, length=min(length, decoder.max_length or length))
    wanted = ops.convert_to_numpy(model(x, training=False))[:, -1]
    x = x if isinstance(x, dict) else {decoder.token_name: x}
    tokens = x[decoder.token_name]
    masks = ("padding_mask", decoder.token_name)
    context = decoder.read({name: array for name, array in x.items() if name not in masks})
    caches, num_pads = decoder.empty_caches(2, tokens.shape[1], context), np.zeros(2, "int32")
    decoder.step(tokens[:, :-1], 0, num_pads, context, caches)
    logits, _ = decoder.step(tokens[:, -1:], tokens.shape[1] - 1, num_pads, context, caches)
    difference = np.abs(ops.convert_to_numpy(logits) - wanted)
    return {"max_difference": float(difference.max()), "scale": float(np.abs(wanted).max())}

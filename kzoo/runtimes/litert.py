"""LiteRT, formerly TensorFlow Lite: one file, float32, int8 throughout, or int8 weights alone."""

import contextlib
import functools
import logging
import math
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kzoo.rewrites import masking
from kzoo.rewrites.unrolling import is_recurrent, keeps_loops
from kzoo.runtimes import samples
from kzoo.runtimes.frozen import check_fits_a_file, freeze
from kzoo.runtimes.interface import as_texts
from kzoo.support import quiet

FILE = "model.tflite"
SIGNATURE = "serve"
IDENTIFIER = b"TFL3"  # of the format


def write(model, folder, settings, calibration) -> dict:
    """Writes `model.tflite` and returns what the report says of it.

    Sequences have one length, and recurrent layers are unrolled over it, but for those of `keeps_loops`, whose file
    takes one example at a time. int8 quantises weights by channel and
    activations by the smallest and largest value in the calibration data; inputs and outputs stay float32. An
    operation that has no int8 form runs in float32, and the coverage says so. Attention masks are rewritten so that
    they do not widen the range of the scores. `int8_weights` is LiteRT's dynamic range quantisation: activations are
    quantised as they are computed. Raises ValueError for sequences of any length without `length`.
    """
    is_open = any(len(tensor.shape) < 4 and None in tensor.shape[1:] for tensor in model.inputs)
    if is_open and settings.length is None:
        why = "has no loops over one" if is_recurrent(model) else "has no attention over an open length"
        raise ValueError(f"{model.name} takes sequences of any length and LiteRT {why}: pass length= (--length)")
    if settings.precision == "int8" and keeps_loops(model):
        raise ValueError(
            f"{model.name}: LiteRT's quantiser of activations crashes on loops over speech; use precision "
            "'int8_weights', or the runtime onnxruntime (--format onnx)"
        )
    # The function, not the Keras model, whose variables the converter silently loses.
    is_int8, size = settings.precision == "int8", settings.batch_size or 1
    source = masking.bound_masks(model) if is_int8 and masking.attends(model) else model
    # Its loops need every size of what they hold.
    loops, batch_size = keeps_loops(model), 1 if keeps_loops(model) else settings.batch_size
    frozen = freeze(source, batch_size, settings.length, unroll=not loops, one_product=not is_int8)
    check_fits_a_file(frozen, "LiteRT")
    examples = functools.partial(samples.batches, calibration, frozen.names, size)
    content = converted(frozen.concrete, settings.precision, examples)
    if settings.interface:
        content = _described(content, settings.interface)
    (folder / FILE).write_bytes(content)
    if settings.precision == "float32":
        return frozen.changes
    arrays = samples.random_inputs(model, size, settings.length)
    return {**frozen.changes, "int8_coverage": coverage(content, model, arrays, with_activations=is_int8)}


def converted(concrete, precision, calibration=None) -> bytes:
    """A traced function as the bytes of a LiteRT program; for int8, `calibration()` gives lists of arrays."""
    import tensorflow as tf

    with _quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "int8":
        converter.representative_dataset = calibration
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    with _quiet():
        return converter.convert()


def _described(content, interface):
    """A program with names for its inputs and outputs, a signature of them, and what it says of itself as metadata.

    The converter would make a signature only of a SavedModel, which it converts otherwise.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    file = schema.ModelT.InitFromPackedBuf(content, 0)
    graph, signature = file.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
    taken = [_plain(graph.tensors[index].name.decode()) for index in graph.inputs]
    signature.inputs = [_named(graph, index, name) for index, name in zip(graph.inputs, taken, strict=True)]
    results = zip(graph.outputs, interface["outputs"], strict=True)
    signature.outputs = [_named(graph, index, name) for index, name in results]
    file.signatureDefs, file.metadata = [signature], file.metadata or []
    for key, text in as_texts(interface, taken).items():
        entry, buffer = schema.MetadataT(), schema.BufferT()
        entry.name, entry.buffer, buffer.data = f"kzoo.{key}", len(file.buffers), list(text.encode())
        file.metadata.append(entry)
        file.buffers.append(buffer)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(file.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _plain(name):
    """The name of an input without what TensorFlow puts around it."""
    return name.removeprefix("serving_default_").partition(":")[0]


def _named(graph, index, name):
    """An entry of a signature for a tensor, which gets the name too unless an input that is an output has its own."""
    from ai_edge_litert import schema_py_generated as schema

    if isinstance(graph.tensors[index].name, bytes):  # as it was read
        graph.tensors[index].name = name
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def names(folder) -> tuple:
    """The names of the inputs and of the outputs, as the file has them."""
    signature = make_interpreter((folder / FILE).read_bytes()).get_signature_list()[SIGNATURE]
    return signature["inputs"], signature["outputs"]


@contextlib.contextmanager
def _quiet():
    """Hides the converter's advice to save a whole module instead of a function, and to give statistics for int8."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning), quiet.same_root_logger():
            yield
    finally:
        log.setLevel(before)


def load(folder, model, settings) -> Callable:
    """A function from a list of arrays, in the order of the model's inputs, to a list of arrays."""
    run = runner(make_interpreter((folder / FILE).read_bytes()), [tensor.name for tensor in model.inputs])
    return _one_by_one(run) if keeps_loops(model) else run


def _one_by_one(run):
    def run_each(arrays):
        rows = [run([array[index : index + 1] for array in arrays]) for index in range(len(arrays[0]))]
        return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]

    return run_each


def make_interpreter(content, **options) -> Any:
    """A program that is ready for its inputs and runs on all cores."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet.silent_stderr():  # it tells which delegate it made
        interpreter = Interpreter(model_content=content, num_threads=os.cpu_count(), **options)
        interpreter.allocate_tensors()
    return interpreter


def runner(interpreter, names) -> Callable:
    """A program as a function from a list of arrays, in the order of these names, to a list of arrays."""
    details = interpreter.get_input_details()
    rows = {_plain(row["name"]): row["index"] for row in details}
    places = [rows[name] for name in names]
    lock, shapes = threading.Lock(), []

    def run(arrays):
        with lock:
            if shapes != [array.shape for array in arrays]:
                for place, array in zip(places, arrays, strict=True):
                    interpreter.resize_tensor_input(place, array.shape)
                interpreter.allocate_tensors()
                shapes[:] = [array.shape for array in arrays]
            for place, array in zip(places, arrays, strict=True):
                interpreter.set_tensor(place, array)
            interpreter.invoke()
            return [interpreter.get_tensor(row["index"]) for row in interpreter.get_output_details()]

    return run


def coverage(content, model, arrays, with_activations=True) -> float:
    """Share of the multiply-accumulates that run on int8 weights and, if wanted, on int8 activations.

    Args:
        content: the file's bytes.
        arrays: inputs of `model` to run it on, since the file does not say the sizes of an open batch.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # delegates hide the tensors between their operations
    interpreter = make_interpreter(content, experimental_op_resolver_type=plain)
    runner(interpreter, [tensor.name for tensor in model.inputs])(arrays)
    shapes = {row["index"]: row["shape"].tolist() for row in interpreter.get_tensor_details()}
    file = schema.ModelT.InitFromPackedBuf(content, 0)
    tensors = file.subgraphs[0].tensors
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    stored = {}  # a float32 tensor that is computed with -> the stored int8 one that it is made from
    total = covered = 0
    for operator in file.subgraphs[0].operators:
        code = file.operatorCodes[operator.opcodeIndex]
        kind = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        inputs = operator.inputs
        if kind == "DEQUANTIZE" and not with_activations:
            stored[operator.outputs[0]] = inputs[0]
        if macs := _macs(kind, operator, shapes):
            total += macs
            left, right = (inputs[2], inputs[1]) if kind == "TRANSPOSE_CONV" else inputs[:2]
            wanted = [stored.get(right, right), *([left] if with_activations else [])]
            covered += macs * all(tensors[index].type == schema.TensorType.INT8 for index in wanted)
    return covered / total if total else 0.0


def _macs(kind, operator, shapes):
    """Multiply-accumulates of one operation; the layouts of weights are those of LiteRT's operators."""
    size, inputs = math.prod(shapes[operator.outputs[0]]), operator.inputs
    if kind == "CONV_2D":
        return size * math.prod(shapes[inputs[1]][1:])
    if kind == "DEPTHWISE_CONV_2D":
        return size * math.prod(shapes[inputs[1]][1:3])
    if kind == "FULLY_CONNECTED":
        return size * shapes[inputs[1]][-1]
    if kind == "BATCH_MATMUL":
        return size * shapes[inputs[0]][-2 if operator.builtinOptions.adjX else -1]
    if kind == "TRANSPOSE_CONV":
        return math.prod(shapes[inputs[2]]) * math.prod(shapes[inputs[1]][:3])
    return 0

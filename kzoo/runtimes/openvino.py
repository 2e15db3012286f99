"""OpenVINO, with NNCF for its int8."""

import contextlib
import dataclasses
import io
import logging
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

from kzoo.rewrites.masking import attends
from kzoo.rewrites.unrolling import is_recurrent, keeps_loops
from kzoo.runtimes import choices, onnxruntime, samples
from kzoo.runtimes.frozen import freeze
from kzoo.runtimes.interface import as_texts

FILE = "model.xml"
HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32", "int8_weights": "f32"}
COUNTED = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
# kzoo's name -> NNCF's, whose own choice is the mean of the examples' extremes where a tensor has one range
RANGES = {"min_max": "MINMAX", "percentile": "MEAN_QUANTILE", "mse": "HISTOGRAM"}
# Operations that OpenVINO runs on int8 if they are given int8, since they only move or choose values.
PASSING = ("Convert", "Multiply", "Subtract", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "Relu", "Pad",
           "StridedSlice", "Slice", "Split", "VariadicSplit", "Concat")  # fmt: skip


def import_openvino() -> Any:
    """The package, told to send no statistics."""
    # OpenVINO and NNCF report their use over the network if this package is found, and do without it otherwise.
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


@contextlib.contextmanager
def _quiet_nncf():
    """NNCF without the tables and bars that it prints to standard output, where a program's JSON goes."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield nncf


def write(model, folder, settings, calibration) -> dict:
    """Writes `model.xml` and `model.bin` and returns what the report says of them.

    int8 is NNCF's post-training quantisation: weights by channel, activations by the calibration data, with its scheme
    for Transformers if there is attention. `int8_weights` compresses weights alone. A recurrent network is unrolled
    over a known length; with an open length it is converted by way of ONNX (extra `onnx`), since OpenVINO does not read
    TensorFlow's loops. Raises ModuleNotFoundError if that extra is not installed, and ValueError for an open length of
    loops that it does not read from there either.
    """
    openvino = import_openvino()
    frozen, converted = _converted(model, folder, settings)
    is_int8 = settings.precision == "int8"
    if is_int8:
        converted = _quantised(model, converted, calibration, frozen.names, settings)
    elif settings.precision == "int8_weights":
        converted = with_int8_weights(converted)
    if settings.interface:
        _describe(converted, frozen, settings.interface)
    openvino.save_model(converted, str(folder / FILE), compress_to_fp16=False)
    if not settings.precision.startswith("int8"):
        return frozen.changes
    arrays = samples.random_inputs(model, settings.batch_size or 1, settings.length)
    shapes = {name: array.shape for name, array in zip(frozen.names, arrays, strict=True)}
    return {**frozen.changes, "int8_coverage": coverage(converted, shapes, is_int8)}


def _describe(converted, frozen, interface):
    """Names the outputs, and writes what a model says of itself as `kzoo` of its `rt_info`."""
    names = dict(zip((tensor.name for tensor in frozen.concrete.outputs), interface["outputs"], strict=True))
    for port in converted.outputs:
        port.tensor.set_names({name for told, name in names.items() if told in port.names})
    taken = {name for port in converted.inputs for name in port.names}
    for key, text in as_texts(interface, taken).items():
        converted.set_rt_info(text, ["kzoo", key])


def names(folder) -> tuple:
    """The names of the inputs and of the outputs, as the file has them."""
    program = import_openvino().Core().read_model(str(folder / FILE))
    return tuple([name for port in side for name in port.names] for side in (program.inputs, program.outputs))


def _converted(model, folder, settings):
    openvino = import_openvino()
    if is_recurrent(model) and settings.length is None:
        if keeps_loops(model):
            raise ValueError(
                f"{model.name}: OpenVINO reads none of its loops and takes them unrolled: pass length= (--length)"
            )
        if not choices.is_installed("onnxruntime"):
            raise ModuleNotFoundError(
                f"{model.name} is recurrent: OpenVINO takes it unrolled (pass length=) or by way of ONNX: pip install "
                "'kzoo[onnx]'"
            )
        path = folder / onnxruntime.FILE
        plain = dataclasses.replace(settings, precision="float32", interface=None)
        notes = onnxruntime.write(model, folder, plain, None)
        try:
            converted = openvino.convert_model(str(path))
        except openvino.frontend.OpConversionFailure as error:
            raise ValueError(
                f"OpenVINO has no loop over padded steps, which {model.name} needs: pass length= (--length) for one "
                "that is unrolled"
            ) from error
        path.unlink()
        frozen = freeze(model, settings.batch_size, settings.length)
        frozen.changes.update(notes)
        return frozen, converted
    # Without AVX-512 a product in float32 is slower with a GELU fused into it, see `fusible`; in int8 it is faster.
    is_int8 = settings.precision == "int8"
    how = {"unroll": True, "one_product": not is_int8, "fuse_gelu": is_int8}
    frozen = freeze(model, settings.batch_size, settings.length, **how)
    converted = openvino.convert_model(frozen.concrete)
    # Values that nothing reads, such as the shape of a layer's input, would otherwise become outputs.
    wanted = {tensor.name for tensor in frozen.concrete.outputs}
    for port in converted.outputs:
        if not port.names & wanted:
            converted.remove_result(port.get_node())
    return frozen, converted


def with_int8_weights(converted) -> Any:
    """The program with the weights of its products in 8 bits, with a scale and a zero point for each channel."""
    with _quiet_nncf() as nncf:
        return nncf.compress_weights(converted, mode=nncf.CompressWeightsMode.INT8_ASYM)


def _quantised(model, converted, calibration, names, settings):
    batch_size = settings.batch_size or 1
    rows = [dict(zip(names, row, strict=True)) for row in samples.batches(calibration, names, batch_size)]
    with _quiet_nncf() as nncf:
        advanced = nncf.AdvancedQuantizationParameters()
        if settings.ranges in RANGES:
            known = nncf.quantization.range_estimator.RangeEstimatorParametersSet
            advanced.activations_range_estimator_params = getattr(known, RANGES[settings.ranges])
        return nncf.quantize(
            converted,
            nncf.Dataset(rows),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(rows),
            model_type=nncf.ModelType.TRANSFORMER if attends(model) else None,
            advanced_parameters=advanced,
        )


def compiled(folder, precision) -> Any:
    """The program in a folder, compiled for this processor; ValueError for bfloat16 on one that lacks it."""
    core = import_openvino().Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ValueError(
            "this processor has no bfloat16, and OpenVINO would silently compute in float32; pass precision='float32', "
            "or runtime='tensorflow'"
        )
    hints = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    return core.compile_model(core.read_model(str(folder / FILE)), "CPU", hints)


def load(folder, model, settings) -> Callable:
    """A function from a list of arrays, in the order of the model's inputs, to a list of arrays."""
    program = compiled(folder, settings.precision)
    request, lock = program.create_infer_request(), threading.Lock()
    taken = {name for port in program.inputs for name in port.names}
    names = [tensor.name for tensor in model.inputs]

    def run(arrays):
        with lock:
            given = {name: array for name, array in zip(names, arrays, strict=True) if name in taken}
            results = request.infer(given)
            return [results[port].copy() for port in program.outputs]

    return run


def coverage(converted, sizes, with_activations=True) -> float:
    """Share of the multiply-accumulates whose weights are int8 and, if wanted, whose activations are too.

    Args:
        converted: an openvino.Model after quantisation.
        sizes: `{input name: shape}` to count at.
    """
    model = converted.clone()
    known = {name for port in model.inputs for name in port.names}
    model.reshape({name: shape for name, shape in sizes.items() if name in known})
    total = covered = 0
    for node in model.get_ops():
        if node.get_type_name() not in COUNTED:
            continue
        macs = _macs(node)
        total += macs
        sources = [_is_int8(node.input(index).get_source_output().get_node()) for index in (0, 1)]
        covered += macs * (all(sources) if with_activations else sources[1])
    return covered / total if total else 0.0


def _macs(node):
    """Multiply-accumulates of one node, from its static shapes."""
    kind, left, right = node.get_type_name(), node.input(0).get_shape(), node.input(1).get_shape()
    size = math.prod(node.output(0).get_shape())
    if kind == "Convolution":
        return size * math.prod(right[1:])
    if kind == "GroupConvolution":
        return size * math.prod(right[2:])
    if kind == "ConvolutionBackpropData":
        return math.prod(left) * math.prod(right[1:])
    return size * left[-2 if node.get_attributes().get("transpose_a") else -1]


def _is_int8(node):
    """Whether the output of a node is quantised: looks at the start of the chain that only moves or scales values."""
    while node.get_type_name() in PASSING:
        node = node.input(0).get_source_output().get_node()
    if node.get_type_name() == "Constant":
        return node.get_element_type().get_type_name() in ("i8", "u8")
    return node.get_type_name() == "FakeQuantize"

"""Static int8 of an ONNX file: QDQ pairs around what ONNX Runtime multiplies in 8 bits."""

import contextlib
import logging
import math

import onnx
import onnxruntime
from onnxruntime import quantization

from kzoo.runtimes import samples
from kzoo.support import quiet

# Entropy is left out: quantize_static gives it 128 bins for 128 levels, so that its only candidate is the whole range.
METHODS = {"min_max": "MinMax", "percentile": "Percentile"}
PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
# What lies between the products of a convolutional network; not where masks or blanks are as large as floats get.
BETWEEN = ("Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Reshape", "Transpose",
           "Squeeze", "Unsqueeze", "Flatten", "Pad")  # fmt: skip
PERCENTILE = 99.99


def quantise(proto, path, calibration, names, ranges, batch_size, has_extremes) -> None:
    """Writes an ONNX model in int8: weights by channel, activations (uint8) by the calibration data.

    Args:
        calibration: `{input name: array}`; `names` are the inputs in order.
        ranges: a key of METHODS; "percentile" keeps PERCENTILE % of the values.
        has_extremes: whether masked scores or certain blanks would take up the whole range of what they stand in.
    """
    rows = iter([dict(zip(names, row, strict=True)) for row in samples.batches(calibration, names, batch_size)])
    taken = {row.name for row in proto.graph.input}

    class Reader(quantization.CalibrationDataReader):
        def get_next(self):
            row = next(rows, None)
            return row and {name: array for name, array in row.items() if name in taken}

    with _quiet():
        quantization.quantize_static(
            proto,
            str(path),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=[*PRODUCTS, *(() if has_extremes else BETWEEN)],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod[METHODS[ranges]],
            extra_options={"CalibPercentile": PERCENTILE},
        )


@contextlib.contextmanager
def _quiet():
    """Hides the advice of the quantiser, which it gives through the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(None), quiet.same_root_logger():
            yield
    finally:
        logging.disable(before)


def coverage(path, feeds) -> float:
    """Share of the multiply-accumulates both of whose operands are int8.

    Args:
        path: of the quantised file.
        feeds: `{input name: array}` to run it on, since the file does not say open sizes.
    """
    proto = onnx.load(str(path))
    makers = {name: node for node in proto.graph.node for name in node.output}
    products = [(node, (*node.input[:2], node.output[0])) for node in proto.graph.node if node.op_type in PRODUCTS]
    shapes = _shapes(proto, {name for _, names in products for name in names}, feeds)
    total = covered = 0
    for node, names in products:
        macs = _macs(node, *(shapes[name] for name in names))
        total += macs
        sides = [makers.get(name) for name in names[:2]]
        covered += macs * all(side is not None and side.op_type == "DequantizeLinear" for side in sides)
    return covered / total if total else 0.0


def _shapes(proto, names, feeds):
    """The shapes of tensors when the model runs, without the optimisations that would remove some of them."""
    known = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    known.update({name: array.shape for name, array in feeds.items()})
    wanted = sorted(names - known.keys())
    new = set(wanted) - {row.name for row in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in new)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    taken = {row.name for row in session.get_inputs()}
    arrays = session.run(wanted, {name: array for name, array in feeds.items() if name in taken}) if wanted else []
    return known | {name: array.shape for name, array in zip(wanted, arrays, strict=True)}


def _macs(node, left, right, out):
    """Multiply-accumulates of one node; kernels are (out, in / groups, ...), those of ConvTranspose (in, out, ...)."""
    if node.op_type == "Conv":
        return math.prod(out) * math.prod(right[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(left) * math.prod(right[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(out) * left[-2 if transposed else -1]

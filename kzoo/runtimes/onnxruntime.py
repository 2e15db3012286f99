"""ONNX, and ONNX Runtime to run it: the batch and all other open sizes stay open."""

import os
from collections.abc import Callable

from kzoo.rewrites.fusible import has_layer_norm
from kzoo.rewrites.masking import has_extremes
from kzoo.rewrites.unrolling import is_recurrent
from kzoo.runtimes import samples
from kzoo.runtimes.frozen import check_fits_a_file, freeze
from kzoo.runtimes.interface import as_texts, sentence

FILE = "model.onnx"
OPSET = 17


def write(model, folder, settings, calibration) -> dict:
    """Writes `model.onnx` and returns what the report says of it.

    int8 is ONNX Runtime's static quantisation: weights by channel, activations by the calibration data. Recurrent
    layers are then unrolled over `length`, since nothing is quantised inside loops; ValueError without it.
    """
    from kzoo.runtimes import onnx_int8, onnx_tidying  # which import the packages of the extra

    is_int8 = settings.precision == "int8"
    if is_int8 and is_recurrent(model) and settings.length is None:
        raise ValueError(f"{model.name} is recurrent, and ONNX Runtime quantises no loops: pass length= (--length)")
    frozen = freeze(model, settings.batch_size, settings.length, unroll=is_int8)
    check_fits_a_file(frozen, "an ONNX file")
    names = list(settings.interface["outputs"]) if settings.interface else None
    proto, notes = _convert(frozen, names), {**frozen.changes, "opset": OPSET}
    onnx_tidying.tidy(proto)
    if settings.interface:
        _describe(proto, settings.interface)
    if not is_int8:
        onnx_tidying.name_batch_norms(proto)
        (folder / FILE).write_bytes(proto.SerializeToString())
        return notes
    size = settings.batch_size or 1
    onnx_int8.quantise(proto, folder / FILE, calibration, frozen.names, settings.ranges, size, has_extremes(model))
    feeds = dict(zip(frozen.names, samples.random_inputs(model, size, settings.length), strict=True))
    return {**notes, "int8_coverage": onnx_int8.coverage(folder / FILE, feeds)}


def _describe(proto, interface):
    """Writes what a model says of itself into its metadata, and what its inputs and outputs hold beside them."""
    import onnx

    graph = proto.graph
    onnx.helper.set_model_props(proto, as_texts(interface, {row.name for row in graph.input}))
    for row in (*graph.input, *graph.output):
        row.doc_string = sentence((interface["inputs"] | interface["outputs"])[row.name])


def names(folder) -> tuple:
    """The names of the inputs and of the outputs, as the file has them."""
    import onnx

    graph = onnx.load(str(folder / FILE)).graph
    return [row.name for row in graph.input], [row.name for row in graph.output]


def _convert(frozen, output_names=None):
    """The function as an ONNX model, by the steps that tf2onnx.convert.from_function takes."""
    import logging

    import tensorflow as tf
    import tf2onnx
    from tf2onnx import tf_loader, tfonnx

    tf2onnx.logging.set_level(logging.ERROR)
    concrete = frozen.concrete
    inputs, outputs = ([tensor.name for tensor in side] for side in (concrete.inputs, concrete.outputs))
    plain = {name: name.partition(":")[0] for name in inputs}
    plain |= dict(zip(outputs, output_names or outputs, strict=True))
    definition = tf_loader.from_function(concrete, inputs, outputs)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        made = tfonnx.process_tf_graph(graph, opset=OPSET, input_names=inputs, output_names=outputs,
                                       tensors_to_rename=plain, custom_op_handlers={"Erfc": (_erfc, [])},
                                       continue_on_error=True)  # fmt: skip
        # All of its optimizers except the one that removes pairs, for which there is `onnx_tidying`. That one drops the
        # first of two Reshapes even if a 0 in the second stands for a size that the first one makes, as between the
        # projection of a query without a bias and its heads.
        names = ("Transpose", "Upsample", "ConstFold", "ConstDequantize", "Loop", "MergeDuplicatedNodes", "Reshape",
                 "GlobalPool", "QDQ", "Identity", "Einsum")  # fmt: skip
        optimizers = {name: getattr(tf2onnx.optimizer, f"{name}Optimizer") for name in names}
        if has_layer_norm(frozen.model):
            del optimizers["GlobalPool"]  # which takes its mean over the last axis for one over an image
        # Between passes tf2onnx would write every weight into its node's message again, which frees none of the old
        # ones, and to catch errors it would copy the whole graph.
        made.update_proto = lambda external_tensor_storage=None: None
        made = tf2onnx.optimizer.optimize_graph(made, catch_errors=False, optimizers=optimizers)
        del made.update_proto
        return made.make_model(frozen.model.name)


def _erfc(context, node, name, arguments):
    """erfc(x) = 1 - erf(x), since ONNX has only the latter."""
    import numpy as np

    outputs = list(node.output)
    kind = {"dtypes": [context.get_dtype(outputs[0])]}
    shapes = [context.get_shape(outputs[0])]
    one = context.make_const(f"{name}_one", np.array(1, "float32"))
    erf = context.make_node("Erf", [node.input[0]], **kind)
    context.remove_node(node.name)
    return context.make_node("Sub", [one.output[0], erf.output[0]], name=name, outputs=outputs, shapes=shapes, **kind)


def load(folder, model, settings) -> Callable:
    """A function from a list of arrays, in the order of the model's inputs, to a list of arrays."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / FILE), options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in model.inputs]
    taken = {row.name for row in session.get_inputs()}  # an input that nothing reads is gone

    def run(arrays):
        return session.run(None, {name: x for name, x in zip(names, arrays, strict=True) if name in taken})

    return run

"""A short program for each format that runs an export where neither kzoo nor Keras is installed."""

import json

from kzoo.runtimes.interface import sentence
from kzoo.runtimes.openvino import HINTS

RUN = {
    "tensorflow": (
        "import tensorflow as tf",
        'served = tf.saved_model.load(".")',
        'outputs = served.signatures["serve"](**{name: tf.constant(array) for name, array in inputs.items()})',
    ),
    "litert": (
        "from ai_edge_litert.interpreter import Interpreter",
        'serve = Interpreter("model.tflite").get_signature_runner("serve")',
        "outputs = serve(**inputs)",
    ),
    "onnxruntime": (
        "import onnxruntime",
        'session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])',
        "names = [output.name for output in session.get_outputs()]\n"
        "outputs = dict(zip(names, session.run(names, inputs)))",
    ),
    "openvino": (
        "import openvino",
        'program = openvino.compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "%s"})',
        "outputs = {port.any_name: array for port, array in program(inputs).items()}",
    ),
}
SHOWN = 20  # numbers that are written out


def snippet(runtime, interface, model, arrays, precision="float32", calls=None) -> str:
    """A program that runs an export in the folder where it lies.

    Args:
        runtime: a key of RUN.
        interface: of the export, as `kzoo.runtimes.interface` has it.
        arrays: one example of each input of the model, whose sizes the program takes.
        precision: of the export; OpenVINO would compute in bfloat16 unasked where a processor can.
        calls: `{signature: {input: array}}` of the other signatures of a SavedModel.
    """
    package, load, run = RUN[runtime]
    shapes = {tensor.name: array.shape for tensor, array in zip(model.inputs, arrays, strict=True)}
    load = load % HINTS[precision] if "%s" in load else load
    labels = _labels(interface)
    lines = [*(["import json", ""] if labels else []), "import numpy as np", package, ""]
    lines.append("inputs = {")
    for name, row in interface["inputs"].items():
        example = _example(row, shapes[name], interface["preprocessing"] or {})
        lines.append(f"    {json.dumps(name)}: {example},  # {row['words']}")
    lines += ["}", load, run]
    lines += [f"# {name}: {sentence(row)}" for name, row in interface["outputs"].items()]
    lines += ["for name, array in outputs.items():", "    print(name, array.shape)", *labels]
    for name, given in (calls or {}).items():
        told = [f"    {key}={_constant(array)}," for key, array in given.items()]
        lines += [f'print(served.signatures["{name}"](', *told, "))"]
    return "\n".join(lines) + "\n"


def _example(row, shape, preprocessing):
    """An example of an input: for images pixels, as people have them, and how they are normalised."""
    if "mean" not in preprocessing or row["kind"] != "image":
        return f'np.ones({shape}, "{row["dtype"]}")'
    scaled = f'np.zeros({shape}, "uint8") / 255'
    if set(preprocessing["mean"]) != {0.0}:
        scaled = f"({scaled} - {preprocessing['mean']})"
    if set(preprocessing["std"]) != {1.0}:
        scaled = f"{scaled} / {preprocessing['std']}"
    return f'({scaled}).astype("{row["dtype"]}")'


def _labels(interface):
    """Lines that print the name of the likeliest class, if the first output stands for classes with names."""
    name, row = next(iter(interface["outputs"].items()))
    classes = interface["class_names"]
    if not classes or row["shape"][1:] != [len(classes)]:
        return []
    return ['with open("kzoo_export.json", encoding="utf-8") as file:',
            '    class_names = json.load(file)["interface"]["class_names"]',
            f"print(class_names[np.argmax(outputs[{json.dumps(name)}][0])])"]  # fmt: skip


def _constant(array):
    if array.size > SHOWN:
        return f'tf.zeros({array.shape}, "{array.dtype}")'
    return f'tf.constant({array.tolist()}, "{array.dtype}")'

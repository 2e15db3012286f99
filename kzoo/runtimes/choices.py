"""Which runtimes there are, what each can do, and clear words for what it cannot."""

import dataclasses
import importlib
import importlib.util

from kzoo.suggest import did_you_mean

PRECISIONS = ("float32", "bfloat16", "int8", "int8_weights")


@dataclasses.dataclass(frozen=True)
class Runtime:
    """One row: the packages it needs, the extra of kzoo that installs them, the precisions it has."""

    module: str
    packages: tuple
    extra: str
    precisions: tuple


RUNTIMES = {
    "tensorflow": Runtime("tensorflow", (), "", ("float32", "bfloat16")),
    "litert": Runtime("litert", ("ai_edge_litert",), "litert", ("float32", "int8", "int8_weights")),
    "onnxruntime": Runtime("onnxruntime", ("tf2onnx", "onnx", "onnxruntime"), "onnx", ("float32",)),
    "openvino": Runtime("openvino", ("openvino", "nncf"), "openvino", PRECISIONS),
}
FORMATS = {"saved_model": "tensorflow", "litert": "litert", "onnx": "onnxruntime", "openvino": "openvino"}


def check(runtime, precision, calibration):
    """ValueError for an unknown runtime or precision, a pair that does not go together, or int8 without data."""
    if runtime not in RUNTIMES:
        raise ValueError(did_you_mean("runtime", runtime, RUNTIMES))
    if precision not in PRECISIONS:
        raise ValueError(did_you_mean("precision", precision, PRECISIONS))
    if precision not in RUNTIMES[runtime].precisions:
        able = [name for name, row in RUNTIMES.items() if precision in row.precisions]
        raise ValueError(
            f"runtime {runtime!r} cannot do precision {precision!r}, it has {', '.join(RUNTIMES[runtime].precisions)}; "
            f"{precision!r} runs in {' and '.join(able)}"
        )
    if precision == "int8" and calibration is None:
        raise ValueError(
            "precision 'int8' finds the ranges of activations on real examples: pass calibration= a data set, its name "
            "or an array of inputs (--calibration); precision 'int8_weights' needs none"
        )
    if not is_installed(runtime):
        row = RUNTIMES[runtime]
        raise ModuleNotFoundError(
            f"runtime {runtime!r} needs {', '.join(row.packages)}: pip install 'kzoo[{row.extra}]'"
        )


def is_installed(runtime):
    """Whether the packages of a runtime are there; imports none of them."""
    return all(importlib.util.find_spec(package) for package in RUNTIMES[runtime].packages)


def module_of(runtime):
    """The file of this room that knows the runtime; importing it imports none of the runtime's packages."""
    return importlib.import_module(f"kzoo.runtimes.{RUNTIMES[runtime].module}")

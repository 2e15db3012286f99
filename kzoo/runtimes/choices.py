"""Which runtimes there are, what each can do, and clear words for what it cannot."""

import dataclasses
import importlib
import importlib.util

from kzoo.support.suggest import did_you_mean

PRECISIONS = ("float32", "bfloat16", "int8", "int8_weights")


@dataclasses.dataclass(frozen=True)
class Runtime:
    """One row: packages it needs, the extra of kzoo that installs them, precisions, int8's ranges (the default first).

    The ranges of activations are those of the smallest and largest value of all the calibration data ("min_max"), the
    mean of every example's ("mean_min_max"), what 99.99 % of the values lie in ("percentile"), or where the squared
    error of quantisation is least on a histogram ("mse").
    """

    module: str
    packages: tuple
    extra: str
    precisions: tuple
    ranges: tuple = ()


RUNTIMES = {
    "tensorflow": Runtime("tensorflow", (), "", ("float32", "bfloat16")),
    "litert": Runtime("litert", ("ai_edge_litert",), "litert", ("float32", "int8", "int8_weights"), ("min_max",)),
    "onnxruntime": Runtime("onnxruntime", ("tf2onnx", "onnx", "onnxruntime"), "onnx", ("float32", "int8"),
                           ("min_max", "percentile")),
    "openvino": Runtime("openvino", ("openvino", "nncf"), "openvino", PRECISIONS,
                        ("mean_min_max", "min_max", "percentile", "mse")),
}  # fmt: skip
RANGES = tuple(dict.fromkeys(name for row in RUNTIMES.values() for name in row.ranges))
FORMATS = {"saved_model": "tensorflow", "litert": "litert", "onnx": "onnxruntime", "openvino": "openvino"}


def check(runtime, precision, calibration, ranges=None):
    """ValueError for an unknown runtime, precision or ranges, what does not go together, or int8 without data."""
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
    if ranges is not None:
        _check_ranges(runtime, precision, ranges)
    if not is_installed(runtime):
        row = RUNTIMES[runtime]
        raise ModuleNotFoundError(
            f"runtime {runtime!r} needs {', '.join(row.packages)}: pip install 'kzoo[{row.extra}]'"
        )


def default_ranges(runtime, precision):
    """How the runtime finds ranges if nobody says how; None where there are none to find."""
    return RUNTIMES[runtime].ranges[0] if precision == "int8" else None


def _check_ranges(runtime, precision, ranges):
    if ranges not in RANGES:
        raise ValueError(did_you_mean("ranges", ranges, RANGES))
    if precision != "int8":
        raise ValueError(
            f"ranges= (--ranges) belongs to precision 'int8', whose activations have them; got {precision!r}"
        )
    if ranges not in RUNTIMES[runtime].ranges:
        able = [name for name, row in RUNTIMES.items() if ranges in row.ranges]
        raise ValueError(
            f"runtime {runtime!r} finds the ranges of activations by {' or '.join(RUNTIMES[runtime].ranges)}, which is "
            f"all that its quantiser offers; {ranges!r} is there in {' and '.join(able)}"
        )


def is_installed(runtime):
    """Whether the packages of a runtime are there; imports none of them."""
    return all(importlib.util.find_spec(package) for package in RUNTIMES[runtime].packages)


def module_of(runtime):
    """The file of this room that knows the runtime; importing it imports none of the runtime's packages."""
    return importlib.import_module(f"kzoo.runtimes.{RUNTIMES[runtime].module}")

"""Which runtimes there are, what each can do, and clear words for what it cannot."""

import dataclasses
import importlib.util
import types

from kzoo.support.suggest import did_you_mean

PRECISIONS = ("float32", "bfloat16", "int8", "int8_weights")


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What one runtime needs and offers: packages, the extra of kzoo that installs them, precisions, ranges of int8.

    The ranges of activations, the default first, reach from the smallest to the largest value of all calibration data
    ("min_max"), over the mean of every example's extremes ("mean_min_max"), over 99.99 % of the values ("percentile"),
    or as far as the squared error of quantisation is least on a histogram ("mse").
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


def check(runtime, precision, calibration, ranges=None) -> None:
    """Checks a choice of runtime, precision, calibration data and ranges.

    Raises ValueError for an unknown name, a combination that no runtime offers, and int8 without data;
    ModuleNotFoundError that names the extra of kzoo where the runtime is not installed.
    """
    if runtime not in RUNTIMES:
        raise ValueError(did_you_mean("runtime", runtime, RUNTIMES))
    if precision not in PRECISIONS:
        raise ValueError(did_you_mean("precision", precision, PRECISIONS))
    row = RUNTIMES[runtime]
    if precision not in row.precisions:
        able = [name for name, other in RUNTIMES.items() if precision in other.precisions]
        raise ValueError(
            f"runtime {runtime!r} cannot do precision {precision!r}, it has {', '.join(row.precisions)}; "
            f"{precision!r} runs in {' and '.join(able)}"
        )
    if precision == "int8" and calibration is None:
        raise ValueError(
            "precision 'int8' finds the ranges of activations on real examples: pass calibration= a data set, its name "
            "or an array of inputs (--calibration); precision 'int8_weights' needs none"
        )
    if ranges is not None:
        if ranges not in RANGES:
            raise ValueError(did_you_mean("ranges", ranges, RANGES))
        if precision != "int8":
            raise ValueError(f"ranges= (--ranges) belongs to precision 'int8' and its activations; got {precision!r}")
        if ranges not in row.ranges:
            able = [name for name, other in RUNTIMES.items() if ranges in other.ranges]
            raise ValueError(
                f"runtime {runtime!r} finds the ranges of activations by {' or '.join(row.ranges)}, which is all that "
                f"its quantiser offers; {ranges!r} is there in {' and '.join(able)}"
            )
    if not is_installed(runtime):
        needed = ", ".join(row.packages)
        raise ModuleNotFoundError(f"runtime {runtime!r} needs {needed}: pip install 'kzoo[{row.extra}]'")


def default_ranges(runtime, precision) -> str | None:
    """How the runtime finds ranges unless told otherwise; None for a precision that has none."""
    return RUNTIMES[runtime].ranges[0] if precision == "int8" else None


def is_installed(runtime) -> bool:
    """Whether the packages of a runtime are installed; imports none of them."""
    return all(importlib.util.find_spec(package) for package in RUNTIMES[runtime].packages)


def module_of(runtime) -> types.ModuleType:
    """The module of this room that knows the runtime; importing it imports none of the runtime's packages."""
    return importlib.import_module(f"kzoo.runtimes.{RUNTIMES[runtime].module}")

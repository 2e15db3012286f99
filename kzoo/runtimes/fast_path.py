"""The fast path: a model as a callable of the runtime and precision one asks for, and a report of what that did."""

import dataclasses
import gc
import pathlib
import tempfile
import time

import keras
import numpy as np

from kzoo.data import checks, columns
from kzoo.runtimes import choices, samples, verdicts


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a runtime is to build; the fields are arguments of `fast`, and what a file is to say of itself."""

    batch_size: int | None = None
    precision: str = "float32"
    length: int | None = None
    xla: bool | None = None
    seconds: float = 1.0
    ranges: str | None = None
    interface: dict | None = None


def fast(
    model, batch_size=None, precision="float32", runtime="tensorflow", calibration=None, length=None, xla=None,
    seconds=1.0, ranges=None,
) -> "Fast":  # fmt: skip
    """The model as a callable that runs faster: batch norm folded, weights constant, in a runtime of choice.

    Args:
        model: a functional keras.Model; it is not changed, and later changes of its weights do not show.
        batch_size: the only number of examples that the callable takes, which lets runtimes compile for it; with None
            it takes any number and is measured at 1.
        precision: "float32"; "bfloat16" (tensorflow, openvino); "int8", weights and activations, after calibration
            (all but tensorflow); "int8_weights", weights alone (litert, openvino), which suits language models.
        runtime: "tensorflow", "litert", "onnxruntime" or "openvino"; all but the first are extras of kzoo.
        calibration: real inputs for int8: a data set of kzoo, its name, a tf.data.Dataset of (x, ...), or arrays.
        length: fix sequences to this many steps; recurrent networks are then unrolled where that is faster or needed.
        xla: whether TensorFlow compiles with XLA; None measures both and keeps the faster.
        seconds: how long each of the measurements takes.
        ranges: how int8 finds the ranges of activations: "min_max" (all), "mean_min_max" (openvino), "percentile"
            (onnxruntime, openvino), "mse" (openvino); None is "mean_min_max" in openvino, else "min_max".

    Returns a `Fast`: call it with the model's inputs, NumPy arrays or tensors in the model's structure, to get its
    outputs as NumPy arrays in the model's structure. Its `report` is a dict: what changed in the graph, `int8_coverage`
    (share of multiply-accumulates), `max_difference` from the model's outputs and their `scale`, `bytes`, `latency_ms`
    of `predict_on_batch` before and of the callable after, and the `speedup` between their minima.

    Raises ValueError for an unknown runtime or precision, a combination that does not exist, int8 without calibration,
    or float32 outputs that differ from the model's; ImportError that names the extra if a runtime is not installed.
    """
    choices.check(runtime, precision, calibration, ranges)
    for name, value in (("batch_size", batch_size), ("length", length)):
        if value is not None:
            checks.check_count(name, value)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"fast needs KERAS_BACKEND=tensorflow; this process runs {keras.backend.backend()}")
    begin = time.perf_counter()
    ranges = ranges or choices.default_ranges(runtime, precision)
    settings = Settings(batch_size, precision, length, xla, seconds, ranges)
    real = None if calibration is None else samples.read(model, calibration, length=length)
    module = choices.module_of(runtime)
    if runtime == "tensorflow":
        run, notes = module.build(model, settings, real)
    else:
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            notes = module.write(model, folder, settings, real if precision == "int8" else None)
            notes["bytes"] = folder_bytes(folder)
            run = module.load(folder, model, settings)
    gc.collect()  # conversions leave graphs in reference cycles, with every weight in them
    asked = {"precision": precision, "batch_size": batch_size, "length": length, "ranges": ranges}
    report = {"model": model.name, "runtime": runtime, **asked, **notes}
    report |= verdicts.moved(model, run, settings, real) | verdicts.latency(model, run, settings)
    return Fast(model, run, settings, {**report, "seconds": round(time.perf_counter() - begin, 2)})


def folder_bytes(folder) -> int:
    """The size of all files in a folder together."""
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*") if path.is_file())


class Fast:
    """A model on its fast path: calling it gives the model's outputs, and `report` says what was done.

    It is called with the model's inputs, NumPy arrays or tensors in their structure, and returns NumPy arrays in the
    structure of the outputs. Raises ValueError for inputs of another structure, shape or kind, and for token ids
    outside the vocabulary. Threads may share it.
    """

    def __init__(self, model, run, settings, report):
        self.name, self.report, self.batch_size, self._run = model.name, report, settings.batch_size, run
        limits = columns.id_limits(columns.inputs_of(model))
        self._inputs = [_Input(tensor, settings, limits.get(tensor.name)) for tensor in model.inputs]
        self._is_dict = isinstance(model.input, dict)
        self._outputs = keras.tree.map_structure(lambda tensor: None, model.output)

    def __call__(self, x):
        names = [row.name for row in self._inputs]
        if self._is_dict and (not isinstance(x, dict) or set(x) != set(names)):
            got = f"a dict with {', '.join(map(str, x))}" if isinstance(x, dict) else type(x).__name__
            raise ValueError(f"{self.name} takes a dict with {', '.join(names)}; got {got}")
        values = [x[name] for name in names] if self._is_dict else [x] if len(names) == 1 else list(x)
        arrays = [row.check(value, self.name) for row, value in zip(self._inputs, values, strict=True)]
        if len({len(array) for array in arrays}) > 1:
            raise ValueError(f"the inputs of {self.name} have different numbers of examples")
        if self.batch_size is not None and len(arrays[0]) != self.batch_size:
            raise ValueError(
                f"{self.name} was made for batch_size={self.batch_size} and got {len(arrays[0])} examples; build it "
                "with batch_size=None for any number"
            )
        return keras.tree.pack_sequence_as(self._outputs, self._run(arrays))

    def __repr__(self) -> str:
        return f"<Fast {self.name}: {self.report['runtime']}, {self.report['precision']}>"


class _Input:
    """One input: its name, shape and dtype, and the limit of the ids that it may hold."""

    def __init__(self, tensor, settings, limit):
        self.name, self.dtype, self.limit = tensor.name, np.dtype(tensor.dtype), limit
        self.shape = tuple(settings.length if size is None else size for size in tensor.shape[1:])

    def check(self, value, model):
        """The value as a contiguous array of the input's dtype; ValueError where it does not fit."""
        array, label = np.asarray(value), f"input {self.name!r} of {model}"
        checks.check_shape(label, array, self.shape)
        if array.size == 0:
            raise ValueError(f"{label} has shape {array.shape}; pass at least one example")
        if (array.dtype.kind == "f") != (self.dtype.kind == "f"):
            fix = "kzoo.data.prepare_inputs(model, images)" if array.dtype == np.uint8 else "convert it"
            raise ValueError(f"{label} has dtype {array.dtype}; wanted {self.dtype}: {fix}")
        if self.limit is not None and not (array.min() >= 0 and array.max() < self.limit):
            checks.check_token_ids(label, array, self.limit)
        return np.ascontiguousarray(array, self.dtype)

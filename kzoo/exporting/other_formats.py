"""Exports for other runtimes, proved in that runtime."""

from kzoo.exporting import saved_model
from kzoo.rewrites import pixels
from kzoo.runtimes import choices, samples, verdicts
from kzoo.runtimes.fast_path import Settings, folder_bytes
from kzoo.tasks import endpoints, of_or_guess


def write(model, folder, runtime, with_preprocessing, precision="float32", calibration=None, data=None, length=None,
          ranges=None) -> dict:  # fmt: skip
    """Writes a model for a runtime into a folder, loads it there and compares; returns the report.

    Args:
        with_preprocessing: make the export one of uint8 images, as `rewrites.pixels.take_pixels` says.
        precision, calibration, length, ranges: as for `kzoo.fast`.
        data: a data set of kzoo for the accuracy before and after, or None.

    Raises ValueError if outputs differ by more than the tolerance.
    """
    ranges = ranges or choices.default_ranges(runtime, precision)
    settings = Settings(None, precision, length, seconds=0.3, ranges=ranges)
    module, original = choices.module_of(runtime), model
    real = None if calibration is None else samples.read(model, calibration, length=length)
    signature = saved_model.in_words(model)
    if with_preprocessing:
        task, size = of_or_guess(model), (None, *model.inputs[0].shape[1:])
        signature["inputs"] = {"images": f"uint8 {size}"}
        signature["outputs"] = endpoints.results_in_words(task, model)
        model = pixels.take_pixels(original, lambda outputs: task.read(original, outputs))
        real = real and {"images": pixels.to_pixels(original, next(iter(real.values())))}
    notes = module.write(model, folder, settings, real if precision == "int8" else None)
    size = folder_bytes(folder)
    run = module.load(folder, model, settings)
    report = {
        "signatures": {"serve": signature},
        "runtime": runtime,
        "precision": precision,
        "length": length,
        "ranges": ranges,
        "changes": {key: value for key, value in notes.items() if key != "int8_coverage"},
        "int8_coverage": notes.get("int8_coverage"),
        **verdicts.moved(model, run, settings),
        "batch_sizes": list(verdicts.BATCH_SIZES),
        "bytes": size,
        **verdicts.latency(model, run, settings),
    }
    if real is not None:
        report["real_inputs"] = verdicts.moved(model, run, settings, real)
    if data is not None:
        take = (lambda arrays: run([pixels.to_pixels(original, arrays[0])])) if with_preprocessing else run
        part = data.test or data.validation
        report["accuracy"] = verdicts.accuracy(original, take, part, gives_results=with_preprocessing)
    return report

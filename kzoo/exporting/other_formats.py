"""Exports for other runtimes, proved in that runtime."""

from kzoo.rewrites import pixels
from kzoo.runtimes import choices, samples, verdicts
from kzoo.runtimes.fast_path import Settings, folder_bytes


def write(model, folder, runtime, precision="float32", calibration=None, data=None, length=None, seconds=0.3,
          ranges=None, finish=None):  # fmt: skip
    """Writes a model for a runtime into a folder, loads it there and compares; returns the report.

    Args:
        calibration: as for `kzoo.fast`.
        data: a data set of kzoo for the accuracy before and after, or None.
        finish: makes the export one of uint8 images, as `rewrites.pixels.take_pixels` says; None leaves it as it is.

    Raises ValueError where outputs differ by more than the tolerance.
    """
    settings = Settings(None, precision, length, seconds=seconds,
                        ranges=ranges or choices.default_ranges(runtime, precision))  # fmt: skip
    module = choices.module_of(runtime)
    real = None if calibration is None else samples.read(model, calibration, length=length)
    original = model
    if finish is not None:
        model = pixels.take_pixels(original, finish)
        real = real and {"images": pixels.to_pixels(original, next(iter(real.values())))}
    notes = module.write(model, folder, settings, real if precision == "int8" else None)
    size = folder_bytes(folder)
    run = module.load(folder, model, settings)
    report = {
        "runtime": runtime,
        "precision": precision,
        "length": length,
        "ranges": settings.ranges,
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
        take = run if finish is None else lambda arrays: run([pixels.to_pixels(original, arrays[0])])
        report["accuracy"] = verdicts.accuracy(original, take, data.test or data.validation)
    return report

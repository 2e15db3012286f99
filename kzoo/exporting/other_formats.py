"""Exports for other runtimes, proved in that runtime."""

from kzoo.catalog import card_of
from kzoo.exporting.snippets import snippet
from kzoo.rewrites import pixels
from kzoo.runtimes import choices, samples, verdicts
from kzoo.runtimes.fast_path import Settings, folder_bytes
from kzoo.runtimes.interface import in_words, interface_of
from kzoo.tasks import of_or_guess


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
    module, original = choices.module_of(runtime), model
    real = None if calibration is None else samples.read(model, calibration, length=length)
    if with_preprocessing:
        task = of_or_guess(model)
        model = pixels.take_pixels(original, lambda outputs: {task.results: task.read(original, outputs)})
        real = real and {"images": pixels.to_pixels(original, next(iter(real.values())))}
    interface = interface_of(model, original, length)
    settings = Settings(None, precision, length, seconds=0.3, ranges=ranges, interface=interface)
    notes = module.write(model, folder, settings, real if precision == "int8" else None)
    _check_names(interface, *module.names(folder))
    size = folder_bytes(folder)
    if card_of(original).tokenizer is not None:
        card_of(original).tokenizer.save(folder)
    run = module.load(folder, model, settings)
    report = {
        "signatures": {"serve": {side: in_words(interface[side]) for side in ("inputs", "outputs")}},
        "interface": interface,
        "snippet": snippet(runtime, interface, model, samples.random_inputs(model, 1, length), precision),
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


def _check_names(interface, inputs, outputs):
    """Leaves of an interface's inputs those that the file has; ValueError if the file calls its outputs otherwise."""
    if set(outputs) != set(interface["outputs"]):
        raise ValueError(f"export: the file calls its outputs {', '.join(outputs)}; wanted "
                         f"{', '.join(interface['outputs'])}")  # fmt: skip
    interface["inputs"] = {name: row for name, row in interface["inputs"].items() if name in inputs}

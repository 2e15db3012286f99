"""The one way to every format: written to a temporary folder, reloaded, compared with the model, and then renamed."""

import json
import pathlib
import time

import keras

from kzoo import graph
from kzoo.building import Assembly
from kzoo.catalog import card_of
from kzoo.data import load
from kzoo.exporting import other_formats, saved_model, several_networks
from kzoo.exporting.report import READABLE, REPORT_FILE, readable
from kzoo.runtimes import choices
from kzoo.support import atomic
from kzoo.support.suggest import did_you_mean
from kzoo.tasks import of, of_or_guess
from kzoo.version import __version__

FORMATS = tuple(choices.FORMATS)


def export(
    model, path, format="saved_model", overwrite=False, precision="float32", calibration=None, data=None, length=None,
    ranges=None, with_preprocessing=False,
) -> dict:  # fmt: skip
    """Exports a model for servers that have neither kzoo nor Keras, and proves the export equal to the model.

    Inputs and outputs have the same names in every format. The SavedModel's signature `serve` (also `serving_default`)
    maps the model's inputs, with any batch size, to its outputs by name. Image classifiers also get `serve_images`,
    from uint8 images (batch, height, width, channels) of any size to `probabilities` (batch, num_classes) and `label`
    (batch,). For a detector of one input size it gives `boxes` (batch, 300, 4), left, top, right, bottom in pixels of
    the images as passed, `scores` and `labels` (batch, 300), the best first and -1 after the last, and `count`
    (batch,). Batch norm is folded and weights are constants, except in models that `generate`, whose signatures share
    variables, and beyond 2 GiB. The other formats hold the model's inputs and outputs alone, or with preprocessing
    uint8 images to `probabilities`: `litert` is one file, `onnx` too (with an open batch), `openvino` two files. None
    of them holds `generate`, whose loop keeps a cache.

    Args:
        path: folder to create; it must be absent or empty unless `overwrite`.
        format: "saved_model", "litert", "onnx" or "openvino"; all but the first are extras of kzoo.
        precision, calibration, length, ranges: as for `kzoo.fast`.
        with_preprocessing: an image classifier takes uint8 images (batch, height, width, channels) of its input size
            and normalises them itself. A SavedModel always does so in `serve_images`, which also resizes them.
        data: a data set of kzoo, or its name, on which the report compares accuracy before and after.

    Returns the report, which is also stored in the folder as `kzoo_export.json` and, for people, `report.md`:
    signatures, what a server must know as `interface`, a program that runs the export without kzoo as `snippet`, the
    largest difference between the reloaded export and the model on random inputs at two batch sizes, the scale of the
    outputs, bytes, and latency before and after. An `Assembly` gets a folder for each part, and `parts` has their
    reports; what the networks do together, such as `generate`, is one more SavedModel, `together`. Raises ValueError
    if the path is occupied, the format is unknown, or the export differs, and OSError if the disk is full; nothing is
    left behind then.
    """
    if isinstance(model, Assembly):
        given = (format, False, precision, calibration, data, length, ranges, with_preprocessing)
        with atomic.folder(path, overwrite) as temporary:
            parts = {part: export(each, temporary / part, *given) for part, each in model.items()}
            report = {"parts": {part: {**row, "path": part} for part, row in parts.items()}}
            endpoints = of(model).endpoints(model) if card_of(model).task and format == "saved_model" else {}
            if endpoints:
                place = temporary / several_networks.FOLDER
                report[several_networks.FOLDER] = several_networks.write(model, endpoints, place)
            model.write_index(temporary)
        return {"path": str(pathlib.Path(path)), **report}
    if format not in FORMATS:
        raise ValueError(did_you_mean("format", format, FORMATS))
    choices.check(choices.FORMATS[format], precision, calibration, ranges)
    if with_preprocessing:
        of_or_guess(model).check_pixels(model, format)
    if format == "saved_model" and precision != "float32":
        raise ValueError(
            f"a SavedModel keeps the model's own precision; build the model with dtype='mixed_bfloat16' instead of "
            f"precision={precision!r}"
        )
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"exports need KERAS_BACKEND=tensorflow; this process runs {keras.backend.backend()}")
    begin = time.perf_counter()
    data = load(data, model) if isinstance(data, str) else data
    size = graph.num_bytes(model.variables) // (4 if precision.startswith("int8") else 1)
    with atomic.folder(path, overwrite, size) as temporary:
        report = {"model": model.name, "format": format}
        if format == "saved_model":
            report |= saved_model.write(model, temporary, data)
        else:
            how = {"precision": precision, "calibration": calibration, "data": data, "length": length, "ranges": ranges}
            report |= other_formats.write(model, temporary, choices.FORMATS[format], with_preprocessing, **how)
        files = [each.relative_to(temporary).as_posix() for each in temporary.rglob("*") if each.is_file()]
        report["files"] = sorted([*files, REPORT_FILE, READABLE])
        report |= {"seconds": round(time.perf_counter() - begin, 2), "versions": _versions()}
        (temporary / REPORT_FILE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (temporary / READABLE).write_text(readable(report), encoding="utf-8")
    return {"path": str(pathlib.Path(path)), **report}


def _versions():
    import tensorflow as tf

    return {"kzoo": __version__, "keras": keras.__version__, "tensorflow": tf.__version__}

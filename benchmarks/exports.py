"""The matrix of exports: architecture x format x precision, every cell a measured difference or a reason.

    python benchmarks/exports.py                 # benchmarks/results/exports.json and exports.md
    python benchmarks/exports.py --model bert --format onnx --output results

Every architecture is built small, with random weights and random statistics of batch norm, so that the matrix takes
minutes; int8 is calibrated on random inputs and says how far outputs move, not how accuracy does. Every architecture
has a process of its own and every cell --timeout seconds, whose passing is its reason. Results are stored after every
cell: a run that was cut off goes on where it stopped, unless versions have changed since or --again is given.
"""

import contextlib
import json
import os
import pathlib
import sys
import tempfile
import time

import failures
import harness

SMALL = {
    "alexnet": {"input_shape": (64, 64, 3), "num_classes": 10, "hidden_dim": 64},
    "bert": {"num_layers": 2, "hidden_dim": 64, "num_heads": 2, "intermediate_dim": 128, "vocabulary_size": 200},
    "clip": {
        "patch_size": 8,
        "num_layers": (2, 2),
        "hidden_dim": (64, 48),
        "num_heads": (2, 2),
        "intermediate_dim": (128, 96),
        "embedding_dim": 32,
        "vocabulary_size": 200,
        "input_shape": (32, 32, 3),
    },
    "cnn": {},
    "danq": {"filters": 16, "units": 16, "hidden_dim": 32, "sequence_length": 100, "num_classes": 10},
    "deepsea": {"filters": (8, 12, 16), "pool_size": 2, "hidden_dim": 32, "sequence_length": 100, "num_classes": 10},
    "deepspeech": {"sample_rate": 8000, "hidden_dim": 32},
    "deepspeech2": {"sample_rate": 2000, "hidden_dim": 16, "num_layers": 2},
    "densenet": {"depths": (2, 2, 2, 2), "input_shape": (64, 64, 3), "num_classes": 10},
    "ds_cnn": {},
    "googlenet": {"width_multiplier": 0.25, "input_shape": (64, 64, 3), "num_classes": 10},
    "gpt": {"num_layers": 2, "hidden_dim": 64, "num_heads": 2, "vocabulary_size": 200, "max_length": 64},
    "inception_v3": {"width_multiplier": 0.25, "input_shape": (96, 96, 3), "num_classes": 10},
    "mlp": {},
    "mnist_cnn": {},
    "perceptron": {},
    "recurrent_cnn": {"filters": 16},
    "resnet": {"depths": (1, 1, 1, 1), "filters": 16, "input_shape": (64, 64, 3), "num_classes": 10},
    "retinanet": {
        "backbone": "resnet18",
        "backbone_options": {"filters": 16},
        "filters": 32,
        "head_depth": 1,
        "input_shape": (64, 64, 3),
        "num_classes": 3,
    },
    "rnn": {"units": 32},
    "spliceai": {"filters": 16, "kernel_sizes": (11, 11), "dilation_rates": (1, 4), "num_units": 2},
    "seq2seq": {"hidden_dim": 32, "embedding_dim": 32, "vocabulary_size": 100},
    "transformer": {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "intermediate_dim": 64, "vocabulary_size": 100},
    "vgg": {"depths": (1, 1, 1, 1, 1), "filters": (8, 8, 8, 8, 8), "hidden_dim": 32, "input_shape": (32, 32, 3)},
    "video_resnet": {"depths": (1, 1), "filters": 8, "input_shape": (4, 32, 32, 3), "num_classes": 10},
    "vit": {"num_layers": 2, "hidden_dim": 64, "num_heads": 2, "input_shape": (32, 32, 3), "patch_size": 8},
    "wavenet": {"num_layers": 4, "num_stacks": 2, "filters": 8, "gate_filters": 16, "upsample_scales": ()},
}
LENGTH = 16
LENGTHS = {"deepspeech": 1600, "deepspeech2": 1600, "wavenet": 64}  # in samples of sound
CELLS = {
    "saved_model": ("float32",),
    "litert": ("float32", "int8", "int8_weights"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "int8", "int8_weights"),
}


def parse(arguments):
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--model", action="append", choices=SMALL, help="architecture; repeatable; default all")
    parser.add_argument("--format", action="append", choices=CELLS, help="repeatable; default all")
    parser.add_argument(
        "--timeout", type=harness.positive(float), default=180.0, help="seconds for a cell; default 180"
    )
    parser.add_argument("--again", action="store_true", help="measure cells that --output holds already too")
    parser.add_output_folder(str(harness.ROOT / "benchmarks" / "results"))
    return parser.parse(arguments)


def small(architecture):
    """The architecture with the keywords that its build knows."""
    import importlib
    import inspect

    import keras
    import numpy as np

    import kzoo

    known = inspect.signature(importlib.import_module(f"kzoo.models.{architecture}").build).parameters
    keras.utils.set_random_seed(0)
    model = kzoo.build(architecture, **{key: value for key, value in SMALL[architecture].items() if key in known})
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([value + random.uniform(0, 0.5, value.shape) for value in layer.get_weights()])
    return model


def cell(model, format, precision):
    """One cell: what the report says of the export, or the reason why there is none."""
    import kzoo
    from kzoo.runtimes import samples

    is_open = any(None in tensor.shape[1:] for tensor in model.inputs)
    architecture = model.kzoo.architecture
    is_fixed = is_open and (format in ("litert", "openvino") or precision == "int8")
    length = LENGTHS.get(architecture, LENGTH) if is_fixed else None
    row = {"model": architecture, "format": format, "precision": precision, "length": length}
    begin = time.perf_counter()
    try:
        calibration = None
        if precision == "int8":
            arrays = samples.random_inputs(model, 16, length)
            calibration = dict(zip([tensor.name for tensor in model.inputs], arrays, strict=True))
        with tempfile.TemporaryDirectory() as folder:
            report = kzoo.export(
                model,
                pathlib.Path(folder) / "model",
                format,
                precision=precision,
                length=length,
                calibration=calibration,
            )
    except Exception as error:  # a cell that fails says why; the others are measured
        return {**row, "reason": failures.in_one_line(error), "seconds": time.perf_counter() - begin}
    keys = ("max_difference", "scale", "int8_coverage", "bytes", "speedup")
    return {**row, **{key: report.get(key) for key in keys}, "seconds": round(time.perf_counter() - begin, 2)}


def table(rows):
    """The matrix in Markdown: largest difference as a share of the outputs' scale, int8 coverage, or a footnote."""
    columns = [(format, precision) for format, precisions in CELLS.items() for precision in precisions]
    lines = [
        "# Exports: largest difference as a share of the outputs' scale",
        "",
        "Small variants, random weights, int8 calibrated on random inputs; in brackets the share of "
        "multiply-accumulates in int8.",
        "",
        "| architecture | " + " | ".join(f"{f} {p}" for f, p in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    reasons = []
    for model in dict.fromkeys(row["model"] for row in rows):
        cells = []
        for column in columns:
            row = next((r for r in rows if (r["model"], r["format"], r["precision"]) == (model, *column)), None)
            if row is None:
                cells.append("not run")
            elif "reason" in row:
                reasons.append(row["reason"])
                cells.append(f"[{len(reasons)}]")
            else:
                covered = row["int8_coverage"]
                share = f"{row['max_difference'] / max(row['scale'], 1e-12):.1e}"
                cells.append(share + (f" ({100 * covered:.0f} %)" if covered is not None else ""))
        lines.append(f"| `{model}` | " + " | ".join(cells) + " |")
    lines += ["", *(f"[{number}] {reason}\n" for number, reason in enumerate(reasons, 1))]
    return "\n".join(lines) + "\n"


def work(job):
    """The child's part: one architecture's cells, one JSON line each on what was standard output."""
    rows = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # converters print, some of them from C++
    with contextlib.redirect_stdout(sys.stderr):
        model = small(job["model"])
        for format, precision in job["cells"]:
            print(json.dumps(cell(model, format, precision)), file=rows, flush=True)


def measure(architecture, cells, timeout):
    """Yields a row for each `(format, precision)`; a cell that crashes or takes too long costs itself alone."""
    cells = list(cells)
    while cells:
        with harness.Child(__file__, {"model": architecture, "cells": cells}, timeout) as child:
            row = child.answer()
            while "error" not in row:
                yield row
                cells.pop(0)
                if not cells:
                    return
                row = child.answer()
        format, precision = cells.pop(0)
        yield {
            "model": architecture,
            "format": format,
            "precision": precision,
            "length": None,
            "reason": row["error"],
            "seconds": None,
        }


def begin(path, again=()):
    """The document to add to: what `path` holds of these versions, but for the cells `again`, else an empty one."""
    fresh = {"machine": harness.machine(), "versions": harness.versions(), "rows": []}
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else fresh
    if found["versions"] != fresh["versions"]:
        return fresh
    return {**fresh, "rows": [row for row in found["rows"] if key(row) not in again]}


def key(row):
    """What tells one cell from another."""
    return row["model"], row["format"], row["precision"]


def store(document, output):
    """Writes `exports.json` and `exports.md`, the architectures in the order of SMALL."""
    from kzoo.support import atomic

    order = list(SMALL)
    document["rows"].sort(key=lambda row: order.index(row["model"]))
    with atomic.file(output / "exports.json") as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    with atomic.file(output / "exports.md") as temporary:
        temporary.write_text(table(document["rows"]), encoding="utf-8")


def main(arguments=None):
    options = parse(arguments)
    output = pathlib.Path(options.output)
    models, formats = options.model or list(SMALL), options.format or list(CELLS)
    wanted = [(model, format, precision) for model in models for format in formats for precision in CELLS[format]]
    document = begin(output / "exports.json", wanted if options.again else ())
    done = {key(row) for row in document["rows"]}
    for architecture in models:
        missing = [cell[1:] for cell in wanted if cell[0] == architecture and cell not in done]
        for row in measure(architecture, missing, options.timeout):
            document["rows"].append(row)
            store(document, output)
            what = row.get("reason") or f"{row['max_difference']:.2g} of {row['scale']:.2g}"
            print(f"{architecture} {row['format']} {row['precision']}: {what}", file=sys.stderr, flush=True)
    print(
        json.dumps(
            {"num_cells": len(document["rows"]), "num_reasons": sum("reason" in row for row in document["rows"])}
        )
    )
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        work(json.loads(sys.argv[1]))
    else:
        sys.exit(main())

"""CPU and GPU throughput of catalogue models, each row measured in a fresh process.

    python benchmarks/throughput.py --models mnist_cnn "rnn_*" --devices cpu gpu --mode infer train --batch-size 1 64

Writes throughput.csv (timm's columns, then ours), throughput.png and throughput.json to --output; the table and the
progress go to stderr, and the last line on stdout is JSON that says where the result lies. Exit status: 0, 1 if a
row failed or nothing was measured, 2 for bad arguments, 130 after Ctrl-C (what was finished is still written).
"""

import csv
import importlib.util
import itertools
import pathlib
import sys
import time

import harness

from kzoo import catalog
from kzoo.support import atomic, suggest

ROW_SCRIPT = pathlib.Path(__file__).with_name("throughput_row.py")
MODES = ("infer", "train")
LARGEST_DEFAULT_MODEL = 200_000_000  # parameters; larger ones are measured when named
TABLE_WIDTH = 1000  # no cell is ever cut, whatever the terminal
NOTES = {
    "step_time_ms": "per step over rounds of steps under one clock; spread is the 75 % minus the 25 % quantile",
    "first_call_seconds": "tracing, compiling and running once, outside step_time_ms",
    "macs": "forward multiply-accumulates from kzoo.measure; a training step counts as three forward passes",
    "share_of_matmul": "macs_per_second over that of one large float32 matmul on that device and backend, its fastest "
    "round, in the backend's default precision, which on recent NVIDIA GPUs is TF32",
    "load_average": "processes that wanted a core over the last minute; more than there are cores: they share",
    "peak_memory_bytes": "largest resident memory of the row's process, which holds the whole backend",
}


def parse(arguments=None):
    """The command line as a namespace; anything that cannot be measured exits 2 with one line."""
    parser = harness.OneLineParser(__doc__)
    add = parser.add_argument
    add("--models", nargs="+", metavar="MODEL", help="names or patterns; by default one of each architecture")
    add("--devices", nargs="+", metavar="DEVICE", help="cpu gpu; by default all this machine has")
    add("--mode", nargs="+", default=list(MODES), metavar="MODE", help="infer train (default: both)")
    add("--batch-size", nargs="+", type=harness.positive(int), default=[64], metavar="N", help="default: 64")
    add("--backend", nargs="+", default=["tensorflow"], metavar="BACKEND", help="tensorflow jax torch")
    add("--sequence-length", type=harness.positive(int), default=32, metavar="N", help="where left open; default: 32")
    add("--seconds", type=harness.positive(float), default=5.0, help="time budget of a row's clock; default: 5")
    add("--timeout", type=harness.positive(float), default=600.0, help="seconds after which a row is stopped")
    parser.add_output_folder("runs/throughput")

    def check(options):
        options.models = expand(options.models)
        harness.check_choices("device", options.devices or [], harness.DEVICES)
        harness.check_choices("mode", options.mode, MODES)
        harness.check_choices("backend", options.backend, harness.BACKENDS)

    return parser.parse(arguments, check)


def expand(names):
    """Variant names for names and shell-style patterns, each once, in order; by default one of each architecture."""
    if not names:
        figures = catalog.figures()
        first = {catalog.find(name).architecture: name for name in reversed(catalog.list_models())}
        small = (n for n in first.values() if figures.get(n, {}).get("parameters", 0) <= LARGEST_DEFAULT_MODEL)
        return sorted(small)
    found = {}
    for name in names:
        matches = catalog.list_models(name) if any(c in name for c in "*?[") else [catalog.find(name).name]
        if not matches:
            raise ValueError(suggest.did_you_mean("model", name, catalog.list_models()))
        found.update(dict.fromkeys(matches))
    return list(found)


def usable_devices(options, say):
    """(backend, device) pairs that can be measured, their device names, and what is left out and why."""
    names, left_out = {}, []

    def leave_out(backend, device, reason):
        left_out.append({"backend": backend, "device": device, "reason": reason})
        say(f"{device or backend}: {reason}")

    for backend in dict.fromkeys(options.backend):
        if importlib.util.find_spec(backend) is None:
            leave_out(backend, None, f"not installed, its rows are left out (pip install {backend})")
            continue
        for device in dict.fromkeys(options.devices or harness.DEVICES):
            if device == "cpu":
                names[backend, device] = harness.cpu_model()
                continue
            answer = harness.run_child(ROW_SCRIPT, {"kind": "gpus"}, backend, device, options.timeout)
            if answer.get("gpus"):
                names[backend, device] = answer["gpus"][0]
            else:
                reason = answer.get("error", "none found on this machine")
                leave_out(backend, device, f"{reason} ({backend}), its rows are left out")
    return names, left_out


def measure(options, say):
    """The JSON document: every row that could be measured, finished or failed."""
    document = harness.begin("throughput", notes=NOTES, devices=[], left_out=[], matmul_rates=[], rows=[])
    with harness.interruptible(document):
        names, document["left_out"] = usable_devices(options, say)
        document["devices"] = [{"backend": b, "device": d, "name": name} for (b, d), name in names.items()]
        for backend, device in names:
            measure_device(document, options, backend, device, say)
    document["comparisons"] = compare(document["rows"])
    return document


def measure_device(document, options, backend, device, say):
    """Appends the matmul rate and the rows of one backend on one device to the document."""
    common = {"backend": backend, "device": device, "seconds": options.seconds}
    rate = harness.run_child(ROW_SCRIPT, {"kind": "matmul", **common}, backend, device, options.timeout)
    document["matmul_rates"].append({"backend": backend, "device": device, **rate})
    speed = rate.get("error") or f"{rate['macs_per_second'] / 1e9:,.1f} GMAC/s"
    say(f"{backend} {device}: matmul {speed}")
    for model, mode, batch_size in itertools.product(options.models, dict.fromkeys(options.mode), options.batch_size):
        head = {"model": model, "mode": mode, "batch_size": batch_size, "backend": backend, "device": device}
        job = {"kind": "model", **common, **head, "sequence_length": options.sequence_length}
        row = head | harness.run_child(ROW_SCRIPT, job, backend, device, options.timeout)
        row["load_average"] = harness.load_average()
        if "error" not in row and "error" not in rate:
            row["share_of_matmul"] = row["macs_per_second"] / rate["macs_per_second"]
        document["rows"].append(row)
        what = row.get("error") or f"{row['samples_per_sec']:,.1f} examples/s"
        say(f"{backend} {device}: {model} {mode} {batch_size}: {what}")


def compare(rows):
    """How many times as fast the GPU is as the CPU, for every row that was measured on both."""
    speeds = {
        (row["model"], row["mode"], row["batch_size"], row["backend"], row["device"]): row["samples_per_sec"]
        for row in rows
        if "error" not in row
    }
    return [
        {"model": m, "mode": mode, "batch_size": n, "backend": b, "gpu_over_cpu": speed / speeds[m, mode, n, b, "cpu"]}
        for (m, mode, n, b, device), speed in speeds.items()
        if device == "gpu" and (m, mode, n, b, "cpu") in speeds
    ]


def csv_rows(rows):
    """One dict per model, batch size, backend and device: timm's columns in timm's units (ms, millions), then ours."""
    merged = {}
    for row in rows:
        key = (row["model"], row["batch_size"], row["backend"], row["device"])
        line = merged.setdefault(key, dict(zip(("model", "batch_size", "backend", "device"), key, strict=True)))
        mode = row["mode"]
        if "error" in row:
            line[f"{mode}_error"] = row["error"]
            continue
        time_ms = row["step_time_ms"]
        line |= {
            "param_count": round(row["param_count"] / 1e6, 6),
            f"{mode}_samples_per_sec": round(row["samples_per_sec"], 2),
            f"{mode}_step_time": round(time_ms["median"], 4),
            f"{mode}_step_time_min": round(time_ms["min"], 4),
            f"{mode}_step_time_spread": round(time_ms["spread"], 4),
            f"{mode}_batch_size": row["batch_size"],
            f"{mode}_img_size": row["img_size"],
            f"{mode}_gmacs": round(row["macs_per_example"] / 1e9, 9),
            f"{mode}_first_call_seconds": round(row["first_call_seconds"], 3),
            f"{mode}_peak_memory_bytes": row["peak_memory_bytes"],
            f"{mode}_gpu_peak_bytes": row["gpu_peak_bytes"],
            f"{mode}_share_of_matmul": row.get("share_of_matmul"),
        }
    return list(merged.values())


TIMM_COLUMNS = ("samples_per_sec", "step_time", "batch_size", "img_size", "gmacs")
OUR_COLUMNS = (
    "step_time_min",
    "step_time_spread",
    "first_call_seconds",
    "peak_memory_bytes",
    "gpu_peak_bytes",
    "share_of_matmul",
    "error",
)


def write_csv(path, rows, modes):
    columns = ["model", *(f"{mode}_{column}" for mode in modes for column in TIMM_COLUMNS), "param_count"]
    columns += ["backend", "device", *(f"{mode}_{column}" for mode in modes for column in OUR_COLUMNS)]
    with atomic.file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(csv_rows(rows))


def write_chart(path, rows, modes):
    """Horizontal bars of examples per second, one panel a mode, one colour a backend and device."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in rows if "error" not in row]
    labels = list(dict.fromkeys((row["model"], row["batch_size"]) for row in rows))
    series = list(dict.fromkeys((row["backend"], row["device"]) for row in rows))
    height = 0.8 / max(len(series), 1)
    size = (6 * len(modes) + 1, 1.5 + 0.3 * len(labels) * max(len(series), 1))
    figure, panels = pyplot.subplots(1, len(modes), figsize=size, sharey=True, squeeze=False)
    for mode, panel in zip(modes, panels[0], strict=True):
        for index, (backend, device) in enumerate(series):
            chosen = [r for r in rows if (r["mode"], r["backend"], r["device"]) == (mode, backend, device)]
            places = [labels.index((r["model"], r["batch_size"])) + index * height for r in chosen]
            bars = panel.barh(places, [r["samples_per_sec"] for r in chosen], height, label=f"{device}, {backend}")
            panel.bar_label(bars, [three_digits(r["samples_per_sec"]) for r in chosen], padding=3, fontsize=8)
        measured = any(row["mode"] == mode for row in rows)  # an empty axis has no logarithm
        panel.set(xscale="log" if measured else "linear", title=mode if measured else f"{mode}: nothing was measured")
        panel.set_xlabel("examples per second")
        panel.set_yticks([i + height * (len(series) - 1) / 2 for i in range(len(labels))])
        panel.set_yticklabels([f"{model} x {batch_size}" for model, batch_size in labels])
        panel.margins(x=0.2)
    panels[0][0].invert_yaxis()
    if series:
        panels[0][0].legend(fontsize=8)
    figure.tight_layout()
    with atomic.file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


def three_digits(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(document, console):
    """The rows for people."""
    from rich import box
    from rich.table import Table

    table = Table(title="Throughput, median over rounds", box=box.SIMPLE_HEAD)
    for heading in ("model", "mode", "batch", "device", "backend"):
        table.add_column(heading)
    for heading in ("examples/s", "ms/step", "min", "spread", "first call s", "peak MB", "GPU MB", "MMAC", "of matmul"):
        table.add_column(heading, justify="right")
    for row in document["rows"]:
        head = [row["model"], row["mode"], str(row["batch_size"]), row["device"], row["backend"]]
        if "error" in row:
            table.add_row(*head, "failed", style="red")
            continue
        step_time = [f"{row['step_time_ms'][key]:.3f}" for key in ("median", "min", "spread")]
        gpu = "" if row["gpu_peak_bytes"] is None else f"{row['gpu_peak_bytes'] / 1e6:,.0f}"
        share = f"{100 * row['share_of_matmul']:.1f} %" if "share_of_matmul" in row else ""
        table.add_row(
            *head,
            f"{row['samples_per_sec']:,.1f}",
            *step_time,
            f"{row['first_call_seconds']:.2f}",
            f"{row['peak_memory_bytes'] / 1e6:,.0f}",
            gpu,
            f"{row['macs_per_example'] / 1e6:,.3f}",
            share,
        )
    console.print(table)
    for row in document["rows"]:
        if "error" in row:
            console.print("failed: {model} {mode} {batch_size} {device} {backend}: {error}".format(**row), markup=False)
    for found in document["comparisons"]:
        console.print("{model} {mode} {batch_size} {backend}: gpu = {gpu_over_cpu:.2f} x cpu".format(**found))
    for left in document["left_out"]:
        console.print(f"{left['device'] or left['backend']}: {left['reason']}")


def main(arguments=None):
    options = parse(arguments)
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.width = max(console.width, TABLE_WIDTH)
    start = time.perf_counter()
    document = measure(options, harness.say)
    document["seconds"] = round(time.perf_counter() - start, 1)
    output, modes = pathlib.Path(options.output), list(dict.fromkeys(options.mode))
    print_table(document, console)
    write_csv(output / "throughput.csv", document["rows"], modes)
    write_chart(output / "throughput.png", document["rows"], modes)
    return harness.publish(document, output / "throughput.json")


if __name__ == "__main__":
    sys.exit(main())

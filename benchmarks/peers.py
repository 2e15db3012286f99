"""kzoo beside its peers on this machine's CPU: outputs compared first, then timed in turns in one run.

    python benchmarks/peers.py                               # the peers that are installed; the others are named absent
    pip install -e .[peers] && python benchmarks/peers.py --works resnet50 bert_base --modes infer

Every side of a work runs in a process of its own, with the weights of kzoo where it can take them; its outputs must be
kzoo's before it is timed. Then the sides take turns, round after round, and every time is the minimum over all turns.
The table and the progress go to stderr; the last line on stdout is JSON that says where the result lies, in --output
with a CSV and a chart. Exit status: 0, 1 if a side failed or nothing was measured, 2 for bad arguments, 130 after
Ctrl-C.
"""

import csv
import pathlib
import sys
import tempfile
import time

import harness
import peer_models
import timing

from kzoo.support import atomic

SIDE_SCRIPT = pathlib.Path(__file__).with_name("peer_side.py")
MODES = ("infer", "train")
SETTLE_SECONDS = 0.25  # threads of the side before may spin so long after their last call
PACKAGES = ("torch", "torchvision", "transformers", "keras-hub", "zeromodels", "onnxruntime", "openvino", "nncf")
NOTES = {
    "step_time_ms": "of one call with a NumPy batch in and the output out, or one training step; all turns together",
    "ratio": "the reference's smallest time over this side's; above 1 this side is faster",
    "first_call_seconds": "from starting the process to the end of the first call: import, build, weights, compilation",
    "max_difference": "of the first outputs from kzoo's, as a share of kzoo's largest output; null with other weights",
    "train": "Adam on the mean square of the main output, dropout and batch statistics on",
    "onednn": "TensorFlow's oneDNN kernels: on in kzoo's sides, since kzoo turns them on, and in those named _onednn; "
    "elsewhere as TensorFlow chooses, which is off on a processor without AVX-512",
    "macs_per_second": "multiply-accumulates of kzoo's model, three times as many for a training step, by the smallest "
    "time; a peer's model may do with a few more or less",
    "share_of_matmul": "macs_per_second over the best side's in matrix_product, int8 over int8: no float32 side can be "
    "faster than 1 allows",
    "peak_memory_bytes": "largest resident memory of the side's process",
    "torch_compiled": "torch.compile with its defaults, of the network in channels-first order",
}


def parse(arguments=None):
    """The command line as a namespace; anything that cannot be run exits 2 with one line."""
    parser = harness.OneLineParser(__doc__)
    add = parser.add_argument
    works, sides = ", ".join(peer_models.WORKS), ", ".join(peer_models.SIDES)
    add("--works", nargs="+", default=list(peer_models.DEFAULT_WORKS), metavar="WORK", help=f"of {works}")
    add("--sides", nargs="+", default=list(peer_models.SIDES), metavar="SIDE", help=f"of {sides}")
    add("--batch-sizes", nargs="+", type=harness.positive(int), metavar="N", help="of inference; default: 1 8")
    add("--train-batch-size", type=harness.positive(int), metavar="N", help="default: 8, of recurrent networks 32")
    add("--modes", nargs="+", default=list(MODES), metavar="MODE", help="infer train (default: both)")
    add("--rounds", type=harness.positive(int), default=10, metavar="N", help="turns of every side; default: 10")
    add("--timeout", type=harness.positive(float), default=600.0, help="seconds after which a side is given up")
    parser.add_output_folder("runs/peers")

    def check(options):
        harness.check_choices("work", options.works, tuple(peer_models.WORKS))
        harness.check_choices("side", options.sides, tuple(peer_models.SIDES))
        harness.check_choices("mode", options.modes, MODES)

    return parser.parse(arguments, check)


def measure(options, say):
    """The JSON document: every row that was measured or failed, and which sides are absent and why."""
    facts = {"notes": NOTES, "device": "cpu", "rounds": options.rounds, "rows": [], "absent": []}
    document = harness.begin("peers", PACKAGES, **facts)
    with harness.interruptible(document):
        for work in dict.fromkeys(options.works):
            with tempfile.TemporaryDirectory() as folder:
                measure_work(document, options, work, folder, say)
    relate(document["rows"])
    relate_to_matmul(document["rows"])
    return document


def measure_work(document, options, work, folder, say):
    """Appends the rows of one work, of inference and then of training."""
    facts = peer_models.WORKS[work]
    batch_sizes = list(dict.fromkeys(options.batch_sizes or facts.get("batch_sizes", (1, 8))))
    request = {"work": work, "folder": folder, "batch_size": batch_sizes[0]}
    with harness.Child(SIDE_SCRIPT, {**request, "side": "prepare"}, options.timeout) as first:
        prepared = first.answer()
    if "error" in prepared:
        document["rows"].append({"work": work, "side": "kzoo", "mode": "prepare", "batch_size": None, **prepared})
        return say(f"{work}: {prepared['error']}")
    for mode in dict.fromkeys(options.modes):
        sizes = batch_sizes if mode == "infer" else [options.train_batch_size or facts["train_batch"]]
        job = {**request, "macs": prepared["macs"], "mode": mode, "batch_sizes": sizes}
        measure_mode(document, options, job, say)
    return None


def leave_out(document, request, side, reason, say):
    head = {"work": request["work"], "mode": request["mode"], "side": side, "reason": reason}
    document["absent"].append(head)
    say(f"{request['work']} {request['mode']}: {side} is absent: {reason}")


def measure_mode(document, options, request, say):
    """Starts every side, one after another, then lets them take turns."""
    running = {}
    try:
        for side in dict.fromkeys(options.sides):
            _, needs, works = peer_models.SIDES[side]
            missing = [package for package in needs if not harness.installed(package)]
            if request["work"] not in works:
                leave_out(document, request, side, "has no such model, or is not set up for it", say)
                continue
            if missing:
                leave_out(document, request, side, f"not installed: {', '.join(missing)}", say)
                continue
            job = {**request, "side": side, "started": time.time()}
            process = harness.Child(SIDE_SCRIPT, job, options.timeout, not peer_models.has_onednn(side))
            running[side] = process
            process.first, process.seconds = process.answer(), {size: [] for size in request["batch_sizes"]}
            if "absent" in process.first:
                leave_out(document, request, side, process.first["absent"], say)
            if "error" in process.first or "absent" in process.first:
                process.close()
                running.pop(side)
            if "error" in process.first:
                add_rows(document, request, side, process, process.first, say)
            elif "absent" not in process.first:
                difference = process.first["max_difference"]
                agrees = process.first["note"] if difference is None else f"outputs within {difference:.1e} of kzoo's"
                say(f"{request['work']} {request['mode']}: {side} is ready: {agrees}")
        take_turns(document, options, request, running, say)
    finally:
        for process in running.values():
            process.close()


def take_turns(document, options, request, running, say):
    """Rounds of turns; who begins changes, so that a machine that slows down hurts all alike."""
    order, failed = list(running), {}
    for round_ in range(options.rounds):
        shift = round_ % max(len(order), 1)
        for batch_size in request["batch_sizes"]:
            for side in order[shift:] + order[:shift]:
                if side in failed:
                    continue
                time.sleep(SETTLE_SECONDS)
                answer = running[side].ask({"batch_size": batch_size})
                if "error" in answer:
                    failed[side] = answer
                    continue
                running[side].seconds[batch_size] += answer["seconds"]
                running[side].peak = answer["peak_memory_bytes"]
    for side in order:
        add_rows(document, request, side, running[side], failed.get(side, {}), say)


def add_rows(document, request, side, process, failure, say):
    """One row for every batch size of a side."""
    for batch_size in request["batch_sizes"]:
        row = {"work": request["work"], "mode": request["mode"], "batch_size": batch_size, "side": side}
        if "error" in failure:
            document["rows"].append({**row, "error": failure["error"]})
            say(f"{request['work']} {request['mode']} {batch_size}: {side}: {failure['error']}")
            continue
        times = timing.summarize(process.seconds[batch_size])
        macs = timing.MACS_PER_FORWARD_MAC[request["mode"]] * request["macs"] * batch_size
        document["rows"].append(
            row
            | {
                "step_time_ms": {key: 1000 * times[key] for key in ("min", "median", "spread")},
                "num_calls": times["num_samples"],
                "samples_per_sec": batch_size / times["min"],
                "macs_per_second": macs / times["min"],
                "max_difference": process.first["max_difference"],
                "first_call_seconds": process.first["first_call_seconds"],
                "peak_memory_bytes": process.peak,
                "note": process.first["note"],
            }
        )
        say(f"{request['work']} {request['mode']} {batch_size}: {side}: {1000 * times['min']:.2f} ms")


def relate(rows):
    """Adds to every measured row which side it is related to and how many times as fast as that it is."""
    best = {
        (row["work"], row["mode"], row["batch_size"], row["side"]): row["step_time_ms"]["min"]
        for row in rows
        if "error" not in row
    }
    for row in rows:
        if "error" in row:
            continue
        key = (row["work"], row["mode"], row["batch_size"])
        wanted = peer_models.WORKS[row["work"]]["reference"]
        reference = wanted if (*key, wanted) in best else "kzoo"
        if (*key, reference) in best:
            row |= {"reference": reference, "ratio": best[*key, reference] / row["step_time_ms"]["min"]}


def relate_to_matmul(rows):
    """Adds to every measured row the share of the machine's rate of matrix products, where the run measured that."""
    best = {}
    for row in rows:
        if row["work"] == "matrix_product" and "error" not in row:
            kind = row["side"].endswith("int8")
            best[kind] = max(best.get(kind, 0.0), row["macs_per_second"])
    for row in rows:
        rate = best.get(row["side"].endswith("int8"))
        if rate and "error" not in row:
            row["share_of_matmul"] = row["macs_per_second"] / rate


def write_csv(path, rows):
    columns = ["work", "mode", "batch_size", "side", "min_ms", "median_ms", "spread_ms", "samples_per_sec", "ratio",
               "reference", "macs_per_second", "share_of_matmul", "max_difference", "first_call_seconds",
               "peak_memory_bytes", "note", "error"]  # fmt: skip
    with atomic.file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            times = {f"{key}_ms": round(value, 4) for key, value in row.get("step_time_ms", {}).items()}
            writer.writerow(row | times)


def write_chart(path, rows):
    """One panel of bars for every work, mode and batch size: the ratio to the reference."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {}
    for row in rows:
        if "ratio" in row:
            panels.setdefault((row["work"], row["mode"], row["batch_size"], row["reference"]), []).append(row)
    heights = [1 + 0.25 * len(found) for found in panels.values()] or [1]
    options = {"figsize": (8, sum(heights) + 0.5), "squeeze": False, "gridspec_kw": {"height_ratios": heights}}
    figure, axes = pyplot.subplots(len(heights), 1, **options)
    for axis, ((work, mode, batch_size, reference), found) in zip(axes[:, 0], panels.items(), strict=False):
        colours = ["tab:orange" if row["side"].startswith("kzoo") else "tab:blue" for row in found]
        bars = axis.barh([row["side"] for row in found], [row["ratio"] for row in found], color=colours)
        labels = [f"{row['ratio']:.2f} x, {row['step_time_ms']['min']:.2f} ms" for row in found]
        axis.bar_label(bars, labels, padding=3, fontsize=8)
        axis.set_title(f"{work}, {mode}, batch {batch_size}: speed over {reference}", fontsize=10)
        axis.invert_yaxis()
        axis.margins(x=0.3)
    figure.tight_layout()
    with atomic.file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    pyplot.close(figure)


def print_table(document, console):
    """The rows for people."""
    from rich import box
    from rich.table import Table

    table = Table(title="Peers, minimum over all turns", box=box.SIMPLE_HEAD)
    for heading in ("work", "mode", "batch", "side"):
        table.add_column(heading)
    numbers = ("ms", "median", "examples/s", "ratio", "GMAC/s", "of matmul", "difference", "first call s", "peak MB")
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.add_column("note")
    for row in document["rows"]:
        head = [row["work"], row["mode"], str(row["batch_size"]), row["side"]]
        if "error" in row:
            table.add_row(*head, "failed", style="red")
            continue
        difference = row["max_difference"]
        table.add_row(
            *head,
            f"{row['step_time_ms']['min']:.2f}",
            f"{row['step_time_ms']['median']:.2f}",
            f"{row['samples_per_sec']:.1f}",
            f"{row['ratio']:.2f}" if "ratio" in row else "",
            f"{row['macs_per_second'] / 1e9:,.0f}",
            f"{row['share_of_matmul']:.0%}" if "share_of_matmul" in row else "",
            "" if difference is None else f"{difference:.1e}",
            f"{row['first_call_seconds']:.1f}",
            f"{row['peak_memory_bytes'] / 1e6:,.0f}",
            row["note"],
        )
    console.print(table)
    for row in document["rows"]:
        if "error" in row:
            console.print("failed: {work} {mode} {batch_size} {side}: {error}".format(**row), markup=False)


def main(arguments=None):
    options = parse(arguments)
    from rich.console import Console

    document = measure(options, harness.say)
    print_table(document, Console(stderr=True, highlight=False, width=240))
    output = pathlib.Path(options.output)
    write_csv(output / "peers.csv", document["rows"])
    write_chart(output / "peers.png", document["rows"])
    return harness.publish(document, output / "peers.json")


if __name__ == "__main__":
    sys.exit(main())

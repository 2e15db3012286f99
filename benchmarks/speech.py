"""Deep Speech 1 and 2 from waveform to logits on this machine's CPU: kzoo and its runtimes beside torch, in turns.

    python benchmarks/speech.py --python VENV/bin/python   # one with torch and safetensors

Every side has a process of its own and the same random weights; its logits must be kzoo's before it is timed, but int8,
whose difference is reported. The front end is in every side, in torch by `torch.stft`. Sides take turns on --seconds of
sound. Times are of the clock and, beside, of the processor, which other programs disturb less. The machine's rate of
matrix products is measured by turns in the same run. The last line on stdout says where the result lies. Exit status:
0, 1 if a side failed, 2 for bad arguments, 130 after Ctrl-C.
"""

import contextlib
import pathlib
import sys
import tempfile
import time

import harness
from timing import summarize

SIDE = pathlib.Path(__file__).with_name("speech_side.py")
RESULT = pathlib.Path(__file__).parent / "results" / "speech.json"
WORKS = ("deepspeech", "deepspeech2")
RATE, MATRIX = 16000, 2048  # as in speech_side.py
SETTLE_SECONDS = 0.25  # threads of the side before may spin so long after their last call
# side -> runtime of kzoo.fast, None without, and precision
SIDES = {
    "kzoo": (None, "float32"),
    "torch": (None, "float32"),
    "torch_compiled": (None, "float32"),
    "kzoo_fast": ("tensorflow", "float32"),
    "kzoo_fast_onnxruntime": ("onnxruntime", "float32"),
    "kzoo_fast_onnxruntime_int8": ("onnxruntime", "int8"),
    "kzoo_fast_openvino": ("openvino", "float32"),
    "kzoo_fast_openvino_int8": ("openvino", "int8"),
    "kzoo_fast_litert": ("litert", "float32"),
    "kzoo_fast_litert_int8": ("litert", "int8"),
}
REFERENCE = "torch"
NOTES = {
    "sound_per_second": "seconds of sound in a batch over the smallest and the median time of a call",
    "ratio": "how many times as fast as torch eager, by the smallest times of the clock; `processor_ratio` by those of "
    "the processor",
    "max_difference": "of the largest batch's logits from kzoo's, as a share of kzoo's largest",
    "share_of_labels_changed": "frames whose best label is not kzoo's",
    "share_of_matmul": "multiply-accumulates of kzoo's model a second, over the best rate in matrix_product",
    "weights": "random, so that int8 has no error rate here",
}


def run(options):
    """The whole comparison as a document."""
    document = harness.begin("speech", ("torch", "onnxruntime", "openvino", "ai-edge-litert"), rounds=options.rounds,
                             seconds=options.seconds, notes=NOTES, rows=[])  # fmt: skip
    with harness.interruptible(document):
        for work in options.works:
            with tempfile.TemporaryDirectory() as folder:
                measure(document, options, work, folder)
    relate(document["rows"])
    document["load_average_at_the_end"] = harness.load_average()
    return document


def measure(document, options, work, folder):
    """Appends the rows of one work."""
    request = {
        "work": work, "folder": folder, "batch_sizes": options.batch_sizes, "num_samples": round(options.seconds * RATE)
    }  # fmt: skip
    with harness.Child(SIDE, {**request, "side": "prepare"}, options.timeout) as first:
        prepared = first.answer()
    if "error" in prepared:
        return document["rows"].append({"work": work, "side": "prepare", "batch_size": None, **prepared})
    with contextlib.ExitStack() as stack:
        running = {}
        for side in options.sides:
            running[work, side] = stack.enter_context(start(side, request, options))
            ready = running[work, side].answer()
            harness.say(f"{work}: {side}: {ready}")
            if "error" in ready:
                document["rows"].append({"work": work, "side": side, "batch_size": None, **ready})
                running.pop((work, side)).close()
            else:
                running[work, side].ready = ready
        for side in [side for side in ("kzoo", "torch") if (work, side) in running]:
            child = stack.enter_context(start(side, {**request, "work": "matrix_product"}, options))
            child.ready = child.answer()
            running["matrix_product", side] = child
        take_turns(document, options, running, prepared["macs"])
    return None


def start(side, request, options):
    runtime, precision = SIDES[side]
    facts = {"side": side, "runtime": runtime, "precision": precision, "started": time.time()}
    is_torch = side.startswith("torch")
    facts["gives_probabilities"] = is_torch and request["work"] == "deepspeech"
    python = options.python if is_torch else sys.executable
    return harness.Child(SIDE, {**request, **facts}, options.timeout, is_torch, python)


def take_turns(document, options, running, macs):
    """Rounds of turns, in an order that moves on every round; then a row for every side and batch size."""
    order = [
        (work, side, size) for work, side in running for size in options.batch_sizes[: 1 if work[0] == "m" else None]
    ]
    rows = {key: {"seconds": [], "processor_seconds": []} for key in order}
    for round_ in range(options.rounds):
        shift = round_ % max(len(order), 1)
        for work, side, size in order[shift:] + order[:shift]:
            row = rows[work, side, size]
            if "error" in row:
                continue
            time.sleep(SETTLE_SECONDS)
            answer = running[work, side].ask({"batch_size": 1 if work == "matrix_product" else size})
            for name, value in answer.items():
                row[name] = row[name] + value if isinstance(value, list) else value
    for (work, side, size), row in rows.items():
        is_product = work == "matrix_product"
        row = {"work": work, "side": side, "batch_size": 1 if is_product else size, **running[work, side].ready, **row}
        document["rows"].append(row)
        if "error" in row:
            continue
        row["num_calls"] = len(row["seconds"])
        for name in ("seconds", "processor_seconds"):
            times = summarize(row[name])
            row[name] = {key: times[key] for key in ("min", "median")}
        count = MATRIX**3 if is_product else macs * size
        row["macs_per_second"] = count / row["seconds"]["min"]
        if not is_product:
            row["sound_per_second"] = {key: size * options.seconds / value for key, value in row["seconds"].items()}


def relate(rows):
    """Adds ratios to torch eager and shares of the rate of matrix products."""
    timed = {(row["work"], row["batch_size"], row["side"]): row for row in rows if "error" not in row}
    rates = [row["macs_per_second"] for row in timed.values() if row["work"] == "matrix_product"]
    for (work, size, _), row in timed.items():
        if work == "matrix_product":
            continue
        row["share_of_matmul"] = row["macs_per_second"] / max(rates) if rates else None
        reference = timed.get((work, size, REFERENCE))
        if reference:
            row["ratio"] = reference["seconds"]["min"] / row["seconds"]["min"]
            row["processor_ratio"] = reference["processor_seconds"]["min"] / row["processor_seconds"]["min"]


def show(rows):
    """The rows as lines for people, on stderr."""
    for row in rows:
        head = f"{row['work']:14} {row['batch_size']} {row['side']:27}"
        if "error" in row:
            harness.say(f"{head} failed: {row['error']}")
        elif row["work"] == "matrix_product":
            harness.say(f"{head} {row['macs_per_second'] / 1e9:.0f} billion multiply-accumulates a second")
        else:
            speed, memory = row["sound_per_second"], row["peak_memory_bytes"] / 1e6
            ratios = " ".join(f"{key} {row[key]:.2f}" for key in ("ratio", "processor_ratio") if key in row)
            harness.say(f"{head} {speed['min']:7.2f} (median {speed['median']:.2f}) s/s, {memory:.0f} MB, {ratios}, "
                        f"difference {row['max_difference']:.1e}")  # fmt: skip


def check(options):
    harness.check_choices("work", options.works, WORKS)
    harness.check_choices("side", options.sides, SIDES)


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--works", nargs="+", default=list(WORKS), metavar="WORK", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), metavar="SIDE", help=f"of {', '.join(SIDES)}")
    parser.add_argument("--batch-sizes", nargs="+", type=harness.positive(int), default=[1, 8], metavar="N")
    parser.add_argument("--rounds", type=harness.positive(int), default=5, help="turns of every side (5)")
    parser.add_argument("--seconds", type=harness.positive(float), default=10.0, help="of sound in a clip (10)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of torch's sides")
    parser.add_argument("--timeout", type=harness.positive(float), default=900.0, help="seconds for one answer (900)")
    parser.add_argument("--output", type=pathlib.Path, default=RESULT, help="JSON file to store the result in")
    options = parser.parse(None, check)
    document = run(options)
    show(document["rows"])
    return harness.publish(document, options.output)


if __name__ == "__main__":
    sys.exit(main())

"""The input pipeline on this machine's CPU: images a second from JPEG files to batches, alone and under training.

    python benchmarks/input_pipeline.py --output benchmarks/results

Decode, resize, augment and normalise by kzoo.data, beside a torch DataLoader with a PIL worker a core where torch is
installed; then a small ResNet trained from a batch in memory, and fed by the pipeline. Every row has its own process.
The last line on stdout is JSON that says where the result lies (--output). Exit status: 0, 1 if a row failed, 2 for bad
arguments.
"""

import importlib.util
import pathlib
import sys
import tempfile

import harness

SIDE_SCRIPT = pathlib.Path(__file__).with_name("input_pipeline_side.py")
FILES, TRAINING, FED = "kzoo from files", "training alone", "training fed from files"
ROWS = {
    FILES: {"kind": "kzoo", "in_memory": False},
    "kzoo from memory": {"kind": "kzoo", "in_memory": True},
    "torch DataLoader with PIL": {"kind": "torch"},
    TRAINING: {"kind": "training", "overlapped": False},
    FED: {"kind": "training", "overlapped": True},
}
NOTES = {
    "kzoo from files": "read, decode, crop, resize, flip, colours, normalise in every epoch, as for sets over 1 GB",
    "kzoo from memory": "files decoded and resized once, before the clock; augmented and normalised in every epoch",
    "torch DataLoader with PIL": "read, decode, crop, resize, flip, normalise; no change of colours",
    "images_per_second": "the best of the timed epochs",
    "ratio": "images a second over those of kzoo from files",
}


def parse(arguments=None):
    parser = harness.OneLineParser(__doc__)
    add = parser.add_argument
    add("--images", type=harness.positive(int), default=1024, metavar="N", help="JPEGs to make; default: 1024")
    add("--batch-size", type=harness.positive(int), default=32, metavar="N", help="default: 32")
    add("--epochs", type=harness.positive(int), default=3, metavar="N", help="timed; default: 3")
    add("--timeout", type=harness.positive(float), default=600.0, help="seconds after which a row is stopped")
    parser.add_output_folder("runs/input_pipeline")
    return parser.parse(arguments)


def judge(rows):
    """Whether training is bound by its input, in a sentence."""
    rates = {row["name"]: row["images_per_second"] for row in rows if "images_per_second" in row}
    if not {FILES, TRAINING, FED} <= rates.keys():
        return "Whether training is input-bound is unknown: a row is missing."
    made, trained, fed = rates[FILES], rates[TRAINING], rates[FED]
    numbers = f"the pipeline makes {made:,.0f} images/s, training alone takes {trained:,.0f}, fed it takes {fed:,.0f}"
    if made < trained:
        return f"Training is input-bound: {numbers}."
    return f"Training is not input-bound: {numbers} ({fed / trained:.0%}; both share the cores)."


def measure(options, document):
    """Appends the rows to the document."""
    with tempfile.TemporaryDirectory() as folder:
        job = {"folder": folder, "batch_size": options.batch_size, "epochs": options.epochs}

        def child(**kind):
            return harness.run_child(SIDE_SCRIPT, {**job, **kind}, "tensorflow", "cpu", options.timeout)

        document["photos"] = child(kind="photos", num_images=options.images)
        for name, kind in ROWS.items():
            if kind["kind"] == "torch" and importlib.util.find_spec("torch") is None:
                row = {"absent": "torch is not installed"}
            else:
                row = document["photos"] if "error" in document["photos"] else child(**kind)
            document["rows"].append({"name": name, **row})
            said = row.get("absent") or row.get("error") or f"{row['images_per_second']:,.0f} images/s"
            print(f"{name}: {said}", file=sys.stderr, flush=True)


def main(arguments=None):
    options = parse(arguments)
    facts = {"notes": NOTES, "images": options.images, "batch_size": options.batch_size, "rows": []}
    document = harness.begin("input_pipeline", **facts)
    with harness.interruptible(document):
        measure(options, document)
    first = next(
        (row["images_per_second"] for row in document["rows"] if row["name"] == FILES and "error" not in row), 0
    )
    for row in document["rows"]:
        if first and "images_per_second" in row:
            row["ratio"] = row["images_per_second"] / first
    document["verdict"] = judge(document["rows"])
    print(document["verdict"], file=sys.stderr)
    return harness.publish(document, pathlib.Path(options.output) / "input_pipeline.json")


if __name__ == "__main__":
    sys.exit(main())

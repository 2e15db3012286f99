"""Training mnist_cnn on the CPU: `kzoo.fit` against the document's Keras script, side by side in one run.

    python benchmarks/fit_versus_document.py --images 60000 --epochs 3 --repetitions 3

Both sides train the same network on the same images in batches of 64 with Adam, each repetition in a fresh process, the
sides taking turns. The clock covers the whole call of fit: tracing, all epochs, and for kzoo its backups and reports as
well; importing, reading the images and building the model lie outside. The last line on stdout is JSON that says where
the result lies (--output). Exit status: 0, 1 if a repetition failed, 2 for bad arguments, 130 after Ctrl-C.
"""

import pathlib
import statistics
import sys
import tempfile

import harness
import timing

SIDE_SCRIPT = pathlib.Path(__file__).with_name("fit_side.py")
SIDES = ("document", "kzoo")
TARGET = 1.15
NOTES = {
    "fit_seconds": "the whole call of fit, in a fresh process per repetition, the sides taking turns",
    "epoch_seconds": "epochs after the first of every repetition: what a longer training costs per epoch",
    "cpu_seconds": "processor time of all threads in that call; other programs on the machine hardly change it",
    "ratio": "the document's time over kzoo's, of the whole call; above 1 kzoo is faster",
    "document": "Sequential, compile and fit as written: NumPy float32 arrays, batches of 64, Keras's defaults; a "
    "callback notes the time at the end of epochs",
    "kzoo": "kzoo.fit(kzoo.build('mnist_cnn'), data, run_folder), default recipe, no validation as the script has none",
}


def parse(arguments=None):
    parser = harness.OneLineParser(__doc__)
    add = parser.add_argument
    add("--images", type=harness.positive(int), default=60_000, metavar="N", help="training images; default: 60000")
    add("--epochs", type=harness.positive(int), default=3, metavar="N", help="default: 3")
    add("--repetitions", type=harness.positive(int), default=3, metavar="N", help="of each side; default: 3")
    add("--timeout", type=harness.positive(float), default=1800.0, help="seconds after which a repetition is stopped")
    parser.add_output_folder("runs/fit_versus_document")
    return parser.parse(arguments)


def summarize_side(repetitions):
    """Whole calls and later epochs of one side, in seconds, with the training loss and accuracy of the last epoch."""
    later = [seconds for repetition in repetitions for seconds in repetition["epoch_seconds"][1:]]
    return {
        "fit_seconds": timing.summarize([repetition["fit_seconds"] for repetition in repetitions]),
        "cpu_seconds": timing.summarize([repetition["cpu_seconds"] for repetition in repetitions]),
        "epoch_seconds": timing.summarize(later) if later else None,
        "loss": statistics.median(repetition["loss"] for repetition in repetitions),
        "accuracy": statistics.median(repetition["accuracy"] for repetition in repetitions),
    }


def compare(document_side, kzoo_side):
    """Ratios of the document's times to kzoo's, of medians and of minima."""
    ratios = {}
    for key, name in (("fit_seconds", "ratio"), ("epoch_seconds", "later_epochs_ratio"), ("cpu_seconds", "cpu_ratio")):
        if document_side[key] and kzoo_side[key]:
            ratios[name] = document_side[key]["median"] / kzoo_side[key]["median"]
            ratios[f"{name}_of_minima"] = document_side[key]["min"] / kzoo_side[key]["min"]
    return ratios


def run_all(options, document, folder):
    """Prepares the images once, then runs the sides in turns; appends every repetition to the document."""

    def child(**job):
        where, is_rival = ("tensorflow", "cpu"), job["side"] == "document"
        return harness.run_child(SIDE_SCRIPT, {"folder": folder, **job}, *where, options.timeout, is_rival)

    document["data"] = child(side="prepare", images=options.images)
    if "error" in document["data"]:
        return
    print("images: {images:,} of {source}".format(**document["data"]), file=sys.stderr)
    for repetition in range(options.repetitions):
        # who goes first changes, so that a machine that slows down hurts both alike
        for side in SIDES if repetition % 2 == 0 else SIDES[::-1]:
            result = {"side": side, "repetition": repetition, **child(side=side, epochs=options.epochs)}
            result["load_average"] = harness.load_average()
            document["repetitions"].append(result)
            what = result.get("error") or f"{result['fit_seconds']:.2f} s, accuracy {result['accuracy']:.4f}"
            print(f"{side} {repetition + 1}/{options.repetitions}: {what}", file=sys.stderr, flush=True)


def print_summary(document):
    for side, found in document["sides"].items():
        whole, later = found["fit_seconds"], found["epoch_seconds"]
        cpu = f"; processor time median {found['cpu_seconds']['median']:.2f} s"
        epochs = f"; later epochs: median {later['median']:.2f} s, min {later['min']:.2f} s" if later else ""
        print(f"{side}: fit median {whole['median']:.2f} s, min {whole['min']:.2f} s{cpu}{epochs}", file=sys.stderr)
    if "ratio" in document:
        verdict = "reached" if document["ratio"] >= TARGET else "not reached"
        print(
            f"kzoo.fit is {document['ratio']:.2f} times as fast (target {TARGET}: {verdict}), "
            f"and {document['cpu_ratio']:.2f} times by processor time",
            file=sys.stderr,
        )


def main(arguments=None):
    options = parse(arguments)
    facts = {"notes": NOTES, "epochs": options.epochs, "batch_size": 64, "target": TARGET, "repetitions": []}
    document = harness.begin("fit_versus_document", **facts)
    with harness.interruptible(document), tempfile.TemporaryDirectory() as folder:
        run_all(options, document, folder)
    done = [repetition for repetition in document["repetitions"] if "error" not in repetition]
    by_side = {side: [repetition for repetition in done if repetition["side"] == side] for side in SIDES}
    document["sides"] = {side: summarize_side(found) for side, found in by_side.items() if found}
    if len(document["sides"]) == 2:
        document |= compare(document["sides"]["document"], document["sides"]["kzoo"])
    print_summary(document)
    harness.store_and_tell(document, pathlib.Path(options.output) / "fit_versus_document.json", document["repetitions"])
    if document["interrupted"]:
        return 130
    return int(len(done) < 2 * options.repetitions)


if __name__ == "__main__":
    sys.exit(main())

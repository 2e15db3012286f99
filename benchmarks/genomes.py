"""SpliceAI on this machine's CPU: kzoo's runtimes beside the authors' Keras file as they run it.

    pip download --no-deps spliceai==1.3.1 && unzip spliceai-*.whl       # its files are CC BY-NC 4.0
    TFDS_DATA_DIR=FOLDER python benchmarks/genomes.py spliceai/models/spliceai1.h5

It reads 101 nucleotides, as their package does around a variant, and 10,000. The authors' side is
`keras.models.load_model` and `predict`, one-hot vectors with 5,000 zeros on either side; ours has the same weights.
Every side has a process of its own and takes turns with the others. With the data set `splice_junctions`, both say
where the sites of 593 junctions are that no training set of ours holds. The last line on stdout is one JSON document,
also stored. Exit status: 0, 1 if a side failed, 2 for bad arguments.
"""

import contextlib
import pathlib
import sys

import harness
from timing import summarize

SIDE = pathlib.Path(__file__).with_name("genomes_side.py")
LENGTHS = (101, 10_000)
RESULT = pathlib.Path(__file__).parent / "results" / "genomes.json"
SIDES = ("authors", "keras", "tensorflow", "onnxruntime", "openvino", "openvino int8")


def run(options):
    """The whole comparison as a document."""
    rows = {}
    document = harness.begin("genomes", (), rounds=options.rounds, rows=rows)
    with contextlib.ExitStack() as stack:
        children = {}
        for side in options.side or SIDES:
            for length in LENGTHS:
                job, name = {"side": side, "file": str(options.file), "length": length}, f"{side}, {length:,}"
                children[name] = stack.enter_context(harness.Child(SIDE, job, options.timeout))
                rows[name] = {"seconds": [], "processor_seconds": [], **children[name].answer()}
        for _ in range(options.rounds):
            for side, child in children.items():
                row = rows[side]
                if "error" in row:
                    continue
                answer = child.ask("go")
                if "error" in answer:
                    row["error"] = answer["error"]
                    continue
                for key in ("seconds", "processor_seconds"):
                    row[key].append(answer[key])
    for row in rows.values():
        for key in ("seconds", "processor_seconds"):
            row[key] = summarize(row[key]) if row[key] else None
    for name, row in rows.items():
        theirs = rows.get(f"authors, {name.rpartition(', ')[2]}", {})
        for key, name in (("seconds", "times"), ("processor_seconds", "processor_times")):
            if row[key] and theirs.get(key):
                row[name] = theirs[key]["min"] / row[key]["min"]
    if options.sites:
        with harness.Child(SIDE, {"side": "sites", "file": str(options.file)}, 3600) as child:
            document["splice_junctions"] = child.answer()
    return document


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("file", type=pathlib.Path, help="spliceai1.h5 of the package spliceai")
    parser.add_argument("--rounds", type=harness.positive(int), default=10, help="turns of every side (10)")
    parser.add_argument("--side", action="append", choices=SIDES, help="repeatable; default all")
    parser.add_argument("--no-sites", dest="sites", action="store_false", help="speed alone")
    parser.add_argument("--timeout", type=harness.positive(float), default=600.0, help="seconds for one answer (600)")
    parser.add_argument("--output", type=pathlib.Path, default=RESULT, help="JSON file to store the result in")
    options = parser.parse(None)
    document = run(options)
    for side, row in document["rows"].items():
        told = row.get("error") or (
            f"{1000 * row['seconds']['min']:7.0f} ms, {1000 * row['processor_seconds']['min']:7.0f} ms of processors, "
            f"{row.get('times', 1):.2f} times as fast as the authors' file ({row.get('processor_times', 1):.2f})"
        )
        harness.say(f"{side:22} {told}")
    return int(harness.store_and_tell(document, options.output, document["rows"].values()) > 0)


if __name__ == "__main__":
    sys.exit(main())

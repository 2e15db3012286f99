"""Seconds that a model takes to build with weights from a local file, in fresh processes, beside its peers.

    python benchmarks/loading.py                           # resnet50 and bert_base: benchmarks/results/loading.json
    python benchmarks/loading.py --models vit_b_16 --repetitions 3

The clock starts after the packages are imported. keras.applications and, where it is installed, keras-hub build the
same architecture with random weights, which is the least that loading takes there. Sides take turns. The table goes to
stderr; the last line on stdout is JSON that says where the result lies (--output). Exit status: 0, 1 if a side failed,
2 for bad arguments, 130 after Ctrl-C.
"""

import importlib.util
import os
import pathlib
import tempfile
import time

import harness

# model -> {peer: (package, the class that builds it, its keywords)}
PEERS = {
    "resnet50": {"keras.applications": ("keras", "applications.ResNet50", {"weights": None})},
    "bert_base": {
        "keras_hub": (
            "keras_hub",
            "models.BertBackbone",
            {"vocabulary_size": 30522, "num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072},
        ),
    },
}
TIMEOUT = 300.0


def parse(arguments=None):
    """The command line as a namespace; anything that cannot be run exits 2 with one line."""
    from kzoo import catalog

    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--models", nargs="+", default=list(PEERS), metavar="NAME", help="default: resnet50 bert_base")
    parser.add_argument("--repetitions", type=harness.positive(int), default=5, help="of every side; default: 5")
    parser.add_argument("--output", default=str(harness.ROOT / "benchmarks" / "results" / "loading.json"))

    def check(options):
        options.models = [catalog.find(name).name for name in options.models]

    return parser.parse(arguments, check)


def child(job):
    """Builds once; the seconds."""
    import keras  # noqa: F401 (outside the clock)

    import kzoo

    if "save" in job:
        kzoo.save_weights(kzoo.build(job["model"]), job["save"])
        return {}
    if "weights" in job:
        begin = time.perf_counter()
        kzoo.build(job["model"], job["weights"])
        return {"seconds": time.perf_counter() - begin}
    package, path, keywords = PEERS[job["model"]][job["peer"]]
    build = importlib.import_module(package)
    for part in path.split("."):
        build = getattr(build, part)
    begin = time.perf_counter()
    build(**keywords)
    return {"seconds": time.perf_counter() - begin}


def measure(model, repetitions, folder):
    """Rows of one model: kzoo with weights from a file, then every peer that is installed."""
    import timing

    def run(job):
        return harness.run_child(__file__, {"model": model, **job}, "tensorflow", "cpu", TIMEOUT)

    weights = str(pathlib.Path(folder) / f"{model}.safetensors")
    saved = run({"save": weights})
    if "error" in saved:
        return [{"model": model, "side": "kzoo", **saved}]
    sides = {"kzoo": {"weights": weights}}
    sides |= {peer: {"peer": peer} for peer, (package, *_) in PEERS.get(model, {}).items() if installed(package)}
    seconds, rows = {side: [] for side in sides}, []
    for _ in range(repetitions):
        for side, job in sides.items():
            answer = run(job)
            if "error" in answer:
                return [*rows, {"model": model, "side": side, **answer}]
            seconds[side].append(answer["seconds"])
    loads = {"kzoo": f"a file of {os.path.getsize(weights) / 1e6:,.0f} MB"}
    for side, found in seconds.items():
        rows.append({"model": model, "side": side, "loads": loads.get(side, "nothing"), **timing.summarize(found)})
    return rows


def installed(package):
    return importlib.util.find_spec(package) is not None


def main(arguments=None):
    options = parse(arguments)
    document = harness.begin("loading", rows=[])
    with harness.interruptible(document), tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            for row in measure(model, options.repetitions, folder):
                document["rows"].append(row)
                told = row.get("error") or f"{row['min']:.2f} s (median {row['median']:.2f}), loads {row['loads']}"
                harness.say(f"{model}: {row['side']}: {told}")
    return harness.publish(document, options.output)


if __name__ == "__main__":
    harness.main_or_job(main, child)

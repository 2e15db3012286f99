"""kzoo.fast beside predict_on_batch, in every runtime and precision that is installed.

    python benchmarks/fast.py                                  # benchmarks/results/fast.json
    python benchmarks/fast.py --work resnet50 --batch-size 1 --seconds 20

ResNet-50 (224 x 224), BERT-base (128 tokens) and an LSTM of 2 x 128 units (100 steps of 64 features), all with random
weights. The references are keras.applications and, where it is installed, keras-hub, beside kzoo's own model through
predict_on_batch. All candidates of one row of work live in one process and are called in turns; the ratio is that of
minima to the first reference. A candidate that fails says why.
"""

import contextlib
import json
import os
import pathlib
import sys

import harness

BATCH_SIZES = {"resnet50": (1, 8), "bert_base": (1, 8), "lstm": (32,)}


def parse(arguments):
    parser = harness.OneLineParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", action="append", choices=BATCH_SIZES, help="repeatable; default all")
    parser.add_argument("--batch-size", type=harness.positive(int), help="in place of each work's own")
    parser.add_argument("--runtime", action="append", help="repeatable; default all that are installed")
    parser.add_argument("--seconds", type=harness.positive(float), default=30.0, help="of each measurement")
    parser.add_argument("--output", default=str(harness.ROOT / "benchmarks" / "results" / "fast.json"))
    return parser.parse_args(arguments)


def work(name, batch_size):
    """The model, its inputs as a list, its fixed length, and references `{name: function}`; the first counts as 1."""
    import importlib.util

    import keras

    import kzoo
    from kzoo.runtimes import samples

    length, references = None, {}
    if name == "resnet50":
        model = kzoo.build("resnet50")
        peer = keras.applications.ResNet50(weights=None, classifier_activation=None)
        arrays = samples.random_inputs(model, batch_size)
        references["keras.applications"] = lambda: peer.predict_on_batch(arrays[0])
    elif name == "bert_base":
        length, model = 128, kzoo.build("bert_base")
        arrays = samples.random_inputs(model, batch_size, length)
        if importlib.util.find_spec("keras_hub"):
            import keras_hub

            peer = keras_hub.models.BertBackbone(30522, 12, 12, 768, 3072)
            names = [tensor.name for tensor in model.inputs]
            x = dict(zip(names, arrays, strict=True))
            given = {"token_ids": x["token_ids"], "padding_mask": x["padding_mask"], "segment_ids": x["segment_ids"]}
            references["keras_hub"] = lambda: peer.predict_on_batch(given)
    else:
        length, model = 100, kzoo.build("rnn_lstm", units=128, num_features=64)
        arrays = samples.random_inputs(model, batch_size, length)
    x = keras.tree.pack_sequence_as(model.input, arrays)
    references["kzoo predict_on_batch"] = lambda: model.predict_on_batch(x)
    return model, arrays, length, references


def candidates(model, arrays, length, batch_size, runtimes):
    """`({"runtime precision": (function, report)}, {"runtime precision": reason})`."""
    import keras

    import kzoo
    from kzoo.runtimes import choices

    x = keras.tree.pack_sequence_as(model.input, arrays)
    names = [tensor.name for tensor in model.inputs]
    calibration = {name: array[:8] for name, array in zip(names, arrays, strict=True)}
    made, failed = {}, {}
    for runtime in runtimes:
        for precision in choices.RUNTIMES[runtime].precisions:
            key = f"{runtime} {precision}"
            try:
                quick = kzoo.fast(model, batch_size, precision, runtime, calibration if precision == "int8" else None,
                                  length=length, seconds=2.0)  # fmt: skip
                made[key] = (lambda quick=quick: quick(x), quick.report)
            except Exception as error:  # says why and measures the others
                failed[key] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            print(f"built {key}: {failed.get(key, 'ok')}", file=sys.stderr, flush=True)
    return made, failed


def measure(name, batch_size, options):
    """One row of work: times and ratios of every candidate."""
    from kzoo.runtimes import choices
    from kzoo.runtimes.comparison import interleaved

    model, arrays, length, references = work(name, batch_size)
    runtimes = options.runtime or [runtime for runtime in choices.RUNTIMES if choices.is_installed(runtime)]
    made, failed = candidates(model, arrays, length, batch_size, runtimes)
    calls = {**references, **{key: function for key, (function, _) in made.items()}}
    times = interleaved(calls, options.seconds, min_rounds=3, max_rounds=1000)
    base = times[next(iter(references))]["min"]
    rows = {key: {**row, "ratio": round(base / row["min"], 3)} for key, row in times.items()}
    for key, (_, report) in made.items():
        kept = ("max_difference", "scale", "int8_coverage", "bytes", "compiled", "seconds")
        rows[key] |= {name: report[name] for name in kept if name in report}
    return {"work": name, "batch_size": batch_size, "length": length, "milliseconds": rows, "failed": failed}


def main(arguments=None):
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from kzoo import atomic

    document = {"machine": harness.machine(), "versions": harness.versions(), "rows": []}
    document["command"] = " ".join(
        ["python", "benchmarks/fast.py", *(sys.argv[1:] if arguments is None else arguments)]
    )
    harness.warn_if_busy(document["machine"], lambda text: print(text, file=sys.stderr))
    for name in options.work or BATCH_SIZES:
        for batch_size in (options.batch_size,) if options.batch_size else BATCH_SIZES[name]:
            with contextlib.redirect_stdout(sys.stderr):  # converters print
                row = measure(name, batch_size, options)
            document["rows"].append(row)
            print(f"{name}, batch {batch_size}", file=sys.stderr)
            for key, found in row["milliseconds"].items():
                print(f"  {key:28} {found['min']:9.2f} ms  median {found['median']:9.2f}  {found['ratio']:5.2f} x",
                      file=sys.stderr, flush=True)  # fmt: skip
    document["load_average_after"] = harness.load_average()
    line = json.dumps(document)
    with atomic.file(pathlib.Path(options.output)) as temporary:
        temporary.write_text(line + "\n", encoding="utf-8")
    print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

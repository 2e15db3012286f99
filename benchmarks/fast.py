"""kzoo.fast beside predict_on_batch, in every runtime and precision that is installed.

    python benchmarks/fast.py                                  # benchmarks/results/fast.json
    python benchmarks/fast.py --work resnet50 --batch-size 1 --seconds 20

ResNet-50 (224 x 224), BERT-base (128 tokens) and an LSTM of 2 x 128 units (100 steps of 64 features), all with random
weights and biases. The references are keras.applications and, where it is installed, keras-hub, beside kzoo's own model
through predict_on_batch. The candidates of one runtime live in one process with the references and are called in turns;
the ratio is that of minima to the first reference there. A candidate that fails says why. Progress goes to stderr; the
last line on stdout is JSON that says where the result lies, which is written after every process. Exit status: 0, 1
if a candidate failed, 2 for bad arguments, 130 after Ctrl-C.
"""

import os
import pathlib
import sys

import failures
import harness
import peer_models

TIMEOUT = 900.0
BATCH_SIZES = {"resnet50": (1, 8), "bert_base": (1, 8), "lstm": (32,)}


def parse(arguments):
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--work", action="append", choices=BATCH_SIZES, help="repeatable; default all")
    parser.add_argument("--batch-size", type=harness.positive(int), help="in place of each work's own")
    parser.add_argument("--runtime", action="append", help="repeatable; default all that are installed")
    parser.add_argument("--seconds", type=harness.positive(float), default=30.0, help="of each measurement")
    parser.add_argument("--output", default=str(harness.ROOT / "benchmarks" / "results" / "fast.json"))
    return parser.parse(arguments)


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
    peer_models.stir(model)
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
                quick = kzoo.fast(
                    model,
                    batch_size,
                    precision,
                    runtime,
                    calibration if precision == "int8" else None,
                    length=length,
                    seconds=2.0,
                )
                made[key] = (lambda quick=quick: quick(x), quick.report)
            except Exception as error:  # says why and measures the others
                failed[key] = failures.in_one_line(error)
            print(f"built {key}: {failed.get(key, 'ok')}", file=sys.stderr, flush=True)
    return made, failed


def measure(job):
    """In this process: rows of the references and of every precision of one runtime."""
    from kzoo.runtimes.comparison import interleaved

    name, batch_size, runtime = job["work"], job["batch_size"], job["runtime"]
    model, arrays, length, references = work(name, batch_size)
    made, failed = candidates(model, arrays, length, batch_size, [runtime])
    calls = {**references, **{key: function for key, (function, _) in made.items()}}
    times = interleaved(calls, job["seconds"], min_rounds=3, max_rounds=1000)
    reference = next(iter(references))
    head = {"work": name, "batch_size": batch_size, "length": length, "runtime": runtime}
    rows = []
    for key, found in times.items():
        rows.append(
            {
                **head,
                "candidate": key,
                "min_ms": found["min"],
                "median_ms": found["median"],
                "reference": reference,
                "ratio": round(times[reference]["min"] / found["min"], 3),
                "median_ratio": round(times[reference]["median"] / found["median"], 3),
            }
        )
        kept = ("max_difference", "scale", "int8_coverage", "bytes", "compiled", "seconds")
        rows[-1] |= {field: made[key][1][field] for field in kept if key in made and field in made[key][1]}
    return rows + [{**head, "candidate": key, "error": reason} for key, reason in failed.items()]


def main(arguments=None):
    options = parse(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from kzoo.runtimes import choices

    document = harness.begin("fast", rows=[])
    runtimes = options.runtime or [runtime for runtime in choices.RUNTIMES if choices.is_installed(runtime)]
    jobs = [
        {"work": name, "batch_size": batch_size, "runtime": runtime, "seconds": options.seconds}
        for name in options.work or BATCH_SIZES
        for batch_size in ((options.batch_size,) if options.batch_size else BATCH_SIZES[name])
        for runtime in runtimes
    ]
    path = pathlib.Path(options.output)
    with harness.interruptible(document):
        for job in jobs:
            answer = harness.run_child(__file__, job, "tensorflow", "cpu", TIMEOUT)
            rows = answer if isinstance(answer, list) else [{**job, "candidate": job["runtime"], **answer}]
            document["rows"] += rows
            harness.store(document, path)
            harness.say(f"{job['work']}, batch {job['batch_size']}")
            for row in rows:
                told = (
                    row.get("error")
                    or f"{row['min_ms']:9.2f} ms  median {row['median_ms']:9.2f}  {row['ratio']:5.2f} x"
                )
                harness.say(f"  {row['candidate']:28} {told}")
    return harness.publish(document, path)


if __name__ == "__main__":
    harness.main_or_job(main, measure)

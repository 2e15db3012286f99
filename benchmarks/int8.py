"""What int8 costs on real data: accuracy, or bits per character, before and after, in every runtime that has it.

    TFDS_DATA_DIR=FOLDER python benchmarks/int8.py                    # trains a short version of every work itself
    python benchmarks/int8.py --work mnist --source mnist=runs/mnist --source fashion=resnet20.safetensors

Works: `mnist` (mnist_cnn), `fashion` (resnet20 on Fashion-MNIST), `sentiment` (the small BERT of sentiment.py on film
reviews) and `shakespeare` (the GPT of recipes.py). A source is a run folder, which brings its tokenizer, or a weight
file; without one the model is trained here for --epochs and the row says so. Ranges are calibrated on 128 training
examples and everything is measured on test examples. A row reaches its aim if at most one point of accuracy is lost;
for the GPT that is the accuracy of the next token. Every work has a process of its own; results are stored after each.
"""

import math
import pathlib

import failures
import harness

WORKS = ("mnist", "fashion", "sentiment", "shakespeare")
RUNTIMES = ("litert", "onnxruntime", "openvino")
POINTS = 0.01  # of accuracy, at most, as share of 1


def parse(arguments):
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--work", action="append", choices=WORKS, help="repeatable; default all")
    parser.add_argument("--source", action="append", default=[], metavar="WORK=PATH", help="run folder or weight file")
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="repeatable; default all installed ones")
    parser.add_argument(
        "--epochs", type=harness.positive(int), default=1, help="of training without a source; default 1"
    )
    parser.add_argument("--examples", type=harness.positive(int), default=10_000, help="test examples; default 10000")
    parser.add_argument("--train-batches", type=harness.positive(int), help="train on so many batches an epoch alone")
    parser.add_argument("--timeout", type=harness.positive(float), default=7200.0, help="seconds for one work")
    parser.add_argument("--output", default=str(harness.ROOT / "benchmarks" / "results" / "int8.json"))

    def check(options):
        options.sources = {}
        for given in options.source:
            work, _, path = given.partition("=")
            if work not in WORKS or not path or not pathlib.Path(path).exists():
                wanted = f"WORK=PATH, a work of {', '.join(WORKS)} and a path that exists"
                raise ValueError(f"--source takes {wanted}; got {given!r}")
            options.sources[work] = path

    return parser.parse(arguments, check)


def recipe(work):
    """The model's name, its overrides, the data's name and options, and how it is trained."""
    import recipes
    import sentiment

    if work == "sentiment":
        fit = {"learning_rate": 3e-4, **sentiment.TUNE}
        overrides = {"max_length": sentiment.MAX_LENGTH, "head": "classification", **sentiment.SIZES}
        return {"model": "bert_tiny", "overrides": overrides, "data": "movie_sentiment", "fit": fit, "load": {}}
    found = recipes.RECIPES[{"shakespeare": "shakespeare_gpt"}.get(work, work)]
    return {"overrides": {}, "load": {}, **found}


def prepare(work, source, epochs, train_batches):
    """`(model, data, where the weights are from)`."""
    import keras

    import kzoo

    how = recipe(work)
    folder = pathlib.Path(source) if source and pathlib.Path(source).is_dir() else None
    keras.utils.set_random_seed(0)
    if folder:
        model = kzoo.load(folder)
    else:
        model = kzoo.build(how["model"], **how["overrides"], **({"weights": source} if source else {}))
    options = {key: how["fit"][key] for key in ("batch_size", "augment") if key in how["fit"]} | how["load"]
    if folder and (folder / "tokenizer.json").is_file():
        options["tokenizer"] = folder / "tokenizer.json"
    elif work == "sentiment":
        import sentiment

        options["tokenizer"] = sentiment.make_tokenizer()
    data = kzoo.data.load(how["data"], model, seed=0, **options)
    if source:
        return model, data, str(pathlib.Path(source).name)
    fit = {**how["fit"], "epochs": epochs}
    if train_batches:
        from kzoo import tasks

        tasks.compile_model(model, "adam")
        model.fit(data.train.dataset.take(train_batches), epochs=epochs, shuffle=False, verbose=0)
        return model, data, f"trained here on {train_batches} batches an epoch, {epochs} epochs"
    kzoo.fit(model, data, seed=0, progress=False, **fit)
    usual = how["fit"]["epochs"]
    return model, data, f"trained here for {epochs} of the usual {usual} epochs"


def examples(model, part, count, length):
    """Test batches `(arrays in the order of the inputs, labels, weights)`, sequences filled up to `length`."""
    import numpy as np

    from kzoo.runtimes import samples

    batches, found = [], 0

    def fill(array):
        array = np.asarray(array)
        is_open = length and array.ndim > 1 and array.shape[1] < length
        return np.pad(array, [(0, 0), (0, length - array.shape[1])]) if is_open else array

    for x, y, *rest in part.dataset:
        y = np.asarray(y)
        weights = np.asarray(rest[0]) if rest else np.ones(y.shape, "float32")
        per_token = y.ndim > 1 and y.shape[1] > 1
        arrays = [fill(array) if length else np.asarray(array) for array in samples.flat(model, x)]
        batches.append((arrays, fill(y) if per_token else y, fill(weights) if per_token else weights))
        found += len(y)
        if found >= count:
            break
    return batches, found


def numbers(outputs, batches, characters_per_token):
    """Accuracy and, for a language model, bits per character of logits (one array a batch)."""
    import numpy as np

    right = total = cost = 0.0
    for logits, (_, y, weights) in zip(outputs, batches, strict=True):
        y, weights = y.reshape(logits.shape[:-1]), weights.reshape(logits.shape[:-1])
        right += float(np.sum(weights * (np.argmax(logits, -1) == y)))
        total += float(np.sum(weights))
        if characters_per_token:
            logits = logits.astype("float64")
            peak = logits.max(-1, keepdims=True)
            logs = np.log(np.exp(logits - peak).sum(-1)) + peak[..., 0]
            cost += float(np.sum(weights * (logs - np.take_along_axis(logits, y[..., None].astype(int), -1)[..., 0])))
    found = {"accuracy": right / total}
    if characters_per_token:
        found["bits_per_character"] = cost / total / math.log(2) / characters_per_token
    return found


def candidates(work, runtimes):
    """`(runtime, precision, ranges)` to measure, in the order of the table."""
    from kzoo.runtimes import choices

    for runtime in runtimes or [name for name in RUNTIMES if choices.is_installed(name)]:
        for ranges in choices.RUNTIMES[runtime].ranges:
            yield runtime, "int8", ranges
        if work == "shakespeare" and "int8_weights" in choices.RUNTIMES[runtime].precisions:
            yield runtime, "int8_weights", None


def measure(job):
    """One work in this process: `{"rows": [...]}`; a candidate that fails says why."""
    import keras

    import kzoo
    from kzoo.graph import longest_sequence
    from kzoo.runtimes import comparison

    model, data, origin = prepare(job["work"], job["source"], job["epochs"], job["train_batches"])
    length = min(longest_sequence(model), 128) if longest_sequence(model) else None
    batches, count = examples(model, data.test, job["examples"], length)
    characters = (data.characters_per_token or {}).get("test")
    before = numbers([comparison.outputs_of(model, arrays)[0] for arrays, _, _ in batches], batches, characters)
    common = {
        "work": job["work"],
        "model": model.kzoo.name,
        "data": data.name,
        "weights": origin,
        "num_examples": count,
        "length": length,
        "before": before,
    }
    rows = []
    for runtime, precision, ranges in candidates(job["work"], job["runtimes"]):
        row = {**common, "runtime": runtime, "precision": precision, "ranges": ranges}
        try:
            calibration = {"calibration": data} if precision == "int8" else {}
            quick = kzoo.fast(
                model, runtime=runtime, precision=precision, ranges=ranges, length=length, seconds=0.5, **calibration
            )
            pack = keras.tree.pack_sequence_as
            outputs = [keras.tree.flatten(quick(pack(model.input, arrays)))[0] for arrays, _, _ in batches]
            after = numbers(outputs, batches, characters)
            lost = before["accuracy"] - after["accuracy"]
            keep = {key: quick.report[key] for key in ("int8_coverage", "bytes", "speedup")}
            row |= {"after": after, "points_lost": round(100 * lost, 3), "reached": lost <= POINTS, **keep}
        except Exception as error:  # a candidate that fails says why; the others are measured
            row["error"] = failures.in_one_line(error)
        rows.append(row)
    return {"rows": rows}


def line(row):
    """One row for people."""
    what = " ".join(filter(None, (row["work"], row.get("runtime"), row.get("precision"), row.get("ranges"))))
    if "error" in row:
        return f"{what}: {row['error']}"
    kinds = (f"{key} {row['before'][key]:.4f} -> {row['after'][key]:.4f}" for key in row["before"])
    aim = "" if row["reached"] else ", more than one point lost"
    return f"{what}: {', '.join(kinds)}, int8 covers {100 * row['int8_coverage']:.0f} % of MACs{aim}"


def main(arguments=None):
    options = parse(arguments)
    output = pathlib.Path(options.output)
    document = harness.begin("int8", rows=[])
    common = {"epochs": options.epochs, "examples": options.examples, "train_batches": options.train_batches}
    with harness.interruptible(document):
        for work in options.work or WORKS:
            job = {"work": work, "source": options.sources.get(work), "runtimes": options.runtime, **common}
            found = harness.run_child(__file__, job, "tensorflow", "cpu", options.timeout)
            rows = found.get("rows") or [{"work": work, "error": found["error"]}]
            document["rows"] += rows
            for row in rows:
                harness.say(line(row))
            harness.store(document, output)  # what there is, should the next one be cut off
    return harness.publish(document, output)


if __name__ == "__main__":
    harness.main_or_job(main, measure)

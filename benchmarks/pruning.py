"""Accuracy against multiply-accumulates: resnet20 on Fashion-MNIST with weights made zero or filters removed.

    TFDS_DATA_DIR=FOLDER python benchmarks/pruning.py --weights resnet20.safetensors    # needs prepared fashion_mnist

Without --weights the network is first trained by the recipe `fashion` of recipes.py. Then every point starts from those
weights, is pruned and trains on for --epochs with the same choices; so does one that is not pruned. All are measured on
all test images, and at the end the latency of `predict_on_batch`, in turns. Zero weights make no layer smaller:
`nonzero_macs` counts what a runtime that skips them would do. The results go to pruning.json and pruning.png in
benchmarks/results; the last line of standard output is JSON that says where. Exit status: 0, 1 if a point failed, 2
for bad arguments, 130 after Ctrl-C.
"""

import pathlib
import sys
import time

import failures
import harness
from recipes import RECIPES

RESULTS = pathlib.Path(__file__).with_name("results")
RECIPE = RECIPES["fashion"]
FIT = {**RECIPE["fit"], "learning_rate": 0.02, "warmup_steps": 0}
# point -> choices of fit, keywords of prune_filters; the last zeros come at half of the run
POINTS = {
    "unpruned": ({}, None),
    "50 % of weights": ({"prune": 0.5, "prune_end": 0.5}, None),
    "80 % of weights": ({"prune": 0.8, "prune_end": 0.5}, None),
    "90 % of weights": ({"prune": 0.9, "prune_end": 0.5}, None),
    "2:4": ({"prune": "2:4", "prune_end": 0.5}, None),
    "filters to 75 % of MACs": ({}, {"macs": 0.75}),
    "filters to 50 % of MACs": ({}, {"macs": 0.5}),
    "filters to 30 % of MACs": ({}, {"macs": 0.3}),
    "inner filters to 50 % of MACs": ({}, {"macs": 0.5, "layers": "layer*.conv1"}),
}
BATCH_SIZES = (1, 64)


def load(model, seed, num_examples=None):
    """The recipe's data."""
    import kzoo

    options = {key: FIT[key] for key in ("batch_size", "augment")}
    chosen = {"num_examples": num_examples} if num_examples else {}
    return kzoo.data.load(RECIPE["data"], model, seed=seed, **options, **RECIPE["load"], **chosen)


def train(path, seed, epochs, num_examples):
    """Trains the network by its recipe and writes its weights."""
    import keras

    import kzoo

    keras.utils.set_random_seed(seed)
    model = kzoo.build(RECIPE["model"], **RECIPE["overrides"])
    choices = {**RECIPE["fit"], **({"epochs": epochs, "warmup_steps": 0} if epochs else {})}
    kzoo.fit(model, load(model, seed, num_examples), seed=seed, **choices)
    kzoo.save_weights(model, path)


def nonzero_macs(model):
    """Multiply-accumulates for one example whose weight is not zero."""
    import kzoo
    from kzoo.measure import measure

    shares = {row["name"]: 1 - row["sparsity"] for row in kzoo.sparsity(model)["layers"]}
    rows = measure(model, layers=True)["layers"]
    return round(sum((row["macs"] or 0) * shares.get(row["name"], 1.0) for row in rows))


def measure_point(name, arguments):
    """Prunes and trains one point; its row and its model."""
    import keras

    import kzoo
    from kzoo.measure import measure

    masks, filters = POINTS[name]
    begin = time.perf_counter()
    keras.utils.set_random_seed(arguments.seed)
    model = kzoo.build(RECIPE["model"], weights=arguments.weights, **RECIPE["overrides"])
    if filters:
        model = kzoo.prune_filters(model, **filters)
    data = load(model, arguments.seed, arguments.examples)
    before = 100 * kzoo.evaluate(model, data)["accuracy"]
    kzoo.fit(model, data, seed=arguments.seed, **{**FIT, "epochs": arguments.epochs, **masks})
    sparsity = kzoo.sparsity(model)
    row = {
        "point": name,
        "accuracy_percent": 100 * kzoo.evaluate(model, data)["accuracy"],
        "accuracy_before_training_percent": before,
        "sparsity": sparsity["sparsity"],
        "parameters": model.count_params(),
        "nonzero_parameters": model.count_params() - sparsity["zeros"],
        "macs": measure(model)["macs"],
        "nonzero_macs": nonzero_macs(model),
        "minutes": round((time.perf_counter() - begin) / 60, 2),
    }
    return row, model


def add_latencies(rows, models, rounds):
    """Milliseconds of `predict_on_batch`, the smallest of rounds in which the models take turns."""
    import numpy as np

    for batch_size in BATCH_SIZES:
        x = np.random.default_rng(0).normal(size=(batch_size, *RECIPE["overrides"]["input_shape"])).astype("float32")
        best = dict.fromkeys(models, float("inf"))
        for turn in range(rounds + 2):
            for name, model in models.items():
                begin = time.perf_counter()
                model.predict_on_batch(x)
                if turn >= 2:  # the first ones compile
                    best[name] = min(best[name], time.perf_counter() - begin)
        for row in rows:
            if row["point"] in best:
                row[f"latency_ms_batch_{batch_size}"] = round(1000 * best[row["point"]], 3)


def draw(path, rows):
    """Accuracy over the share of multiply-accumulates, filters and single weights as two curves."""
    from matplotlib.figure import Figure

    from kzoo.support import atomic

    whole = next((row["macs"] for row in rows if row["point"] == "unpruned"), max(row["macs"] for row in rows))
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    kinds = {
        "filters removed: the graph is smaller": (lambda name: name.startswith(("unpruned", "filters")), "macs", "o-"),
        "filters inside the blocks alone": (lambda name: name.startswith("inner"), "macs", "d"),
        "weights zero: a runtime must skip them": (lambda name: "filters" not in name, "nonzero_macs", "s--"),
    }
    for label, (belongs, key, style) in kinds.items():
        points = sorted((row[key] / whole, row["accuracy_percent"]) for row in rows if belongs(row["point"]))
        if points:
            axis.plot(*zip(*points, strict=True), style, label=label, markersize=5)
    for row in rows:
        key = "macs" if "filters" in row["point"] else "nonzero_macs"
        place = (row[key] / whole, row["accuracy_percent"])
        axis.annotate(row["point"], place, (0, -10), textcoords="offset points", fontsize=7, ha="center")
    axis.set_xlabel("multiply-accumulates, share of the unpruned network's")
    axis.set_ylabel("test accuracy, %")
    axis.set_title("resnet20 on Fashion-MNIST, pruned")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, loc="lower right")
    with atomic.file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def parse(arguments):
    parser = harness.OneLineParser(__doc__)
    positive = harness.positive(int)
    parser.add_argument(
        "points", nargs="*", metavar="POINT", help=f"all by default: {', '.join(POINTS)}".replace("%", "%%")
    )
    parser.add_argument("--weights", type=pathlib.Path, help="safetensors of the trained network; else it is trained")
    parser.add_argument("--epochs", type=positive, default=3, help="how long each point trains on (3)")
    parser.add_argument("--training-epochs", type=positive, help="without --weights, instead of the recipe's")
    parser.add_argument("--examples", type=positive, help="only so many training images, for a trial")
    parser.add_argument("--rounds", type=positive, default=30, help="rounds of the latency's measurement (30)")
    parser.add_argument("--seed", type=int, default=0, help="of the order and changes of images (0)")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "pruning.json", help="JSON; the PNG beside it")

    def check(options):
        harness.check_choices("point", options.points, tuple(POINTS))
        if options.weights and not options.weights.is_file():
            raise ValueError(f"--weights {options.weights}: no such file")

    return parser.parse(arguments, check)


def main(arguments=None):
    arguments = parse(arguments)
    what = {"model": RECIPE["model"], "data": RECIPE["data"], "examples": arguments.examples}
    document = harness.begin("pruning", **what, fit={**FIT, "epochs": arguments.epochs}, rows=[])
    rows, models = document["rows"], {}
    with harness.interruptible(document):
        if arguments.weights is None:
            arguments.weights = arguments.output.with_name("resnet20_fashion.safetensors")
            train(arguments.weights, arguments.seed, arguments.training_epochs, arguments.examples)
        for name in arguments.points or POINTS:
            try:
                row, models[name] = measure_point(name, arguments)
            except Exception as error:  # the other points are worth having
                row = {"point": name, "error": failures.in_one_line(error)}
            rows.append(row)
            print(
                {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True
            )
        add_latencies(rows, models, arguments.rounds)
    if models:
        draw(arguments.output.with_suffix(".png"), [row for row in rows if row["point"] in models])
    return harness.publish(document, arguments.output)


if __name__ == "__main__":
    sys.exit(main())

"""Fine-tuning on 200 real images beside training from scratch: resnet20, which knows classes 0 to 4, learns 5 to 9.

    TFDS_DATA_DIR=FOLDER python benchmarks/finetuning.py    # needs prepared fashion_mnist (or mnist, by --data)

A resnet20 is trained on the first five classes and saved. Then, for each seed, 200 images of the other five are learned
from random weights, and from the saved ones with the classifier alone, the last stage, or everything trained. All take
the same number of steps, each way with the learning rate that is best on 1,000 other training images, and are measured
on all test images of the five. The last line of standard output is one JSON
document, which --output also stores. Exit status 1 if no way of fine-tuning beats scratch.
"""

import json
import pathlib
import statistics
import sys
import tempfile
import time

import harness

NUM_IMAGES = 200
FIT = {"epochs": 40, "batch_size": 20, "schedule": "cosine", "optimizer": "adam"}
AUGMENT = {"fashion_mnist": "small_images_light", "mnist": "digits"}
RATES = (1e-3, 3e-3)
NUM_JUDGES = 1000  # other images of the new classes, on which the learning rate is chosen
# way -> choices of fit beside FIT
WAYS = {
    "from scratch": {},
    "classifier alone": {"train_from": "linear"},
    "last stage": {"train_from": "layer3"},
    "everything": {},
}


def images(name, split, new):
    """Images of the classes 0 to 4, or, `new`, of 5 to 9, labelled 0 to 4."""
    from kzoo.data.sources import prepared

    builder = prepared.find(name)
    x, y = prepared.read_arrays(builder, split, prepared.sizes(builder)[split])
    chosen = (y >= 5) == new
    return x[chosen], y[chosen] % 5


def build(seed, **weights):
    import keras

    import kzoo

    keras.utils.set_random_seed(seed)
    return kzoo.build("resnet20", input_shape=(28, 28, 1), num_classes=5, **weights)


def pretrain(name, folder, num_images, epochs):
    """Trains resnet20 on the first five classes and saves it; its test accuracy in percent."""
    import kzoo

    model = build(0)
    choices = {"batch_size": 128, "augment": AUGMENT[name]}
    x, y = images(name, "train", new=False)
    test = images(name, "test", new=False)
    data = kzoo.data.from_arrays(x[:num_images], y[:num_images], model, test=test, **choices)
    kzoo.fit(model, data, epochs=epochs, schedule="cosine", learning_rate=3e-3, **choices)
    kzoo.save(model, folder)
    return 100 * kzoo.evaluate(model, data)["accuracy"]


def fine_tune(name, way, weights, seed):
    """The row of the best learning rate: test accuracy in percent, minutes, the number of trained parameters."""
    import numpy as np

    import kzoo

    x, y = images(name, "train", new=True)
    order = np.random.default_rng(seed).permutation(len(x))
    chosen, judges = order[:NUM_IMAGES], order[NUM_IMAGES : NUM_IMAGES + NUM_JUDGES]

    def data(model, test):
        options = {"batch_size": FIT["batch_size"], "augment": AUGMENT[name], "seed": seed, "validation_fraction": 0}
        return kzoo.data.from_arrays(x[chosen], y[chosen], model, test=test, **options)

    best, rows = None, {}
    for rate in RATES:
        model = build(seed, **({} if way == "from scratch" else {"weights": weights, "load_head": False}))
        judged = data(model, (x[judges], y[judges]))
        begin = time.perf_counter()
        kzoo.fit(model, judged, seed=seed, augment=AUGMENT[name], learning_rate=rate, **FIT, **WAYS[way])
        minutes = (time.perf_counter() - begin) / 60
        rows[rate] = {"judged_percent": 100 * kzoo.evaluate(model, judged)["accuracy"], "minutes": round(minutes, 2)}
        if best is None or rows[rate]["judged_percent"] > rows[best[0]]["judged_percent"]:
            best = rate, model
    rate, model = best
    return {
        "test_accuracy_percent": 100 * kzoo.evaluate(model, data(model, images(name, "test", new=True)))["accuracy"],
        "learning_rate": rate,
        "by_learning_rate": rows,
        "trained_parameters": int(sum(np.prod(variable.shape) for variable in model.trainable_variables)),
    }


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--data", choices=sorted(AUGMENT), default="fashion_mnist", help="default: fashion_mnist")
    parser.add_argument("--seeds", type=harness.positive(int), default=3, help="how many choices of 200 images (3)")
    parser.add_argument(
        "--pretraining-images", type=harness.positive(int), default=20_000, help="how many known images (20,000)"
    )
    parser.add_argument(
        "--pretraining-epochs", type=harness.positive(int), default=2, help="how often each is seen (2)"
    )
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to store the results in")
    arguments = parser.parse(None)
    with tempfile.TemporaryDirectory() as folder:
        weights = pathlib.Path(folder) / "known"
        known = pretrain(arguments.data, weights, arguments.pretraining_images, arguments.pretraining_epochs)
        print(f"pretrained: {known:.1f} % of the test images of the known classes", flush=True)
        rows = {}
        for way in WAYS:
            rows[way] = [fine_tune(arguments.data, way, weights, seed) for seed in range(arguments.seeds)]
            print(f"{way}: {rows[way]}", flush=True)
    means = {way: statistics.mean(row["test_accuracy_percent"] for row in found) for way, found in rows.items()}
    result = {
        "command": " ".join(sys.argv),
        "data": arguments.data,
        "num_images": NUM_IMAGES,
        "fit": FIT,
        "ways": WAYS,
        "rates": RATES,
        "num_judges": NUM_JUDGES,
        "pretraining_test_accuracy_percent": known,
        "mean_test_accuracy_percent": means,
        "seeds": rows,
    }
    if arguments.output:
        from kzoo.support import atomic

        with atomic.file(arguments.output) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
    return 0 if max(means[way] for way in WAYS if way != "from scratch") > means["from scratch"] else 1


if __name__ == "__main__":
    sys.exit(main())

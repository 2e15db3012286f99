"""Trains the recipes whose results docs/results.md states, and prints each beside what it must reach.

    python benchmarks/recipes.py digits digits_augmented          # the data comes with the installation
    TFDS_DATA_DIR=FOLDER python benchmarks/recipes.py mnist blood_cells  # needs them prepared
    python benchmarks/recipes.py reverse_digits

    python benchmarks/recipes.py fashion_dcgan --features runs/resnet20  # a classifier of the same pictures

Each recipe runs once a seed in this process. The last line of standard output is one JSON document, which --output also
stores. Exit status 1 if a recipe misses what it must reach.
"""

import json
import pathlib
import statistics
import sys
import time

import harness
import numpy as np


def accuracy(model, data):
    """Test accuracy of a classifier in percent."""
    import kzoo

    return {"test_accuracy_percent": 100 * kzoo.evaluate(model, data)["accuracy"]}


def exact_match(model, data):
    """Share of test sources, in percent, whose greedily decoded target is right to the last token."""
    right, total = 0, 0
    for x, labels, weight in data.test.dataset:
        ids = greedy(model, data.tokenizer, x["encoder_token_ids"], x["encoder_padding_mask"], labels.shape[1])
        labels, weight = np.asarray(labels), np.asarray(weight)
        right += int(np.all((ids == labels) | (weight == 0), axis=1).sum())
        total += len(labels)
    return {"test_exact_match_percent": 100 * right / total}


def greedy(model, tokenizer, source, mask, length):
    """The most probable token, one position after another, (batch, length); recomputes all positions for each."""
    decoder = np.zeros((len(source), length + 1), "int32")
    decoder[:, 0] = tokenizer.start_id
    inputs = {"encoder_token_ids": source, "encoder_padding_mask": mask}
    for position in range(length):
        logits = model.predict_on_batch({**inputs, "decoder_token_ids": decoder[:, :-1]})
        decoder[:, position + 1] = np.argmax(logits[:, position], axis=-1)
    return decoder[:, 1:]


def bits_per_character(model, data):
    """What a character of validation and test texts costs a language model, whatever its tokens."""
    import kzoo

    return {
        f"{split}_bits_per_character": kzoo.evaluate(model, data, split)["bits_per_character"]
        for split in ("validation", "test")
    }


def precision(model, data):
    """Mean average precision on validation and test, in percent; draws four test images with what was found in them."""
    import kzoo
    from kzoo.tasks.object_detection import findings

    numbers = {}
    for split in ("validation", "test"):
        found = kzoo.evaluate(model, data, split)
        numbers.update({f"{split}_{key}_percent": 100 * found[key] for key in found if "precision" in key})
    picture = pathlib.Path(__file__).with_name("results") / f"{data.name}.png"
    findings.draw(picture, findings.pictures(data, "test", 4), findings.for_data(model, data, "test", 4))
    return numbers


def error_rates(model, data):
    """Word and character error rates on the test split, in percent: greedily, and by beams without and with a list of
    the words that the training transcripts have."""
    import kzoo

    words = {word for _, y in data.train.as_it_is().dataset for text in data.tokenizer.decode(np.asarray(y))
             for word in text.split()}  # fmt: skip
    ways = {"": None, "beams_": {"beam_width": 64}, "word_list_": {"beam_width": 64, "words": sorted(words)}}
    numbers = {"words_in_list": len(words)}
    for name, decoding in ways.items():
        found = kzoo.evaluate(model, data, decoding=decoding)
        numbers |= {f"test_{name}{key}_percent": 100 * value for key, value in found.items() if key.endswith("_rate")}
    return numbers


def speaker_left_out(name, model, seed=0, **options):
    """A set of TFDS without the speaker `seed` in training and validation; the test is all that this speaker said."""
    import kzoo
    from kzoo.data.sources import prepared

    builder, parts = prepared.find(name), {}
    clips, labels, speakers = [], [], []
    for split in prepared.sizes(builder):
        for row in prepared.records(builder, split, ["audio", "label", "speaker"]).as_numpy_iterator():
            clips.append(row["audio"].astype("int16"))
            labels.append(row["label"])
            speakers.append(row["speaker"])
    for part, speaks in (("test", True), ("train", False)):
        rows = np.flatnonzero((np.array(speakers) == seed) == speaks)
        parts[part] = [clips[row] for row in rows], np.array(labels)[rows]
    return kzoo.data.from_arrays(
        *parts["train"], model, test=parts["test"], class_names=builder.info.features["label"].names, seed=seed,
        name=f"{name} without speaker {seed}", **options,
    )  # fmt: skip


def distances(model, data, features):
    """How far generated pictures are from those of the test split; draws 64 of them."""
    import kzoo
    from kzoo import tasks

    tasks.of(model).generate_file(model, pathlib.Path(__file__).with_name("results") / f"{model.name}_{data.name}.png")
    found = kzoo.evaluate(model, data, features=features)
    return {key: found[key] for key in ("frechet_distance", "precision", "recall")}


def beside_one_layer(data, minutes, features):
    """The distances of a generator of one layer against the discriminator of `gan`, trained by as much work."""
    import kzoo

    parts = {"generator": {"hidden_dims": ()}, "discriminator": {}}
    model = kzoo.build("gan", **parts)
    data = kzoo.data.load(data.name, model, validation_fraction=0)
    run = kzoo.fit(model, data, epochs=10_000, callbacks=[StopAfter(minutes)])
    found = {f"one_layer_{key}": value for key, value in distances(model, data, features).items()}
    return {**found, "one_layer_epochs": len(run.history)}


def StopAfter(minutes):  # noqa: N802 a class, whose base is imported only here
    """A callback that ends a run with the first epoch after so many minutes of all processors together."""
    import keras

    class Stop(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.begin = time.process_time()

        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = time.process_time() - self.begin > 60 * minutes

    return Stop()


def recalls(model, data):
    """Recalls of texts and pictures in the test split, in percent, beside those of chance."""
    import kzoo

    found = kzoo.evaluate(model, data)
    return {f"test_{key}_percent": 100 * value for key, value in found.items() if "recall" in key}


MOVING_DIGITS = {
    "model": "r3d_small", "data": "moving_digits", "seeds": 1, "measure": accuracy,
    "fit": {
        "epochs": 1, "batch_size": 32, "optimizer": "adam", "learning_rate": 2e-3, "weight_decay": 0.0,
        "warmup_steps": 10,
    },
}  # fmt: skip
SPOKEN_DIGITS = {
    "model": "ds_cnn_s", "data": "spoken_digits", "measure": accuracy,
    "overrides": {"sample_rate": 8000, "num_classes": 10},
    "fit": {"epochs": 60, "batch_size": 32, "augment": "sounds"},
}  # fmt: skip
SMALL_RETINANET = {
    "backbone": "resnet18",
    "backbone_options": {"filters": 16},
    "filters": 64,
    "head_depth": 2,
    "anchor_sizes": (12, 32, 64),  # platelets, red cells and white cells of 15, 41 and 75 pixels
    "input_shape": (192, 256, 3),
    "num_classes": 3,
}

# name -> model, overrides of build, data, choices of fit, seeds, the measure, what must hold for the seeds' means
RECIPES = {
    "mnist": {
        "model": "mnist_cnn", "data": "mnist", "fit": {"epochs": 10, "batch_size": 64}, "seeds": 3,
        "measure": accuracy, "must": lambda mean: mean["test_accuracy_percent"] >= 99.0,
    },
    "digits": {
        "model": "mnist_cnn", "data": "digits", "fit": {"epochs": 10, "batch_size": 64}, "seeds": 3,
        "measure": accuracy, "must": lambda mean: mean["test_accuracy_percent"] >= 95.0,
    },
    "digits_augmented": {
        "model": "mnist_cnn", "data": "digits", "seeds": 3,
        "fit": {"epochs": 30, "augment": True, "schedule": "cosine"},
        "measure": accuracy, "must": lambda mean: mean["test_accuracy_percent"] >= 97.0,
    },
    "fashion": {
        "model": "resnet20", "overrides": {"input_shape": (28, 28, 1)}, "data": "fashion_mnist", "seeds": 3,
        # The decay is decoupled from the gradient: 0.002 does what 0.0002 does inside a momentum of 0.9.
        "fit": {
            "epochs": 13, "batch_size": 128, "optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.002,
            "schedule": "cosine", "warmup_steps": 400, "augment": "small_images_light",
        },
        "load": {"validation_fraction": 0.05},
        "measure": accuracy, "must": lambda mean: mean["test_accuracy_percent"] >= 93.0,
    },
    "fashion_dcgan": {
        "model": "dcgan_small", "data": "fashion_mnist", "seeds": 1, "load": {"validation_fraction": 0},
        "fit": {"epochs": 6, "batch_size": 64},
        "measure": distances, "beside": beside_one_layer,
        "must": lambda mean: mean["frechet_distance"] <= mean["one_layer_frechet_distance"] / 4,
    },
    "blood_cells": {
        "model": "retinanet", "overrides": SMALL_RETINANET, "data": "blood_cells", "seeds": 1,
        "fit": {"epochs": 30, "batch_size": 8, "learning_rate": 2e-3, "warmup_steps": 50, "augment": "detection"},
        "measure": precision, "must": lambda mean: mean["test_mean_average_precision_50_percent"] >= 80.0,
    },
    "reverse_digits": {
        "model": "transformer_tiny", "data": "reverse_digits", "seeds": 1,
        "fit": {"epochs": 12, "warmup_steps": 400, "learning_rate": 0.5, "label_smoothing": 0.0, "early_stopping": 4},
        "measure": exact_match, "must": lambda mean: mean["test_exact_match_percent"] >= 99.0,
    },
    "prompts_speech": {
        "model": "deepspeech2", "data": "prompts_speech", "seeds": 1,
        "overrides": {"sample_rate": 8000, "num_layers": 2, "hidden_dim": 256, "cell": "gru", "dropout": 0.2},
        "fit": {"epochs": 40, "batch_size": 16, "learning_rate": 2e-3, "warmup_steps": 100, "augment": "speech"},
        "measure": error_rates, "must": lambda mean: mean["test_character_error_rate_percent"] <= 35.0,
    },
    "spoken_digits": {**SPOKEN_DIGITS, "seeds": 1, "must": lambda mean: mean["test_accuracy_percent"] >= 98.0},
    # One seed a speaker, who is heard in the test alone.
    "spoken_digits_new_speaker": {
        **SPOKEN_DIGITS, "source": speaker_left_out, "seeds": 6,
        "must": lambda mean: mean["test_accuracy_percent"] >= 93.0,
    },
    "moving_digits": {**MOVING_DIGITS, "must": lambda mean: mean["test_accuracy_percent"] >= 97.0},
    # Where a digit is says nothing of where it goes: one of eight directions is right by chance in 12.5 %.
    "moving_digits_one_frame": {
        **MOVING_DIGITS, "overrides": {"input_shape": (1, 32, 32, 1)},
        "must": lambda mean: mean["test_accuracy_percent"] <= 16.0,
    },
    "splice_junctions": {
        "model": "deepsea_small", "data": "splice_junctions", "seeds": 3, "fit": {"augment": "junctions"},
        # 94.3: logistic regression
        "measure": accuracy, "must": lambda mean: mean["test_accuracy_percent"] >= 95.5,
    },
    "captions": {
        "model": "clip_small", "data": "emoji32+stamps_captions", "seeds": 1,
        "fit": {"epochs": 8, "batch_size": 128, "learning_rate": 2e-3, "warmup_steps": 20},
        # chance: 3.1
        "measure": recalls, "must": lambda mean: mean["test_text_recall_at_10_percent"] >= 6.3,
    },
    "shakespeare_gpt": {
        "model": "gpt2", "data": "shakespeare", "seeds": 1,
        "overrides": {
            "num_layers": 4, "hidden_dim": 160, "num_heads": 5, "vocabulary_size": 2000, "max_length": 128,
            "dropout": 0.0,
        },
        "fit": {"epochs": 2, "batch_size": 16, "learning_rate": 2e-3, "weight_decay": 0.1},
        # 2.41: 6-grams of characters with Witten-Bell smoothing
        "measure": bits_per_character, "must": lambda mean: mean["test_bits_per_character"] < 2.41,
    },
}  # fmt: skip


def run(name, num_seeds, epochs, runs=None, features=None):
    """Trains one recipe with its seeds; a dict of the measured means, each seed's numbers and the minutes."""
    import keras

    import kzoo

    recipe = RECIPES[name]
    choices = {**recipe["fit"], **({"epochs": epochs} if epochs else {})}
    rows, minutes = [], []
    for seed in range(num_seeds or recipe["seeds"]):
        keras.utils.set_random_seed(seed)
        model = kzoo.build(recipe["model"], **recipe.get("overrides", {}))
        options = {key: choices[key] for key in ("batch_size", "augment") if key in choices}
        load = recipe.get("source", kzoo.data.load)
        data = load(recipe["data"], model, seed=seed, **options, **recipe.get("load", {}))
        folder = runs and str(runs / f"{name}-{seed}")
        begin, work = time.perf_counter(), time.process_time()
        kzoo.fit(
            model, data, run_folder=folder, resume=bool(folder) and pathlib.Path(folder).exists(), seed=seed, **choices
        )
        minutes.append((time.perf_counter() - begin) / 60)
        work = (time.process_time() - work) / 60
        more = [features] if "beside" in recipe else []
        rows.append(recipe["measure"](model, data, *more))
        if more:
            rows[-1] |= {"processor_minutes": work, **recipe["beside"](data, work, features)}
        print(f"{name}, seed {seed}: {rows[-1]}, {minutes[-1]:.1f} min", flush=True)
    mean = {key: statistics.mean(row[key] for row in rows) for key in rows[0]}
    return {
        "recipe": name,
        "model": recipe["model"],
        "data": recipe["data"],
        "overrides": recipe.get("overrides", {}),
        "fit": choices,
        "load": recipe.get("load", {}),
        "mean": mean,
        "seeds": rows,
        "minutes": [round(m, 2) for m in minutes],
        "reached": bool(recipe["must"](mean)),
    }


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("recipes", nargs="+", choices=sorted(RECIPES), metavar="RECIPE", help=", ".join(RECIPES))
    parser.add_argument("--seeds", type=harness.positive(int), help="how many seeds, instead of the recipe's")
    parser.add_argument("--epochs", type=harness.positive(int), help="how many epochs, instead of the recipe's")
    parser.add_argument("--runs", type=pathlib.Path, help="keep runs in this folder, and go on where they stopped")
    parser.add_argument("--features", help="the run of a classifier, by whose features generated pictures are compared")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to add the results to")
    arguments = parser.parse(None)
    results = [
        run(name, arguments.seeds, arguments.epochs, arguments.runs, arguments.features) for name in arguments.recipes
    ]
    if arguments.output:
        store(arguments.output, results)
    print(json.dumps({"command": " ".join(sys.argv), "results": results}))
    return 0 if all(result["reached"] for result in results) else 1


def store(path, results):
    """Adds results to a JSON file of results by recipe, replacing earlier ones of the same recipe."""
    from kzoo.support import atomic

    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept.update({result["recipe"]: result for result in results})
    with atomic.file(path) as temporary:
        temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

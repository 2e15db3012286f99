"""A classifier's network with another loss: numbers, and labels that hold together, for every kind of input."""

import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras import ops

import kzoo
from kzoo import tasks
from kzoo.cli.commands import cli
from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

SMALL = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 8, "vocabulary_size": 40}
QUICK = {"schedule": "constant", "warmup_steps": 0, "progress": False}
TEXTS = [f"a {word} film {place}" for place in range(20) for word in ("good", "bad")]
MODELS = {
    "images": ("cnn", {"input_shape": (8, 8, 1), "filters": (2,), "hidden_dim": 4}),
    "numbers": ("mlp", {"input_shape": (5,), "hidden_dims": (4,)}),
    "sequences": ("rnn_gru", {"units": 4, "num_features": 3}),
    "texts": ("bert_tiny", {**SMALL, "head": "classification"}),
}


def make(kind, task, num_classes):
    keras.utils.set_random_seed(0)
    name, sizes = MODELS[kind]
    return kzoo.build(name, task=task, num_classes=num_classes, **sizes)


def fed(model, kind, y, **options):
    if kind == "texts":
        return kzoo.data.from_texts(TEXTS, y, model, tokenizer="characters", **options)
    x, _, _ = synthetic_batch(model, len(y), sequence_length=6)
    return kzoo.data.from_arrays(x, y, model, **options)


@pytest.mark.parametrize("kind", ["images", "sequences", "texts"])
def test_numbers_are_learned_saved_and_exported(kind, tmp_path):
    y = np.random.default_rng(0).normal(3, 1, (40, 2))
    model = make(kind, "regression", 2)
    data = fed(model, kind, y, batch_size=8, class_names=["width", "height"])
    run = kzoo.fit(model, data, tmp_path / "run", epochs=2, learning_rate=0.05, **QUICK)
    assert run.history[1]["loss"] < run.history[0]["loss"]
    again = kzoo.load(tmp_path / "run")
    assert again.kzoo.task == "regression" and again.kzoo.class_names == ["width", "height"]
    x = data.validation.examples(range(3))[0]
    found = kzoo.predict(again, keras.tree.map_structure(np.asarray, x))
    np.testing.assert_allclose(found, ops.convert_to_numpy(model(x, training=False)), rtol=1e-4, atol=1e-5)
    numbers = kzoo.evaluate(again, data, "validation")
    wanted = np.asarray(data.validation.examples(range(data.validation.num_examples))[1])
    errors = ops.convert_to_numpy(model.predict(data.validation.dataset, verbose=0)) - wanted
    np.testing.assert_allclose(numbers["loss"], np.mean(errors**2), rtol=1e-4)
    np.testing.assert_allclose(numbers["mean_absolute_error"], np.mean(abs(errors)), rtol=1e-4)
    task = tasks.of(again)
    row = task.rows_of_data(again, data, "validation", 1)[0]
    assert row["target"].keys() == row["values"].keys() == {"width", "height"}
    np.testing.assert_allclose(list(row["target"].values()), wanted[0], rtol=1e-5)
    assert task.line(row).startswith("0: width ") and "(wanted width " in task.line(row)
    if kind == "texts":
        line = ["predict", str(tmp_path / "run"), "a good film", "--json"]
        (row,) = json.loads(CliRunner().invoke(cli, line, catch_exceptions=False).stdout)
        assert row["text"] == "a good film" and row["values"].keys() == {"width", "height"}


def test_a_server_gets_the_numbers(tmp_path):
    import tensorflow as tf

    model = make("images", "regression", 1)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), "uint8")
    report = kzoo.export(model, tmp_path / "export")
    assert report["signatures"]["serve_images"]["outputs"] == {"values": "float32 (None, 1)"}
    served = tf.saved_model.load(tmp_path / "export").signatures["serve_images"](images=tf.constant(images))
    np.testing.assert_allclose(served["values"], kzoo.predict(model, images), atol=1e-5)
    report = kzoo.export(model, tmp_path / "litert", "litert", with_preprocessing=True)
    assert report["signatures"]["serve"]["outputs"] == {"values": "float32 (None, 1)"}
    with pytest.raises(ValueError, match="numbers are neither right nor wrong"):
        kzoo.export(model, tmp_path / "other", data=fed(model, "images", np.ones(40)))


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_labels_that_hold_together(kind, tmp_path):
    names = [["good"], ["bad", "long"], [], ["long"]] * 10
    model = make(kind, "multilabel_classification", 3)
    data = fed(model, kind, names, batch_size=8)
    assert data.class_names == ["bad", "good", "long"]
    rows = np.asarray(data.train.as_it_is().examples(range(4))[1])
    assert rows.shape == (4, 3) and {tuple(row) for row in rows} <= {(0, 1, 0), (1, 0, 1), (0, 0, 0), (0, 0, 1)}
    kzoo.fit(model, data, tmp_path / "run", epochs=1, **QUICK)
    again = kzoo.load(tmp_path / "run")
    numbers = kzoo.evaluate(again, data, "validation")
    targets = np.concatenate([y for _, y in data.validation.dataset.as_numpy_iterator()])
    logits = model.predict(data.validation.dataset, verbose=0)
    chances = 1 / (1 + np.exp(-logits.astype("float64")))
    np.testing.assert_allclose(numbers["accuracy"], np.mean((chances > 0.5) == targets), rtol=1e-5)
    loss = -np.mean(targets * np.log(chances) + (1 - targets) * np.log(1 - chances))
    np.testing.assert_allclose(numbers["loss"], loss, rtol=1e-4)
    hits = ((chances > 0.5) & (targets == 1)).sum(0)
    counted = (chances > 0.5).sum(0) + (targets == 1).sum(0)
    np.testing.assert_allclose(numbers["macro_f1"], np.mean(2 * hits / np.maximum(counted, 1)), rtol=1e-5)
    assert 0 <= numbers["macro_average_precision"] <= 1
    x = keras.tree.map_structure(np.asarray, data.validation.examples(range(2))[0])
    found = kzoo.predict(again, x)
    np.testing.assert_allclose(found, chances[:2], atol=1e-5)  # each label for itself: rows do not sum to 1
    row = tasks.of(again).rows_of_data(again, data, "validation", 1)[0]
    assert row["labels"] == [name for name, chance in zip(data.class_names, chances[0], strict=True) if chance > 0.5]
    assert row["target"] == [name for name, one in zip(data.class_names, targets[0], strict=True) if one]


def test_an_export_says_how_many_labels_stay_right(tmp_path):
    model = make("images", "multilabel_classification", 3)
    data = fed(model, "images", np.random.default_rng(0).integers(0, 2, (40, 3)))
    for where, how in (("plain", {}), ("pixels", {"with_preprocessing": True})):
        report = kzoo.export(model, tmp_path / where, "litert", data=data, **how)
        numbers = kzoo.evaluate(model, data, "validation")
        assert report["accuracy"]["before"] == pytest.approx(numbers["accuracy"], abs=1e-6)
        assert report["accuracy"]["agreement"] > 0.9
    assert report["signatures"]["serve"]["outputs"] == {"probabilities": "float32 (None, 3)"}


def test_the_command_line_builds_one(tmp_path):
    line = ["train", "mlp", "--set", "task=regression", "--set", "num_classes=1", "--set", "input_shape=(4,)"]
    line += ["--epochs", "1", "--quiet", "--run-folder", str(tmp_path / "run")]
    done = CliRunner().invoke(cli, line, catch_exceptions=False)
    assert "mean_absolute_error" in done.stdout
    np.save(tmp_path / "rows.npy", np.ones((2, 4), "float32"))
    line = ["predict", str(tmp_path / "run"), str(tmp_path / "rows.npy")]
    assert len(CliRunner().invoke(cli, line, catch_exceptions=False).stdout.splitlines()) == 2


def test_auxiliary_heads_learn_the_same_numbers():
    model = kzoo.build("googlenet", auxiliary=True, num_classes=2, input_shape=(64, 64, 3), task="regression")
    _, y, _ = synthetic_batch(model, 2)
    assert len(y) == 3 and y[0].shape == (2, 2) and all((one == y[0]).all() for one in y)


@pytest.mark.parametrize(
    "name, overrides, message",
    [
        ("resnet20", {"task": "regresion"}, "unknown task 'regresion'; did you mean regression"),
        ("resnet20", {"task": "regression", "num_classes": 0}, "resnet20 is for feature_extraction, whose outputs"),
        ("bert", {"task": "regression"}, "cannot learn; pass head='classification'"),
        ("gpt2", {"task": "regression"}, "gpt2 is for language_modeling, whose outputs"),
        ("mnist_cnn", {"task": "regression"}, "ends in a softmax"),
    ],
)
def test_a_task_that_a_model_cannot_have_is_refused(name, overrides, message):
    with pytest.raises(ValueError, match=message):
        kzoo.build(name, **overrides)


def test_the_catalogue_finds_them():
    assert "resnet20" in kzoo.list_models(task="regression") and "gpt2" not in kzoo.list_models(task="regression")


@pytest.mark.parametrize(
    "task, y, message",
    [
        ("regression", np.ones(40), r"have shape \(40,\); the model gives 2 numbers .* num_classes=1"),
        ("regression", np.ones((40, 3)), "build it with num_classes=3"),
        ("regression", np.full((40, 2), 1e300), "contains NaN or infinity"),
        ("regression", ["cat", "dog"] * 20, "are words, such as 'cat'; the model learns numbers"),
        ("multilabel_classification", np.full((40, 2), 0.5), "example 0 holds 0.5; wanted 1"),
        ("multilabel_classification", ["cat", "dog"] * 20, "example 0 is 'cat'; wanted a list of the names"),
        ("multilabel_classification", [["cat"], ["dog"], ["eel"], []] * 10, "3 classes are named .* has 2"),
    ],
)
def test_targets_that_do_not_fit_are_refused(task, y, message):
    model = make("numbers", task, 2)
    with pytest.raises(ValueError, match=message):
        kzoo.data.from_arrays(np.ones((40, 5), "float32"), y, model)


def test_smoothing_and_named_classes_are_for_classes():
    model = make("images", "regression", 1)
    with pytest.raises(ValueError, match="label_smoothing=0.1 is for classes"):
        kzoo.fit(model, fed(model, "images", np.ones(40)), epochs=1, label_smoothing=0.1, progress=False)
    with pytest.raises(ValueError, match="'label' is a class, and regression learns numbers"):
        kzoo.data.load("digits", model)


def test_words_become_classes():
    x = np.random.default_rng(0).random((40, 5), "float32")
    model = kzoo.build("mlp", input_shape=(5,), hidden_dims=(4,), num_classes=2)
    data = kzoo.data.from_arrays(x, ["dog", "cat"] * 20, model, test=(x[:2], np.array(["cat", "dog"])))
    assert data.class_names == ["cat", "dog"] and data.test.examples([0, 1])[1].numpy().tolist() == [0, 1]
    kzoo.fit(model, data, epochs=1, progress=False)
    again = kzoo.data.from_arrays(x, ["dog"] * 40, model)  # the names that the model knows
    assert again.train.examples([0])[1].numpy().tolist() == [1]
    with pytest.raises(ValueError, match="unknown class 'cow'; wanted cat, dog"):
        kzoo.data.from_arrays(x, ["cow"] * 40, model)
    with pytest.raises(ValueError, match="1 classes are named .* build it with num_classes=1"):
        kzoo.data.from_arrays(x, ["dog"] * 40, kzoo.build("mlp", input_shape=(5,), num_classes=2))

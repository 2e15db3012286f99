"""Training: recipes and what they compute, bad input refused before the first step, NaN stopped, the files of a run."""

import csv
import json
import math
import os
import sys

import keras
import numpy as np
import pytest
import small_runs
from small_runs import Stop, make, make_translator, run

import kzoo
from kzoo import tasks
from kzoo.catalog import Card
from kzoo.data import from_arrays
from kzoo.data.tokenizing.tokenizers import Tokenizer
from kzoo.training import NonFiniteError, Recipe, TransformerSchedule, backup, execution
from kzoo.training.recipe import make_optimizer, make_recipe

CONSTANT = {"schedule": "constant", "warmup_steps": 0}


def weights(model):
    return [keras.ops.convert_to_numpy(variable.value) for variable in model.weights]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# Recipes


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 2.0}, TypeError, "epochs must be an int, got 2.0"),
        ({"epochs": True}, TypeError, "epochs must be a number, got True"),
        ({"epochs": None}, TypeError, "epochs must be an int, got None"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": -1}, ValueError, "batch_size must be at least 1, got -1"),
        ({"batch_size": "64"}, TypeError, "batch_size must be an int, got '64'"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be a finite number above 0, got 0"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be a finite number above 0, got -1.0"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be a finite number above 0, got nan"),
        ({"learning_rate": math.inf}, ValueError, "learning_rate must be a finite number above 0, got inf"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number, got 'fast'"),
        ({"momentum": 1.0}, ValueError, "momentum must be from 0 up to but not including 1, got 1.0"),
        ({"beta_2": 1}, ValueError, "beta_2 must be from 0 up to but not including 1, got 1"),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing must be from 0 up to but not including 1, got -0.1"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be at least 0, got -1"),
        ({"clip_norm": 0.0}, ValueError, "clip_norm must be a finite number above 0, got 0.0"),
        ({"early_stopping": 0}, ValueError, "early_stopping must be at least 1, got 0"),
        ({"seed": 2**31}, ValueError, "seed must be at least 0 and at most 2147483647"),
        ({"optimizer": "adamm"}, ValueError, "optimizer must be one of adam, adamw, sgd, got 'adamm'"),
        ({"schedule": None}, ValueError, "schedule must be one of constant, cosine, transformer, got None"),
        ({"schedule": "transformer"}, ValueError, "warmup_steps must be at least 1 for schedule='transformer'"),
        ({"augment": 1}, TypeError, "augment must be True or False, got 1"),
        ({"prune": "4:2"}, ValueError, "such as '2:4', got '4:2'"),
        ({"learning_rat": 1e-3}, TypeError, "unknown training option 'learning_rat'; did you mean learning_rate"),
    ],
)
def test_bad_choices_are_refused_before_data_is_read(choices, error, words, tmp_path):
    model = kzoo.build("mlp", hidden_dims=(4,))
    with pytest.raises(error) as caught:
        kzoo.fit(model, "no such data set", tmp_path / "run", **choices)
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_every_task_and_optimizer_has_a_recipe_that_works():
    model = kzoo.build("mlp", hidden_dims=(4,))
    for name in tasks.names():
        assert make_recipe(tasks.find(name).recipe, {}).epochs >= 1
    for optimizer in ("adam", "adamw", "sgd"):
        for weight_decay in (0, 0.0, 0.01):
            made = make_optimizer(Recipe(optimizer=optimizer, weight_decay=weight_decay), model, 100)
            assert (made.weight_decay or 0) == weight_decay


# What is computed


def rates(recipe, num_steps, steps, name="mlp", **overrides):
    schedule = make_optimizer(recipe, kzoo.build(name, **overrides), num_steps)._learning_rate
    return [float(schedule(step)) for step in steps]


def test_transformer_schedule_is_equation_3():
    """The k-th update, from 1, uses d^-0.5 min(k^-0.5, k warmup^-1.5); Vaswani et al. 2017, base model."""
    schedule = TransformerSchedule(512, 4000)
    for step, expected in [(1, 1.7469e-7), (100, 1.7469e-5), (4000, 6.9877e-4), (16000, 3.4939e-4), (10**5, 1.3975e-4)]:
        assert float(schedule(step - 1)) == pytest.approx(expected, rel=1e-4)
        assert expected == pytest.approx(512**-0.5 * min(step**-0.5, step * 4000**-1.5), rel=1e-4)
    recipe = Recipe(schedule="transformer", warmup_steps=4000, learning_rate=2.0)
    assert rates(recipe, 10, [3999], "transformer_tiny") == pytest.approx([2 * 128**-0.5 * 4000**-0.5], rel=1e-5)
    with pytest.raises(ValueError, match="needs a model with a token embedding; mlp has none"):
        rates(recipe, 10, [0])


def test_cosine_and_constant_schedules():
    cosine = Recipe(schedule="cosine", learning_rate=0.4, warmup_steps=10)
    expected = [0.0, 0.2, 0.4, 0.2 + 0.2 * math.cos(math.pi / 4), 0.2, 0.0, 0.0]
    assert rates(cosine, 110, [0, 5, 10, 35, 60, 110, 500]) == pytest.approx(expected, abs=1e-7)
    cold = Recipe(schedule="cosine", learning_rate=0.4)
    assert rates(cold, 100, [0, 50, 100]) == pytest.approx([0.4, 0.2, 0], abs=1e-7)
    warm = Recipe(learning_rate=0.4, warmup_steps=10)
    assert rates(warm, 110, [0, 5, 10, 60, 110, 500]) == pytest.approx([0, 0.2, 0.4, 0.4, 0.4, 0.4], rel=1e-6)
    with pytest.raises(ValueError, match="warmup_steps 100 leaves nothing of the 100 steps"):
        rates(Recipe(schedule="cosine", warmup_steps=100), 100, [0])


@pytest.mark.parametrize("from_logits", [True, False])
def test_label_smoothing_against_numpy(from_logits):
    random = np.random.default_rng(0)
    logits = random.normal(size=(6, 5)).astype("float32")
    labels, weight = random.integers(0, 5, 6), np.array([1, 1, 0, 2, 1, 0], "float32")
    probabilities = np.exp(logits.astype("float64"))
    probabilities /= probabilities.sum(-1, keepdims=True)
    targets = 0.9 * np.eye(5)[labels] + 0.1 / 5
    losses = -(targets * np.log(probabilities)).sum(-1)
    given = logits if from_logits else probabilities.astype("float32")
    loss = tasks.SparseCrossEntropy(from_logits, 0.1)(labels, given, sample_weight=weight)
    assert float(loss) == pytest.approx((losses * weight).sum() / weight.sum(), rel=1e-5)


def two_heads():
    """A classifier with an auxiliary head."""
    image = keras.Input((6,), name="numbers")
    x = keras.layers.Dense(8, name="fc1")(image)
    heads = [keras.layers.Dense(3, name="fc")(x), keras.layers.Dense(3, name="aux")(image)]
    model = keras.Model(image, heads, name="two heads")
    model.kzoo = Card("two heads", task="image_classification")
    return model


def smoothed(logits, labels, share):
    """The mean cross-entropy with a share of the target spread over all classes."""
    log_shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    own = log_shares[np.arange(len(labels)), labels]
    return -((1 - share) * own + share * log_shares.mean(-1)).mean()


def test_label_smoothing_reaches_every_head():
    model, labels = two_heads(), np.array([0, 2, 1, 1])
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    tasks.compile_model(model, label_smoothing=0.4)
    first, second = (np.asarray(one, np.float64) for one in model(x))
    wanted = smoothed(first, labels, 0.4) + 0.3 * smoothed(second, labels, 0.4)
    assert float(model.compute_loss(x, [labels] * 2, model(x))) == pytest.approx(wanted, rel=1e-5)


def test_label_smoothing_of_two_classes():
    model = kzoo.build("perceptron", num_features=6)
    x, labels = np.random.default_rng(0).normal(size=(4, 6)).astype("float32"), np.array([[0.0], [1], [1], [0]])
    tasks.compile_model(model, label_smoothing=0.4)
    chance = 1 / (1 + np.exp(-np.asarray(model(x), np.float64)))
    targets = 0.6 * labels + 0.2
    wanted = -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance)).mean()
    assert float(model.compute_loss(x, labels, model(x))) == pytest.approx(wanted, rel=1e-5)


def test_a_run_follows_its_label_smoothing():
    choices = {"optimizer": "sgd", "schedule": "constant", "warmup_steps": 0, "learning_rate": 1e-12, "epochs": 1}
    model, data = make(augment=False)
    x, labels = (np.asarray(part) for part in data.train.examples(np.arange(200)))
    done = run(None, (model, data), label_smoothing=0.4, weight_decay=0.0, **choices)
    wanted = smoothed(np.asarray(model(x), np.float64), labels, 0.4)
    assert done.history[0]["loss"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_weight_decay_of_vectors(decay_vectors):
    """Without a gradient, weights shrink by rate x decay, or stay."""
    model = kzoo.build("mlp", hidden_dims=(4,))
    for weight in model.trainable_variables:
        weight.assign(weight * 0 + 1)
    recipe = Recipe(optimizer="adamw", learning_rate=0.5, weight_decay=0.1, decay_vectors=decay_vectors)
    optimizer = make_optimizer(recipe, model, 10)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    found = {len(weight.shape): float(np.mean(weight)) for weight in model.trainable_variables}
    assert found == pytest.approx({2: 0.95, 1: 0.95 if decay_vectors else 1.0}, rel=1e-6)


def test_clip_norm_bounds_the_update():
    """Plain gradient descent with a rate of 1 moves the weights by exactly the clipped gradient."""

    def update(clip_norm):
        model, data = make(num_examples=16, augment=False)
        before = weights(model)
        run(None, (model, data), optimizer="sgd", momentum=0.0, weight_decay=0.0, learning_rate=1.0, epochs=1,
            clip_norm=clip_norm, **CONSTANT)  # fmt: skip
        moved = [after - start for after, start in zip(weights(model), before, strict=True)]
        return math.sqrt(sum(np.sum(difference**2, dtype="float64") for difference in moved))

    free = update(None)
    assert free > 0.1
    assert update(free / 10) == pytest.approx(free / 10, rel=1e-3)
    assert update(free * 10) == pytest.approx(free, rel=1e-5)


def test_equal_seeds_give_equal_runs_and_others_do_not(tmp_path):
    def trained(name, seed):
        result = run(tmp_path / name, make(seed=seed), seed=seed, epochs=2)
        return (tmp_path / name / "weights.safetensors").read_bytes(), [row["loss"] for row in result.history]

    first, again, other = trained("first", 0), trained("again", 0), trained("other", 1)
    assert first == again
    assert first[0] != other[0] and first[1] != other[1]


def test_epochs_differ_in_order_and_augmentation():
    _, data = make()
    x, y = zip(*[next(iter(data.train.epoch(epoch))) for epoch in (0, 1)], strict=True)
    assert not np.array_equal(y[0], y[1])
    first, second = (
        dict(zip(data.train.example_ids(epoch)[:16], images.numpy(), strict=True)) for epoch, images in enumerate(x)
    )
    both = first.keys() & second.keys()
    assert both and not any(np.array_equal(first[i], second[i]) for i in both)


# Input


def test_empty_and_too_small_data(tmp_path):
    model = kzoo.build("mlp", hidden_dims=(4,))
    images, labels = np.zeros((5, 28, 28, 1), "uint8"), np.arange(5)
    with pytest.raises(ValueError, match="no training examples"):
        from_arrays(images[:0], labels[:0], model)
    with pytest.raises(ValueError, match="no training examples: a split has 5 and the batch size is 64"):
        from_arrays(images, labels, model, drop_remainder=True, validation_fraction=0.0)
    data = from_arrays(images, labels, model, validation_fraction=0.0)
    result = kzoo.fit(model, data, epochs=1, progress=False)  # the last batch is kept, so 5 examples are a step
    assert math.isfinite(result.history[0]["loss"])
    with pytest.raises(ValueError, match="early_stopping needs validation data, and arrays has none"):
        kzoo.fit(model, data, tmp_path / "run", early_stopping=1)
    assert not (tmp_path / "run").exists()


def test_loaded_data_settles_its_choices():
    model, data = make()
    with pytest.raises(ValueError, match="loaded with batch_size=16 and fit is asked for batch_size=32"):
        kzoo.fit(model, data, batch_size=32)
    with pytest.raises(ValueError, match="loaded with augment=True and fit is asked for augment=False"):
        kzoo.fit(model, data, augment=False)


def test_a_model_that_is_not_of_the_catalogue():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="was not built by kzoo.build"):
        kzoo.fit(model)


def test_the_run_folder_is_checked_first(tmp_path):
    made = make()
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ValueError, match="cannot write to .*file.*; name another folder"):
            run(folder, made)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="work is not empty; resume the run in it"):
        run(tmp_path / "work", made)
    with pytest.raises(ValueError, match="work is not empty and holds no training run"):
        run(tmp_path / "work", made, overwrite=True)
    assert (tmp_path / "work" / "thesis.tex").read_text() == "mine"


# What is left


def test_a_run_folder(tmp_path):
    folder = tmp_path / "run"
    model, data = make()
    result = run(folder, (model, data), epochs=2)
    assert result.folder == folder and result.kept_epoch == 2
    assert sorted(path.name for path in folder.iterdir()) == [
        backup.PREVIOUS, backup.FILE, "curve.png", "history.csv", "history.json", "model.json", "run.json",
        "tensorboard", "weights.safetensors",
    ]  # fmt: skip
    rows = json.loads((folder / "history.json").read_text())
    assert rows == result.history and [row["epoch"] for row in rows] == [1, 2]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"} < rows[0].keys()
    with open(folder / "history.csv", newline="") as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == [row["loss"] for row in rows]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert same(weights(kzoo.load(folder)), weights(model))
    check_events(folder / "tensorboard", rows)
    with pytest.raises(ValueError, match="is not empty"):
        run(folder, make())
    with pytest.raises(ValueError, match="pass one of them"):
        run(folder, make(), resume=True, overwrite=True)
    with pytest.raises(ValueError, match="warmup_steps 999 leaves nothing"):
        run(folder, make(), overwrite=True, warmup_steps=999)
    assert same(weights(kzoo.load(folder)), weights(model))
    assert len(run(folder, make(), overwrite=True, epochs=1).history) == 1


def check_events(folder, rows):
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for kind, key in (("train", "loss"), ("validation", "val_loss")):
        events = EventAccumulator(str(folder / kind))
        events.Reload()
        assert "loss" in events.Tags()["tensors"]
        points = {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("loss")}
        assert points == pytest.approx({row["epoch"]: row[key] for row in rows})


def test_a_run_of_texts_keeps_its_tokenizer(tmp_path):
    model, data = make_translator()
    run(tmp_path / "run", (model, data), epochs=1, backup_steps=None, **CONSTANT)
    assert same(weights(model), weights(kzoo.load(tmp_path / "run")))
    assert Tokenizer.load(tmp_path / "run" / "tokenizer.json").digest == data.tokenizer.digest


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    made = make()
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir(os.environ["TFDS_DATA_DIR"]))
    assert run(None, made, epochs=1).folder is None
    assert list(tmp_path.iterdir()) == []
    assert sorted(os.listdir(os.environ["TFDS_DATA_DIR"])) == before


# NaN and exceptions


BLOW_UP = {"optimizer": "sgd", "weight_decay": 0.0, "learning_rate": 1e30, **CONSTANT}


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    folder = tmp_path / "run"
    model, data = make()
    initial = weights(model)
    with pytest.raises(NonFiniteError) as caught:
        run(folder, (model, data), **BLOW_UP)
    ids = data.train.example_ids(0)
    assert "in epoch 1, step " in str(caught.value) and "(learning rate 1e+30, examples " in str(caught.value)
    assert any(f"examples {', '.join(map(str, ids[i : i + 4]))}, ..." in str(caught.value) for i in range(0, 200, 16))
    assert f"the last good state (epoch 0, step 0) is kept in {folder}" in str(caught.value)
    assert same(weights(model), initial)
    assert not (folder / "weights.safetensors").exists()
    result = run(folder, make(), resume=True, force=True, **{**BLOW_UP, "learning_rate": 0.01})
    assert all(math.isfinite(row["loss"]) for row in result.history)


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path):
    """The loss of the last step is still finite when its update ruins a weight."""
    folder = tmp_path / "run"
    model, data = make()

    def ruin():
        model.trainable_variables[0].assign(model.trainable_variables[0] * math.nan)

    with pytest.raises(NonFiniteError, match=r"weight \S+ is not finite in epoch 2, step 13 \(learning rate"):
        run(folder, (model, data), callbacks=[Stop(ruin, 2, small_runs.NUM_BATCHES)])
    state = backup.read_state(folder)[1]
    assert (state["epoch"], state["step"]) == (1, 12)
    assert all(np.isfinite(array).all() for array in weights(model) + weights(kzoo.load(folder)))
    with pytest.raises(NonFiniteError, match="no run folder was given"):
        run(None, (model, data), callbacks=[Stop(ruin, 1, 3)])


def test_inputs_that_overflow(tmp_path):
    model = kzoo.build("perceptron")
    x = np.full((32, 784), 3e38, "float32")
    data = from_arrays(x, np.arange(32) % 2, model, validation_fraction=0.0)
    with pytest.raises(NonFiniteError, match="the loss became (nan|inf) in epoch 1, step 1 "):
        kzoo.fit(model, data, tmp_path / "run", epochs=2, progress=False)


def test_a_validation_loss_that_is_not_finite_is_null_and_never_the_best(tmp_path):
    class Infinite(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 0:
                logs["val_loss"] = math.nan

    result = run(tmp_path / "run", callbacks=[Infinite()], early_stopping=3)
    assert result.kept_epoch > 1 and math.isnan(result.history[0]["val_loss"])
    assert json.loads((tmp_path / "run" / "history.json").read_text())[0]["val_loss"] is None
    assert "nan" not in (tmp_path / "run" / "history.csv").read_text()


def test_nan_on_the_command_line_is_one_line_and_exit_1(tmp_path, capfd, monkeypatch):
    import kzoo.cli.commands

    arguments = ["--optimizer", "sgd", "--learning-rate", "1e30", "--quiet", "--no-tensorboard"]
    monkeypatch.setattr(sys, "argv", ["kzoo", "train", "mlp", "--run-folder", str(tmp_path / "run"), *arguments])
    with pytest.raises(SystemExit) as caught:
        kzoo.cli.commands.main()
    errors = capfd.readouterr().err
    assert caught.value.code == 1
    assert errors.startswith("kzoo: the loss became ") and errors.count("\n") == 1, errors


def test_mixed_float16_scales_the_loss_and_skips_steps_that_overflow(tmp_path):
    model, data = make(dtype="mixed_float16")

    class TooLarge(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.model.optimizer.dynamic_scale.assign(2.0**40)

    result = run(tmp_path / "run", (model, data), callbacks=[TooLarge()], optimizer="adam", **CONSTANT)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert float(model.optimizer.dynamic_scale.value) < 2.0**40
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_an_exception_in_the_data_is_the_users_own(tmp_path, monkeypatch):
    import tensorflow as tf

    model, data = make()
    epoch = data.train.epoch

    def broken(number, skip_batches=0):
        def check(x, y):
            tf.debugging.assert_less(number, 1, "row 17 is broken")
            return x, y

        return epoch(number, skip_batches).map(check)

    monkeypatch.setattr(data.train, "epoch", broken)
    with pytest.raises(Exception, match="row 17 is broken"):
        run(tmp_path / "run", (model, data))
    assert backup.read_state(tmp_path / "run")[1]["epoch"] == 1


def test_what_is_open_is_chosen_for_the_device(monkeypatch):
    small, large = kzoo.build("mlp", hidden_dims=(8,)), kzoo.build("mlp", hidden_dims=(3000, 1000))

    def chosen(model=small, **choices):
        return execution.choose(make_recipe({}, choices), model, keras.optimizers.Adam(), num_batches=50)

    assert chosen().options == {"steps_per_execution": 20, "jit_compile": False}
    assert chosen(large).options["steps_per_execution"] == 1
    assert chosen(backup_steps=7).options["steps_per_execution"] == 7
    assert chosen(deterministic=False, jit_compile=True).options["jit_compile"] is True
    monkeypatch.setattr(execution, "_gpus", lambda: ["GPU:0"])
    assert chosen().options["jit_compile"] is False and "bit for bit" in chosen().reason
    assert chosen(deterministic=False).options["jit_compile"] is True
    assert chosen(deterministic=False, jit_compile=False).reason == "as asked"
    with pytest.raises(ValueError, match=r"jit_compile=True cannot repeat .* pass deterministic=False"):
        chosen(jit_compile=True)
    with pytest.raises(TypeError, match="jit_compile must be True or False, got 1"):
        chosen(jit_compile=1)


def test_a_run_says_how_its_steps_ran(tmp_path):
    model, data = make()
    result = run(tmp_path / "run", (model, data), epochs=1, steps_per_execution=None, backup_steps=None)
    wanted = "XLA off (steps measure slower with it on CPUs), back in Python every 13 steps, dtype policy float32"
    assert result.execution.startswith(f"{wanted}, oneDNN")
    assert model.steps_per_execution == 13 and model.jit_compile is False
    assert json.loads((tmp_path / "run" / "run.json").read_text())["jit_compile"] is False

"""Models of one's own with a card, and `.keras` files that keep one."""

import json
import zipfile

import keras
import numpy as np
import pytest
import small_runs as runs
from click.testing import CliRunner
from keras import layers, ops

import kzoo
from kzoo.cli.commands import cli
from kzoo.data import Tokenizer

NAMES = ["cat", "dog", "eel"]


def own(outputs=3, activation=None, scaled=False):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="photo")
    x = layers.Rescaling(1 / 255)(image) if scaled else image
    x = layers.GroupNormalization(2)(layers.Conv2D(4, 3, activation="relu")(x))  # no tensor of a reference's
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(outputs, activation=activation)(x), name="mine")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), "uint8")


def test_every_verb_takes_it(images, tmp_path):
    import tensorflow as tf

    model = kzoo.adopt(own(), "image_classification", class_names=NAMES)
    labels = np.arange(40) % 3
    run = kzoo.fit(model, (images, labels), tmp_path / "run", epochs=2, progress=False, early_stopping=1)
    assert len(run.history) == 2
    again = kzoo.load(tmp_path / "run")
    assert again.kzoo == model.kzoo and again.kzoo.class_names == NAMES
    found = kzoo.predict(model, images[:3])
    np.testing.assert_allclose(kzoo.predict(again, images[:3]), found, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    data = kzoo.data.from_arrays(images, labels, again)
    assert 0 <= kzoo.evaluate(again, data, "validation")["accuracy"] <= 1
    kzoo.export(again, tmp_path / "export")
    served = tf.saved_model.load(tmp_path / "export").signatures["serve_images"](images=tf.constant(images[:3]))
    np.testing.assert_allclose(served["probabilities"], found, atol=1e-5)
    fast = kzoo.fast(again, seconds=0.01)
    np.testing.assert_allclose(fast(images[:3] / np.float32(255)), model(images[:3] / 255, training=False), atol=1e-5)
    kzoo.save(again, tmp_path / "saved")
    assert kzoo.load(tmp_path / "saved").kzoo.task == "image_classification"


def line():
    keras.utils.set_random_seed(0)
    return kzoo.adopt(keras.Sequential([keras.Input((4,)), layers.Dropout(0.1), layers.Dense(1)]), "regression")


def test_a_run_resumes_to_the_same_bit(tmp_path):
    x = np.random.default_rng(0).random((40, 4), "float32")

    def train(folder, **choices):
        model = line()
        kzoo.fit(model, (x, x @ np.ones(4)), folder, epochs=2, progress=False, batch_size=8, **choices)
        return kzoo.predict(kzoo.load(folder), x)

    whole = train(tmp_path / "whole")
    stop = runs.Stop(runs.fail, epoch=2, step=2)
    with pytest.raises(RuntimeError, match="the user's own words"):
        train(tmp_path / "run", callbacks=[stop], backup_steps=1, steps_per_execution=1)
    np.testing.assert_array_equal(train(tmp_path / "run", resume=True), whole)
    other = keras.Sequential([keras.Input((4,)), layers.Dropout(0.1), layers.Dense(1, activation="tanh")])
    with pytest.raises(ValueError, match="cannot be resumed like this: model.graph was"):
        kzoo.fit(kzoo.adopt(other, "regression"), (x, x @ np.ones(4)), tmp_path / "run", resume=True, batch_size=8)
    with pytest.raises(ValueError, match="was trained on arrays in memory, .* kzoo.fit.model, .*resume=True"):
        command("train", "--run-folder", tmp_path / "run", "--resume")


def command(*arguments):
    return CliRunner().invoke(cli, [str(one) for one in arguments], standalone_mode=False, catch_exceptions=False)


def test_a_command_resumes_it_from_its_own_folder(tmp_path):
    x, folder = np.random.default_rng(0).random((40, 5), "float32"), tmp_path / "run"
    np.savetxt(tmp_path / "a.csv", x, delimiter=",", header="a,b,c,d,price", comments="")
    how = {"data": str(tmp_path / "a.csv"), "epochs": 2, "batch_size": 8, "progress": False}
    kzoo.fit(line(), run_folder=tmp_path / "whole", **how)
    with pytest.raises(RuntimeError, match="the user's own words"):
        kzoo.fit(line(), run_folder=folder, callbacks=[runs.Stop(runs.fail, epoch=1, step=2)], backup_steps=1,
                 steps_per_execution=1, **how)  # fmt: skip
    assert not (folder / "model.keras").exists()
    assert "trained 2 epochs" in command("train", "--run-folder", folder, "--resume", "--quiet").output
    for ours, theirs in zip(*(kzoo.load(tmp_path / name).get_weights() for name in ("run", "whole")), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(Exception, match=r"holds sequential\w* as it is; leave out"):
        command("train", "--run-folder", folder, "--resume", "--dtype", "float16")
    about = json.loads((folder / "model.json").read_text())
    about["graph"]["config"]["layers"][1]["class_name"] = "Absent"
    (folder / "model.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"sequential\w* cannot be rebuilt without its own program .*resume=True"):
        command("train", "--run-folder", folder, "--resume")


@pytest.mark.parametrize(
    "make, how, message",
    [
        (lambda: own(), {"task": "image_clasification"}, "unknown task .* did you mean image_classification"),
        (lambda: own(1), {"task": "image_classification"}, "needs .batch, 2 or more.: build one logit with task="),
        (lambda: own(2), {"task": "binary_classification"}, r"gives dense\w* \(None, 2\); binary .* \(batch, 1\)"),
        (lambda: own(), {"task": "translation"}, "translation needs .batch, length, 2 or more"),
        (lambda: own(), {"task": "object_detection"}, "needs a dict of class_logits and box_regression"),
        (lambda: own(scaled=True), {"task": "image_classification"}, "scales its input itself"),
        (lambda: own(), {"task": "image_classification", "class_names": ["cat"]}, "1 names; mine gives 3"),
        (lambda: own(activation="softmax"), {"task": "multilabel_classification"}, "ends in a softmax"),
        (lambda: keras.Sequential([own(), layers.ReLU()]), {"task": "image_classification"}, "holds the models mine"),
        (lambda: kzoo.build("mlp"), {"task": "regression"}, "pass task= there"),
    ],
)
def test_what_cannot_work_is_refused(make, how, message):
    with pytest.raises(ValueError, match=message):
        kzoo.adopt(make(), **how)


def test_a_model_that_scales_its_input_gets_pixels(images):
    how = kzoo.Preprocessing(std=1 / 255)
    model = kzoo.adopt(own(scaled=True), "image_classification", preprocessing=how)
    found, wanted = kzoo.predict(model, images[:3]), ops.softmax(model(images[:3].astype("float32"), training=False))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_one_output_trains_as_a_logit_only():
    model = kzoo.build("mlp", num_classes=1, input_shape=(4,))
    x, y = np.ones((8, 4), "float32"), np.arange(8) % 2
    with pytest.raises(ValueError, match="build one logit with task='binary_classification'"):
        kzoo.fit(model, (x, y), epochs=1, progress=False)
    model = kzoo.build("mlp", num_classes=1, input_shape=(4,), task="binary_classification")
    assert kzoo.fit(model, (x, y), epochs=1, progress=False).history[0]["loss"] > 0.1


def test_a_keras_file_keeps_the_card(tmp_path):
    small = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 8, "vocabulary_size": 40}
    model = kzoo.build("bert", head="classification", num_classes=2, **small)
    tokenizer = Tokenizer.train("wordpieces", ["a good film", "a bad film"], 40)
    kzoo.catalog.update_card(model, tokenizer=tokenizer, class_names=["bad", "good"], names="gamma_beta")
    kzoo.save(model, tmp_path / "model.keras")
    again = kzoo.load(tmp_path / "model.keras")
    assert again.kzoo == model.kzoo and again.kzoo.tokenizer.digest == tokenizer.digest
    x = {name: np.ones((2, 5), "int32") for name in ("token_ids", "padding_mask", "segment_ids")}
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)
    kzoo.save(again, tmp_path / "folder")  # from the catalogue again
    np.testing.assert_allclose(kzoo.load(tmp_path / "folder")(x), model(x), atol=1e-6)
    assert type(keras.saving.load_model(tmp_path / "model.keras")) is type(model)


def test_a_keras_file_of_others_has_no_task(tmp_path):
    own().save(tmp_path / "plain.keras")
    model = kzoo.load(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match="not built by kzoo.build"):
        kzoo.save(model, tmp_path / "again")
    assert kzoo.adopt(model, "image_classification").kzoo.task == "image_classification"


def test_damage_and_code_are_refused(tmp_path):
    path = tmp_path / "model.keras"
    kzoo.save(kzoo.adopt(own(), "image_classification"), path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        place = file.getinfo("model.weights.h5").header_offset + 3000
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(ValueError, match="model.keras cannot be read: model.weights.h5 does not have its checksum"):
        kzoo.load(path)
    path.write_bytes(whole[:-30])
    with pytest.raises(ValueError, match="model.keras cannot be read"):
        kzoo.load(path)
    with pytest.raises(ValueError, match="cannot be read"):
        kzoo.load(tmp_path / "absent.keras")
    image = keras.Input((4,))
    keras.Model(image, layers.Lambda(lambda x: x + 1)(image)).save(path)
    with pytest.raises(ValueError, match="holds Python code"):
        kzoo.load(path)

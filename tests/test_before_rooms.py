"""Run folders, saved folders and exports of earlier releases still load, resume and serve."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

import kzoo
from kzoo.training import open_run

BEFORE = pathlib.Path(__file__).with_name("golden") / "before_rooms"
FACTS = json.loads((BEFORE / "facts.json").read_text())


def test_a_saved_folder():
    model = kzoo.load(BEFORE / "saved")
    logits = model({"token_ids": np.array([[5, 6, 7]]), "padding_mask": np.ones((1, 3), int)})
    np.testing.assert_allclose(keras.ops.convert_to_numpy(logits), FACTS["logits"], atol=1e-6)
    assert kzoo.generate(model, "the cat", max_new_tokens=8).text == FACTS["written"]
    assert model.kzoo.tokenizer.vocabulary_size > 10


def test_a_run_folder_resumes(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(BEFORE / "run", folder)
    assert repr(open_run(folder)) == f"<kzoo run folder {folder}: perceptron on digits/zero_one>"
    before = json.loads((folder / "history.json").read_text())
    model = kzoo.load(folder)
    assert model.kzoo.class_names == FACTS["class_names"]
    data = kzoo.data.load("digits/zero_one", model, batch_size=64)
    # Other versions of Keras or another choice of kernels are differences that may be forced; others are not there.
    run = kzoo.fit(
        model, data, folder, resume=True, force=True, epochs=3, augment=False, tensorboard=False, progress=False
    )
    assert len(run.history) == 3 and run.history[: len(before)] == before
    assert run.history[-1]["loss"] < before[0]["loss"]


def test_an_export():
    tf = pytest.importorskip("tensorflow")
    served = tf.saved_model.load(str(BEFORE / "exported"))
    found = served.serve(tf.constant(FACTS["exported_input"], tf.float32))
    np.testing.assert_allclose(found, FACTS["exported_output"], atol=1e-6)


def test_a_damaged_description_is_named_and_stops_no_new_run(tmp_path):
    shutil.copytree(BEFORE / "run", tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="run.json is damaged"):
        repr(open_run(tmp_path / "run"))
    x, y = np.zeros((8, 28, 28, 1), "float32"), np.arange(8) % 2
    model = kzoo.build("mlp", hidden_dims=(2,))
    run = kzoo.fit(model, (x, y), tmp_path / "run", overwrite=True, epochs=1, batch_size=4, progress=False)
    assert len(run.history) == 1 and open_run(tmp_path / "run").facts["model"]["name"] == "mlp"

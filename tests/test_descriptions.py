"""What lies beside weights belongs to them: kills between two files, flipped bits, odd contents, two runs at once."""

import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data import Tokenizer
from kzoo.support import atomic
from kzoo.training import open_run

SMALL = {"num_layers": 1, "hidden_dim": 24, "num_heads": 4, "vocabulary_size": 30, "max_length": 8}


def gpt(**overrides):
    model = kzoo.build("gpt2", **{**SMALL, **overrides})
    tokenizer = Tokenizer.train("characters", ["the cat sat on the mat"], 30)
    return kzoo.catalog.update_card(model, tokenizer=tokenizer) or model


def test_a_kill_between_two_files_of_a_save_leaves_no_other_model(tmp_path, monkeypatch):
    """Four heads and six divide the same width: the weights of one fit the description of the other."""
    kzoo.save(gpt(num_heads=6), tmp_path)
    real, calls = atomic.file, []

    def dies(path, *given):
        if path.name == "weights.safetensors":
            raise SystemExit(9)
        calls.append(path.name)
        return real(path, *given)

    monkeypatch.setattr(atomic, "file", dies)
    with pytest.raises(SystemExit):
        kzoo.save(gpt(num_heads=4), tmp_path)
    assert "model.json" in calls
    with pytest.raises(ValueError, match=r"model\.json is damaged, changed, or that of another model"):
        kzoo.load(tmp_path)


@pytest.mark.parametrize(("name", "old", "new"), [("model.json", '"num_heads": 4', '"num_heads": 6'),
                                                  ("tokenizer.json", '"a":', '"A":')])  # fmt: skip
def test_a_changed_description_is_refused(name, old, new, tmp_path):
    kzoo.save(gpt(), tmp_path)
    assert kzoo.load(tmp_path).kzoo.tokenizer.vocabulary_size < 30
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"{name} is damaged, changed"):
        kzoo.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing|holds no model.json"):
        kzoo.load(tmp_path)


def test_versions_in_a_description_change_no_model(tmp_path):
    kzoo.save(gpt(), tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, "keras": "3.16.0", "kzoo": "0.0.1"}))
    kzoo.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"overrides": []}, r"overrides is \[\]"),
        ({"class_names": "cat"}, "class_names is 'cat'"),
        ({"name": 3}, "name is 3"),
        ({"num_heads": 4}, "unknown key 'num_heads'"),
        ({"rewrites": {"lora": 1}}, "rewrites is"),
    ],
)
def test_odd_descriptions_are_named(changes, words, tmp_path):
    kzoo.save(gpt(), tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**description, **changes}))
    with pytest.raises(ValueError, match=rf"model\.json.*{words}"):
        kzoo.load(tmp_path)
    for text in ("[" * 100_000, "", "{}", "[]"):
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(ValueError, match=r"model\.json is damaged"):
            kzoo.load(tmp_path)


def test_class_names_are_as_many_as_classes(tmp_path):
    model = kzoo.build("cnn", input_shape=(8, 8, 1), num_classes=3)
    kzoo.catalog.update_card(model, class_names=["cat"])
    kzoo.save(model, tmp_path)
    with pytest.raises(ValueError, match=r"model\.json names 1 classes of a model of 3"):
        kzoo.load(tmp_path)


RUN = {"epochs": 1, "progress": False, "tensorboard": False, "deterministic": False}


@pytest.fixture
def train():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("trains on TensorFlow")
    x, y = np.random.default_rng(0).random((16, 8, 8, 1), "float32"), np.arange(16) % 3
    return lambda folder, **options: kzoo.fit(
        kzoo.build("cnn", input_shape=(8, 8, 1), num_classes=3), (x, y), folder, **{**RUN, **options}
    )


def test_a_folder_in_which_another_process_trains_is_refused(train, tmp_path):
    script = f"import sys; from kzoo.training import open_run\nwith open_run({str(tmp_path)!r}).locked():\n"
    script += "    print('held', flush=True); sys.stdin.read()"
    held = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert held.stdout.readline() == "held\n"
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(ValueError, match=rf"is in use: (process {held.pid}|another process) trains in it"):
                train(tmp_path, **options)
    finally:
        held.communicate()
    train(tmp_path)
    train(tmp_path, overwrite=True)
    with open_run(tmp_path).locked(), pytest.raises(ValueError, match=f"process {os.getpid()}|another process"):
        train(tmp_path, resume=True)


def test_results_without_a_backup_are_not_trained_over(train, tmp_path):
    train(tmp_path)
    for backup in tmp_path.glob("backup*"):
        backup.unlink()
    before = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"history\.json and weights\.safetensors and no backup"):
        train(tmp_path, resume=True)
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    shutil.copytree(tmp_path, tmp_path / "other")
    train(tmp_path, overwrite=True)
    assert not (tmp_path / "other").exists()

"""The int8 benchmark: its numbers against hand values and Keras, and one small run from a weight file."""

import json
import math
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

import kzoo
from kzoo.runtimes import choices, comparison

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import int8  # noqa: E402


def test_numbers_of_hand_values():
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]], "float32"))
    batches = [([], np.array([[0, 1]]), np.array([[1.0, 1.0]]))]
    found = int8.numbers([logits], batches, characters_per_token=2)
    assert found["accuracy"] == 0.5 and found["bits_per_character"] == pytest.approx((1 + 2) / 2 / 2)
    padded = [([], np.array([[0, 1]]), np.array([[1.0, 0.0]]))]
    assert int8.numbers([logits], padded, 2) == {"accuracy": 1.0, "bits_per_character": pytest.approx(0.5)}


def test_bits_per_character_are_those_of_keras_and_padding_counts_for_nothing():
    keras.utils.set_random_seed(0)
    model = kzoo.build("gpt2", num_layers=1, hidden_dim=16, num_heads=2, vocabulary_size=300, max_length=16)
    x = np.random.default_rng(0).integers(1, 300, (4, 16), dtype="int32")
    part = types.SimpleNamespace(dataset=[({"token_ids": x[:, :12], "padding_mask": np.ones((4, 12), "int32")},
                                           x[:, 1:13], np.ones((4, 12), "float32"))])  # fmt: skip
    batches, count = int8.examples(model, part, 100, 16)
    assert count == 4 and [array.shape for array in batches[0][0]] == [(4, 16), (4, 16)]
    (logits,) = comparison.outputs_of(model, batches[0][0])[:1]
    found = int8.numbers([logits], batches, 3.0)
    y = x[:, 1:13]
    cost = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, logits[:, :12])
    assert found["bits_per_character"] == pytest.approx(float(cost) / math.log(2) / 3, rel=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(np.argmax(logits[:, :12], -1) == y))


@pytest.mark.parametrize("given", ["mnist", "mnist=/no/such/path", "minst=."])
def test_bad_sources_exit_2_with_one_line(given):
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "int8.py"), "--source", given], capture_output=True, text=True
    )
    assert done.returncode == 2 and "--source takes WORK=PATH" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_weight_file_is_measured(tmp_path, monkeypatch):
    """On digits, which come with the installation, in place of MNIST."""
    if not choices.is_installed("openvino"):
        pytest.skip("the extra for openvino is not installed")
    kzoo.save_weights(kzoo.build("mnist_cnn"), tmp_path / "weights.safetensors")
    found = int8.recipe("mnist")
    monkeypatch.setattr(int8, "recipe", lambda work: {**found, "data": "digits"})
    job = {"work": "mnist", "source": str(tmp_path / "weights.safetensors"), "epochs": 1, "examples": 64,
           "runtimes": ["openvino"], "train_batches": None}  # fmt: skip
    rows = int8.measure(json.loads(json.dumps(job)))["rows"]
    assert [row["ranges"] for row in rows] == list(choices.RUNTIMES["openvino"].ranges)
    for row in rows:
        assert row["weights"] == "weights.safetensors" and row["num_examples"] == 64 and row["int8_coverage"] == 1
        assert row["points_lost"] == pytest.approx(
            100 * (row["before"]["accuracy"] - row["after"]["accuracy"]), abs=1e-3
        )
        assert row["reached"] == (row["points_lost"] <= 1)
        assert "int8 covers 100 % of MACs" in int8.line(row)


def test_a_work_without_a_source_is_trained_as_its_recipe_says(monkeypatch):
    found = int8.recipe("fashion")
    assert found["fit"]["augment"]
    small = {"model": "cnn", "overrides": {"filters": (4, 4), "hidden_dim": 8}, "data": "digits",
             "fit": {**found["fit"], "warmup_steps": 2}}  # fmt: skip
    monkeypatch.setattr(int8, "recipe", lambda work: {**found, **small})
    model, data, weights = int8.prepare("fashion", None, epochs=1, train_batches=None)
    assert weights == f"trained here for 1 of the usual {found['fit']['epochs']} epochs"
    assert data.augment == found["fit"]["augment"] and int(model.optimizer.iterations.numpy()) > 0

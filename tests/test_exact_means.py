"""Losses and metrics are means over every example or token that counts, whatever the batches."""

import copy
import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import kzoo
from kzoo.tasks.losses import EveryMean, SparseCrossEntropy

COUNT = 29
BATCH_SIZES = (1, 3, 7, 64)
TEXT = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "vocabulary_size": 64}
READER = {**TEXT, "intermediate_dim": 16, "max_length": 16}
IMAGES = {"num_classes": 3, "input_shape": (32, 32, 3)}
DETECTOR = {
    "backbone": "resnet18", "backbone_options": {"depths": [1, 1], "filters": 16}, "taps": ("layer1", "layer2"),
    "filters": 4, "head_depth": 1, "anchor_sizes": (8, 16),
}  # fmt: skip


def tagged(model, folder):
    """Rows with another number of tokens each, of which some have no tag."""
    rng = np.random.default_rng(0)
    mask = (np.arange(12) < rng.integers(2, 13, (COUNT, 1))).astype(np.int32)
    ids = rng.integers(1, 64, mask.shape).astype(np.int32) * mask
    pair = {"token_ids": ids, "padding_mask": mask, "segment_ids": 0 * mask}, np.where(ids % 3, ids % 5, -100)
    return kzoo.data.from_arrays(*pair, model, validation=pair)


def plays(model, folder):
    rng = np.random.default_rng(0)
    for index in range(20):
        sentences = [" ".join(rng.choice(list("abcdefgh"), rng.integers(2, 9))) + "." for _ in range(10)]
        (folder / f"{index}.txt").write_text("\n".join(sentences))
    return kzoo.data.load(str(folder), model, tokenizer="characters", validation_fraction=0.4)


def named(name):
    return lambda model, folder: kzoo.data.load(name, model, num_examples=COUNT)


CASES = {
    "googlenet": ({"auxiliary": True, "width_multiplier": 0.05, **IMAGES}, named("synthetic")),
    "retinanet_resnet50_fpn": ({**DETECTOR, **IMAGES}, named("synthetic")),
    "perceptron": ({}, named("digits/zero_one")),
    "bert pretraining": (READER, plays),
    "bert token_classification": ({**READER, "num_classes": 5}, tagged),
    "gpt": ({**TEXT, "max_length": 13}, plays),
    "transformer": ({**TEXT, "intermediate_dim": 16}, named("reverse_digits")),
}


def made(case, folder):
    """The model and the data of a case."""
    name, _, head = case.partition(" ")
    options, load = CASES[case]
    keras.utils.set_random_seed(0)
    model = kzoo.build(name, **options, **({"head": head} if head else {}))
    data = load(model, folder)
    data.objects = None  # average precision, which costs most of the time
    return model, data


def in_batches(data, size, split="validation"):
    """The data with the last examples of a split, of which the very last may be padded, in batches of another size."""
    part = copy.copy(getattr(data, split))
    part.rows = tf.nest.map_structure(lambda rows: rows[-COUNT:], part.rows)
    part.num_examples, part.batch_size = COUNT, size
    return dataclasses.replace(data, **{split: part})


@pytest.mark.parametrize("case", CASES)
def test_batches_change_no_number(case, tmp_path):
    model, data = made(case, tmp_path)
    found = [kzoo.evaluate(model, in_batches(data, size), "validation") for size in BATCH_SIZES]
    for row in found:
        assert {**row, "seconds": 0} == pytest.approx({**found[-1], "seconds": 0}, rel=1e-6)


def test_the_numbers_are_those_of_all_tokens_at_once(tmp_path):
    model, data = made("bert token_classification", tmp_path)
    numbers = kzoo.evaluate(model, in_batches(data, 4), "validation")
    x, y, weight = next(iter(in_batches(data, COUNT).validation.dataset))
    logits = np.asarray(model(x), np.float64)
    losses = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, np.asarray(y)[..., None], -1)[..., 0]
    counted = np.asarray(weight) > 0
    assert 0.1 < counted.mean() < 0.5 and counted.sum(1).min() < 2
    assert numbers["loss"] == pytest.approx(losses[counted].mean(), rel=1e-6)
    assert numbers["accuracy"] == pytest.approx((logits.argmax(-1) == np.asarray(y))[counted].mean(), rel=1e-6)


class Seen(keras.callbacks.Callback):
    """What Keras' own early stopping, or a user's callback, is told."""

    def on_epoch_end(self, epoch, logs=None):
        self.logs = logs


def test_batches_change_no_number_of_a_run(tmp_path):
    """With a rate of almost nothing, neither those of validation nor those of training."""
    rows = []
    for size in (3, 64):
        model, data = made("transformer", tmp_path)
        data = in_batches(in_batches(data, size, "train"), size)
        choices = {"epochs": 1, "optimizer": "sgd", "schedule": "constant", "learning_rate": 1e-12, "warmup_steps": 0}
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        seen = Seen()
        run = kzoo.fit(model, data, progress=False, callbacks=[seen], tensorboard=False, **choices)
        rows.append({key: value for key, value in run.history[0].items() if key != "seconds"})
        assert seen.logs == {key: value for key, value in rows[-1].items() if key in seen.logs}
        assert seen.logs.keys() >= {"loss", "val_loss"} and not any("mean" in key for key in seen.logs)
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)


def test_a_step_follows_the_mean_over_the_tokens_of_its_batch():
    """As torch's CrossEntropyLoss(ignore_index=...) does, and not the mean of rows' means."""
    logits = np.log([[[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]], [[0.75, 0.25], [0.5, 0.5], [0.5, 0.5]]])
    loss = SparseCrossEntropy()(np.zeros((2, 3), int), logits, np.array([[1.0, 1, 1], [1, 0, 0]]))
    assert float(loss) == pytest.approx((3 * math.log(2) + math.log(4 / 3)) / 4)


def test_tokens_may_have_shares_of_several_classes():
    logits = np.log([[[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]])
    shares = np.array([[[0.5, 0.5, 0], [0, 0, 1]]])
    wanted = -(0.5 * math.log(0.5) + 0.5 * math.log(0.25) + math.log(0.6)) / 2
    assert float(SparseCrossEntropy()(shares, logits)) == pytest.approx(wanted)


def test_a_mean_takes_weights_of_fewer_axes_and_none():
    mean = EveryMean()
    mean.update_state(np.array([[1.0, 2], [3, 4]]), np.array([1.0, 0]))
    mean.update_state(np.array([[6.0, 6, 6]]))
    assert float(mean.result()) == pytest.approx(21 / 5)


def test_metrics_survive_a_keras_file(tmp_path):
    model = kzoo.build("mlp", hidden_dims=(4,))
    kzoo.fit(model, "synthetic", epochs=1, progress=False)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x, y = np.zeros((3, 28, 28, 1), "float32"), np.array([0, 1, 2])
    numbers = again.evaluate(x, y, verbose=0, return_dict=True)
    assert numbers["mean_loss"] == pytest.approx(numbers["loss"], rel=1e-6)


def test_penalties_of_layers_stay_in_the_loss():
    model = kzoo.build("mlp", hidden_dims=(4,))
    model.layers[-1].kernel.regularizer = keras.regularizers.L2(0.5)
    x = np.random.default_rng(0).random((6, 28, 28, 1), "float32")
    data = kzoo.data.from_arrays(x, np.arange(6), model, validation=(x, np.arange(6)))
    plain = float(SparseCrossEntropy()(np.arange(6), model(x)))
    penalty = 0.5 * float(np.sum(np.square(model.layers[-1].kernel)))
    assert kzoo.evaluate(model, data, "validation")["loss"] == pytest.approx(plain + penalty, rel=1e-5)

"""Gradients of tokens that come more than once in a batch: squared after they are summed, whatever squares them."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo.training import fused, gradients

tf = pytest.importorskip("tensorflow")
TOKENS = np.array([[1, 1, 2]])


def make(optimizer):
    ids = keras.Input((3,), dtype="int32")
    model = keras.Model(ids, layers.Embedding(5, 2)(ids))
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def gradient(weights):
    """Of the mean square of the three rows."""
    found = np.zeros_like(weights)
    np.add.at(found, TOKENS[0], 2 * weights[TOKENS[0]] / TOKENS.size / 2)
    return found


@pytest.mark.parametrize("fuse", [False, True])
def test_adam_is_that_of_the_paper(fuse):
    """Against Kingma and Ba's algorithm 1 in NumPy, with the epsilon of the end of section 2."""
    model = make(keras.optimizers.Adam(0.1))
    weights = model.get_weights()[0].astype("float64")
    m, v = np.zeros_like(weights), np.zeros_like(weights)
    for step in (1, 2, 3):
        slope = gradient(weights)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        weights -= 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-7)
    with (
        gradients.summed(model.optimizer),
        fused.fused_steps(model, model.optimizer) if fuse else contextlib.nullcontext(),
    ):
        for _ in range(3):
            model.train_on_batch(TOKENS, np.zeros((1, 3, 2)))
    np.testing.assert_allclose(model.get_weights()[0], weights, atol=1e-5)
    assert not {"apply", "update_step"} & set(vars(model.optimizer))


def test_clipping_leaves_the_norm_that_it_says():
    model = make(keras.optimizers.SGD(1.0, global_clipnorm=1e-3))
    before = model.get_weights()[0]
    with gradients.summed(model.optimizer):
        model.train_on_batch(TOKENS, np.zeros((1, 3, 2)))
    assert np.linalg.norm(gradient(before)) > 1e-3
    assert np.linalg.norm(model.get_weights()[0] - before) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("choices", [{}, {"fuse": False}, {"fuse": False, "jit_compile": True, "deterministic": False}])
def test_a_run_trains_an_embedding_so(choices):
    """The second moment of Adam after one step of `kzoo.fit` is that of the dense gradient."""
    from kzoo.data import from_arrays

    sizes = {"hidden_dim": 8, "num_layers": 1, "num_heads": 1, "intermediate_dim": 8, "vocabulary_size": 11}
    model = kzoo.build("bert_tiny", head="classification", num_classes=2, dropout=0.0, **sizes)
    random = np.random.default_rng(0)
    x = {"token_ids": random.integers(1, 4, (8, 6)).astype("int32"), "padding_mask": np.ones((8, 6), "int32"),
         "segment_ids": np.zeros((8, 6), "int32")}  # fmt: skip
    y = random.integers(0, 2, 8)
    (table,) = [variable for variable in model.trainable_variables if tuple(variable.shape) == (11, 8)]
    with tf.GradientTape() as tape:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, model(x, training=True))
    slope = tf.convert_to_tensor(tape.gradient(loss, table.value)).numpy()
    data = from_arrays(x, y, model, batch_size=8, validation_fraction=0.0)
    options = {"optimizer": "adam", "epochs": 1, "clip_norm": None, "warmup_steps": 0, "schedule": "constant"}
    kzoo.fit(model, data, progress=False, weight_decay=0.0, **options, **choices)
    place = [variable is table for variable in model.trainable_variables].index(True)
    moment = keras.ops.convert_to_numpy(model.optimizer._velocities[place])
    np.testing.assert_allclose(moment, 0.001 * slope**2, rtol=1e-3, atol=1e-12)

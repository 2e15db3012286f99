import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo.rewrites import unrolling
from kzoo.rewrites.flattening import flatten_dense
from kzoo.rewrites.fusible import make_fusible
from kzoo.rewrites.precision import in_bfloat16
from kzoo.runtimes import samples
from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

SIZES = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "vocabulary_size": 31}
MODELS = {
    "bert_tiny": ({**SIZES, "intermediate_dim": 24}, 6),
    "gpt2": ({**SIZES, "max_length": 16}, 4),
    "mlp": ({}, 0),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_outputs_for_any_batch_and_length(name):
    overrides, num_flat = MODELS[name]
    keras.utils.set_random_seed(0)
    model = kzoo.build(name, **overrides)
    model.set_weights([value + np.random.default_rng(0).normal(0, 0.1, value.shape) for value in model.get_weights()])
    flat = flatten_dense(model)
    changed = [layer for layer in flat.layers if layer not in model.layers and not isinstance(layer, layers.InputLayer)]
    assert len(changed) == num_flat and {layer.name for layer in flat.layers} == {layer.name for layer in model.layers}
    for batch_size, length in ((1, 3), (3, 7)):
        x = keras.tree.pack_sequence_as(model.input, samples.random_inputs(model, batch_size, length))
        pairs = zip(*(keras.tree.flatten(m(x, training=False)) for m in (model, flat)), strict=True)
        for wanted, got in pairs:
            wanted = keras.ops.convert_to_numpy(wanted)
            np.testing.assert_allclose(keras.ops.convert_to_numpy(got), wanted, rtol=0, atol=3e-6 * abs(wanted).max())


def test_a_shared_layer_stays_one_and_subclasses_stay():
    class Scaled(layers.Dense):
        pass

    x = keras.Input((None, 4))
    shared = layers.Dense(4, name="shared")
    y = Scaled(3, name="own")(shared(shared(x)))
    flat = flatten_dense(keras.Model(x, y))
    assert sum(layer.name == "shared" for layer in flat.layers) == 1
    assert type(flat.get_layer("own")) is Scaled and len(flat.weights) == 4


@pytest.mark.parametrize("name", ["rnn", "bert_tiny"])
def test_layers_that_rewrites_made_are_rewritten_in_bfloat16_too(name):
    """The cell of an unrolled LSTM, a flat Dense layer and a fusible norm compute in it."""
    model = kzoo.build(name, num_layers=1)
    x, _, _ = synthetic_batch(model, 2, sequence_length=5)
    rewritten = unrolling.unroll(flatten_dense(make_fusible(model)), 5, one_product=True)
    half = in_bfloat16(rewritten)
    wanted = [layer.compute_dtype for layer in half.layers if layer.weights]
    assert wanted.count("bfloat16") >= len(wanted) - 2
    for layer in half.layers:
        assert getattr(layer, "cell", layer).compute_dtype == layer.compute_dtype
    pairs = zip(*(keras.tree.flatten(one(x)) for one in (model, half)), strict=True)
    for exact, rounded in pairs:
        difference = np.abs(np.asarray(exact) - np.asarray(rounded)).max()
        assert 1e-6 < difference < 0.05 * np.abs(exact).max()

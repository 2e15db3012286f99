import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo.rewrites.flattening import flatten_dense
from kzoo.runtimes import samples

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

import keras
import numpy as np
import pytest

import kzoo
from kzoo import graph


@pytest.fixture(scope="module")
def model():
    return kzoo.build("cnn", input_shape=(12, 8, 3), filters=(4, 5))


def test_calls_are_every_node_in_order_with_concrete_shapes():
    model = kzoo.build("rnn", num_layers=2)
    names = [call.operation.name for call in graph.calls(model, length=7)]
    assert names[-3:] == ["rnn.l0", "rnn.l1", "fc"]
    assert [call.outputs[0].shape for call in graph.calls(model, length=7)][-3:] == [(None, 7, 8), (None, 8), (None, 2)]


def test_taps_share_the_models_weights(model):
    features = kzoo.features(model, ["conv1", "conv2"])
    x = np.random.default_rng(0).random((2, 12, 8, 3), "float32")
    before = keras.ops.convert_to_numpy(features(x)["conv2"])
    kernel = model.get_layer("conv2").kernel
    kernel.assign(kernel + 1.0)
    after = keras.ops.convert_to_numpy(features(x)["conv2"])
    assert before.shape == (2, 6, 4, 5) and np.abs(after - before).max() > 0.1
    assert graph.strides(features) == {"conv1": (1, 1), "conv2": (2, 2)}


def test_a_stage_stands_for_its_last_layer():
    model = kzoo.build("resnet18", input_shape=(64, 64, 3))
    features = kzoo.features(model, ["layer1", "layer2", "layer3", "layer4"])
    assert graph.find_tap(model, "layer2").name == "layer2.1"
    assert graph.strides(features) == {"layer1": (4, 4), "layer2": (8, 8), "layer3": (16, 16), "layer4": (32, 32)}
    assert kzoo.features(model, "layer4").output["layer4"].shape == (None, 2, 2, 512)


def test_unknown_taps(model):
    with pytest.raises(ValueError, match="cnn: unknown tap 'conv3'; did you mean conv"):
        kzoo.features(model, ["conv3"])
    with pytest.raises(ValueError, match="at least one"):
        kzoo.features(model, [])


def test_strides_need_images(model):
    with pytest.raises(ValueError, match="strides need"):
        graph.strides(kzoo.features(model, ["fc1"]))


def test_embedded_layers_are_renamed_copies(model):
    image, (first, second) = graph.embed(model, "body.", ["conv1", "conv2"])
    embedded = keras.Model(image, [first, second])
    assert [layer.name for layer in embedded.layers][1:] == [
        f"body.{layer.name}" for layer in graph.layers_before(model, "conv2")[1:]
    ] + ["body.conv2.padding", "body.conv2"]
    weights = [layer.get_weights() for layer in model.layers if layer.name in ("conv1", "conv2")]
    for name, values in zip(("body.conv1", "body.conv2"), weights, strict=True):
        assert not np.array_equal(embedded.get_layer(name).get_weights()[0], values[0]), "weights of its own"
        embedded.get_layer(name).set_weights(values)
    x = np.random.default_rng(0).random((2, 12, 8, 3), "float32")
    wanted = kzoo.features(model, ["conv1", "conv2"])(x)
    for got, tap in zip(embedded(x), ("conv1", "conv2"), strict=True):
        np.testing.assert_array_equal(got, wanted[tap])


def test_embedding_goes_on_from_a_given_tensor_and_shares_what_was_shared():
    body = kzoo.build("recurrent_cnn", filters=8, num_steps=2, input_shape=(None, None, 3))
    image = keras.Input((12, 12, 1), name="image")
    x = keras.layers.Conv2D(3, 1, name="stem")(image)
    inputs, (x,) = graph.embed(body, "body.", ["layer3"], x)
    assert inputs.shape == (None, 12, 12, 3)
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D(name="pool")(x))
    assert [layer.name for layer in model.layers][:3] == ["image", "stem", "body.layer1.conv"]
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == len(names) and "body.layer4.feedforward" not in names
    calls = [call.operation.name for call in graph.calls(model)]
    assert calls.count("body.layer2.recurrent") == 2
    assert model(np.ones((1, 12, 12, 1), "float32")).shape == (1, 8)


def test_a_layer_that_is_called_again_is_tapped_at_its_first_call():
    body = kzoo.build("recurrent_cnn", filters=8, num_steps=2, input_shape=(12, 12, 3))
    taps = ["layer2.recurrent", "layer3"]
    embedded = keras.Model(*graph.embed(body, "body.", taps))
    for layer in embedded.layers:
        if layer.weights:
            layer.set_weights(body.get_layer(layer.name.removeprefix("body.")).get_weights())
    x = np.random.default_rng(0).random((2, 12, 12, 3), "float32")
    wanted = kzoo.features(body, taps)(x)
    for got, tap in zip(embedded(x), taps, strict=True):
        np.testing.assert_allclose(got, wanted[tap], rtol=1e-6)


def test_embedding_changes_configurations_and_refuses_unknown_taps(model):
    _, (x,) = graph.embed(model, "", ["conv1"], changes=lambda layer: {"filters": 7} if layer.name == "conv1" else {})
    assert x.shape == (None, 12, 8, 7)
    with pytest.raises(ValueError, match="unknown tap 'conv9'; did you mean conv"):
        graph.embed(model, "body.", ["conv9"])

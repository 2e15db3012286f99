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

"""Training part of a network: what is frozen stays to the bit, what is not moves."""

import keras
import numpy as np
import pytest

import kzoo

SMALL = {"input_shape": (16, 16, 1), "num_classes": 3}


def pictures(count=48, seed=0):
    """Three classes that differ in which part of the picture is bright."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, count)
    x = random.random((count, 16, 16, 1)).astype("float32") * 0.3
    for image, label in zip(x, y, strict=True):
        image[:, 5 * label : 5 * label + 6] += 0.6
    return x, y


def weights_by_layer(model):
    return {layer.name: [value.copy() for value in layer.get_weights()] for layer in model.layers if layer.weights}


def test_freezing_by_stage_keeps_weights_and_statistics():
    model = kzoo.build("resnet20", **SMALL)
    before = weights_by_layer(model)
    kzoo.fit(model, pictures(), epochs=2, batch_size=16, train_from="layer3", progress=False)
    after = weights_by_layer(model)
    moved = {name for name in before if any(np.any(a != b) for a, b in zip(before[name], after[name], strict=True))}
    late = {name for name in before if name.startswith(("layer3", "linear"))}
    assert moved == late
    x = pictures()[0][:4]
    frozen = model.get_layer("bn1")
    assert not frozen.trainable and len(model.trainable_variables) == sum(
        len(layer.trainable_weights) for layer in model.layers if layer.name in late
    )
    features = kzoo.features(model, "layer2")
    training = keras.ops.convert_to_numpy(features(x, training=True)["layer2"])
    np.testing.assert_array_equal(training, keras.ops.convert_to_numpy(features(x, training=False)["layer2"]))


def test_fine_tuning_a_saved_network_on_few_pictures(tmp_path):
    """Three classes learned on many pictures, then two others of the same kind on 40."""
    keras.utils.set_random_seed(0)
    first = kzoo.build("resnet20", **SMALL)
    kzoo.fit(first, pictures(192), epochs=6, batch_size=32, progress=False)
    kzoo.save(first, tmp_path / "first")
    model = kzoo.build("resnet20", tmp_path / "first", load_head=False, input_shape=(16, 16, 1), num_classes=2)
    x, y = pictures(40, seed=1)
    run = kzoo.fit(model, (x, y % 2), epochs=12, batch_size=8, train_from="layer3", progress=False)
    assert run.history[-1]["loss"] < 0.7 * run.history[0]["loss"]


def test_resuming_a_frozen_run_is_exact(tmp_path):
    class StopAfterTwo(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 4:
                raise RuntimeError("stop")

    def make():
        keras.utils.set_random_seed(3)
        return kzoo.build("resnet20", **SMALL)

    options = {"epochs": 2, "batch_size": 16, "train_from": "layer3", "progress": False, "steps_per_execution": 1}
    whole, parts = make(), make()
    kzoo.fit(whole, pictures(), tmp_path / "whole", **options)
    with pytest.raises(RuntimeError, match="stop"):
        kzoo.fit(parts, pictures(), tmp_path / "parts", callbacks=[StopAfterTwo()], **options)
    again = make()
    kzoo.fit(again, pictures(), tmp_path / "parts", resume=True, **options)
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("stage", "error", "words"),
    [("layer9", ValueError, "unknown tap 'layer9'; did you mean layer"), (3, TypeError, "train_from must be the name")],
)
def test_bad_stages(stage, error, words):
    with pytest.raises(error, match=words):
        kzoo.fit(kzoo.build("resnet20", **SMALL), pictures(), epochs=1, train_from=stage, progress=False)


def test_pairs_of_arrays_only():
    with pytest.raises(ValueError, match=r"a pair \(x, y\) of arrays, got a tuple of 3"):
        kzoo.fit(kzoo.build("resnet20", **SMALL), (1, 2, 3), epochs=1, progress=False)

"""Weights that do not fit to the letter: other classes, other channels, other releases' names."""

import logging
import pathlib

import keras
import numpy as np
import pytest
import safetensors.numpy

import kzoo

GOLDEN = pathlib.Path(__file__).with_name("golden") / "timm_channels.safetensors"
SMALL = {"input_shape": (32, 32, 3)}


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A file with the weights of a small residual network."""
    path = tmp_path_factory.mktemp("weights") / "resnet20.safetensors"
    model = kzoo.build("resnet20")
    kzoo.save_weights(model, path)
    return path, model


def weights_by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def test_another_number_of_classes_loads_the_backbone(resnet, caplog):
    path, original = resnet
    with pytest.raises(ValueError, match=r"num_classes=10, or keep 3 and pass load_head=False"):
        kzoo.build("resnet20", path, num_classes=3)
    model = kzoo.build("resnet20", num_classes=3)
    before, source = weights_by_layer(model), weights_by_layer(original)
    with caplog.at_level(logging.WARNING, "kzoo"):
        left = kzoo.load_weights(model, path, load_head=False)
    assert left == ["linear.weight", "linear.bias"]
    assert "not loaded, as they were: linear.weight, linear.bias" in caplog.text
    for name, weights in weights_by_layer(model).items():
        wanted = before[name] if name == "linear" else source[name]
        assert all(np.array_equal(a, b) for a, b in zip(weights, wanted, strict=True)), name
    assert kzoo.build("resnet20", path, load_head=False, num_classes=3).output_shape == (None, 3)


def test_a_body_without_a_head_takes_a_whole_files_weights(resnet):
    path, original = resnet
    model = kzoo.build("resnet20", path, load_head=False, num_classes=0)
    assert model.output_shape == (None, 64)
    source = weights_by_layer(original)
    assert all(
        np.array_equal(a, b) for n, w in weights_by_layer(model).items() for a, b in zip(w, source[n], strict=True)
    )


def test_models_without_a_named_head_say_so():
    for name in ("perceptron", "transformer_tiny"):
        with pytest.raises(ValueError, match="has no head that can be left out"):
            kzoo.load_weights(kzoo.build(name), "anything", load_head=False)


@pytest.mark.parametrize(
    ("name", "overrides", "head"),
    [
        ("mnist_cnn", {}, "dense_1"),
        ("cnn", {}, "fc2"),
        ("mlp", {"hidden_dims": (4,)}, "2"),
        ("rnn", {}, "fc"),
    ],
)
def test_every_classifier_has_a_head(name, overrides, head, tmp_path):
    original = kzoo.build(name, num_classes=7, **overrides)
    kzoo.save_weights(original, tmp_path / "seven.safetensors")
    with pytest.raises(ValueError, match=r"num_classes=7, or keep 3 and pass load_head=False"):
        kzoo.build(name, tmp_path / "seven.safetensors", num_classes=3, **overrides)
    model = kzoo.build(name, tmp_path / "seven.safetensors", load_head=False, num_classes=3, **overrides)
    source = weights_by_layer(original)
    for layer, weights in weights_by_layer(model).items():
        same = all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(weights, source[layer], strict=True))
        assert same == (layer != head)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_first_convolution_is_adapted_as_timm_does(channels, tmp_path):
    golden = safetensors.numpy.load_file(GOLDEN)
    options = {"filters": (4, 5), "hidden_dim": 7}
    kzoo.save_weights(kzoo.build("cnn", input_shape=(12, 8, 3), **options), tmp_path / "three.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "three.safetensors")
    arrays["conv1.weight"] = golden["kernel"]
    safetensors.numpy.save_file(arrays, tmp_path / "three.safetensors")
    model = kzoo.build("cnn", tmp_path / "three.safetensors", input_shape=(12, 8, channels), **options)
    kzoo.save_weights(model, tmp_path / "adapted.safetensors")
    adapted = safetensors.numpy.load_file(tmp_path / "adapted.safetensors")
    np.testing.assert_allclose(adapted.pop("conv1.weight"), golden[f"channels.{channels}"], rtol=1e-6)
    assert all(np.array_equal(value, arrays[name]) for name, value in adapted.items())


@pytest.mark.parametrize("grid", [(2, 3), (7, 4), (6, 5)])
def test_positions_are_interpolated_as_timm_does(grid, tmp_path, caplog):
    golden = safetensors.numpy.load_file(GOLDEN)
    options = {"num_layers": 1, "hidden_dim": 6, "num_heads": 1, "intermediate_dim": 8, "patch_size": 4}
    kzoo.save_weights(kzoo.build("vit_b_16", input_shape=(16, 16, 3), **options), tmp_path / "square.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "square.safetensors")
    arrays["encoder.pos_embedding"] = golden["positions"]
    safetensors.numpy.save_file(arrays, tmp_path / "square.safetensors")
    shape = (4 * grid[0], 4 * grid[1], 3)
    with caplog.at_level(logging.WARNING, "kzoo"):
        model = kzoo.build("vit_b_16", tmp_path / "square.safetensors", input_shape=shape, **options)
    assert f"positions of 4 x 4 patches are interpolated to {grid[0]} x {grid[1]}" in caplog.text
    kzoo.save_weights(model, tmp_path / "other.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "other.safetensors")
    wanted = golden[f"positions.{grid[0]}.{grid[1]}"]
    np.testing.assert_allclose(found["encoder.pos_embedding"], wanted, rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match=r"mis-shaped: encoder.pos_embedding"):
        kzoo.load_weights(kzoo.build("vit_b_16", input_shape=(12, 12, 3), **options), tmp_path / "other.safetensors")


def test_a_grey_network_is_not_adapted_to_colours(tmp_path):
    kzoo.save_weights(kzoo.build("mnist_cnn"), tmp_path / "grey.safetensors")
    with pytest.raises(ValueError, match=r"mis-shaped: conv2d.weight \(32, 1, 3, 3\), wanted \(32, 3, 3, 3\)"):
        kzoo.build("mnist_cnn", tmp_path / "grey.safetensors", input_shape=(28, 28, 3))


def test_names_of_other_releases(tmp_path):
    """torchvision's published DenseNet files say norm.1 where its modules say norm1."""
    model = kzoo.build("densenet121", input_shape=(32, 32, 3), num_classes=4)
    kzoo.save_weights(model, tmp_path / "ours.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    old = {}
    for name, value in arrays.items():
        for part in ("norm", "conv"):
            for number in "12":
                if "denselayer" in name:
                    name = name.replace(f"{part}{number}.", f"{part}.{number}.")
        old[name] = value
    assert old.keys() != arrays.keys()
    safetensors.numpy.save_file(old, tmp_path / "old.safetensors")
    again = kzoo.build("densenet121", tmp_path / "old.safetensors", input_shape=(32, 32, 3), num_classes=4)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


def test_half_precision_files(resnet, tmp_path):
    path, original = resnet
    arrays = {name: value.astype("float16") for name, value in safetensors.numpy.load_file(path).items()}
    safetensors.numpy.save_file(arrays, tmp_path / "half.safetensors")
    model = kzoo.build("resnet20", tmp_path / "half.safetensors")
    for a, b in zip(model.get_weights(), original.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b.astype("float16").astype("float32"))


@pytest.mark.parametrize("name", ["resnet20", "rnn_gru", "transformer_tiny", "vit_ti_16"])
def test_building_for_weights_skips_random_numbers_and_leaves_no_trace(name, tmp_path, monkeypatch):
    import re

    import keras

    model = kzoo.build(name)
    kzoo.save_weights(model, tmp_path / "weights.safetensors")

    def never(*_, **__):
        raise AssertionError("a random number was drawn")

    # Initializers that a model file makes itself still draw.
    for draw in () if name == "vit_ti_16" else ("uniform", "normal", "truncated_normal"):
        monkeypatch.setattr(keras.src.initializers.random_initializers.random, draw, never)
    again = kzoo.build(name, tmp_path / "weights.safetensors")
    monkeypatch.undo()
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
    first, second = (re.sub(r"_\d+'", "'", str(built.get_config())) for built in (model, again))
    assert first == second
    for one, other in zip(model.layers, again.layers, strict=True):
        kinds = [
            {key: type(value) for key, value in vars(layer).items() if key.endswith("_initializer")}
            for owner in (one, other)
            for layer in (owner, getattr(owner, "cell", owner))
        ]
        assert kinds[:2] == kinds[2:]
    again.save(tmp_path / "model.keras")
    keras.models.load_model(tmp_path / "model.keras", safe_mode=True)


def test_weights_that_do_not_fit_leave_no_variable_waiting(tmp_path):
    kzoo.save_weights(kzoo.build("mlp"), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="does not fit cnn"):
        kzoo.build("cnn", tmp_path / "weights.safetensors")
    from keras.src.backend.common import global_state

    assert not global_state.get_global_attribute("uninitialized_variables", [])


def test_values_are_copies_of_the_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    kzoo.save_weights(kzoo.build("mlp"), path)
    model = kzoo.build("mlp", path)
    before = [value.copy() for value in model.get_weights()]
    with open(path, "r+b") as file:  # the same file, written over in place
        file.seek(1000)
        file.write(b"\x00" * 4000)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_damage_that_only_the_digest_tells_builds_nothing(tmp_path):
    path = tmp_path / "weights.safetensors"
    kzoo.save_weights(kzoo.build("mlp"), path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged: its sha256 is not the one written in it"):
        kzoo.build("mlp", path)


@pytest.mark.parametrize("shift", [0, 4, 64])
def test_arrays_at_any_address_become_tensors(shift):
    from kzoo.weights import blank

    space = np.zeros(64 + 64 + 4 * 210, np.uint8)
    begin = -space.ctypes.data % 64 + shift
    stored = space[begin : begin + 4 * 210].view("float32").reshape(5, 7, 3, 2)
    stored[...] = np.random.default_rng(0).normal(size=stored.shape)
    wanted = stored.copy()
    views = {axes: stored.transpose(axes) for axes in ((0, 1, 2, 3), (2, 3, 1, 0), (1, 0, 3, 2))}
    got = {axes: blank._tensor(view) for axes, view in views.items()}
    sliced = blank._tensor(stored[:, ::2])
    stored[...] = 0
    for axes, tensor in got.items():
        np.testing.assert_array_equal(tensor, wanted.transpose(axes))
    np.testing.assert_array_equal(sliced, wanted[:, ::2])


@pytest.mark.parametrize("step", [1, 3, 9])
def test_a_load_that_is_interrupted_leaves_the_process_as_it_was(step, tmp_path, monkeypatch):
    """Keras keeps variables that wait for values; those of a failed load would be asked at the end of the next one."""
    from kzoo.weights import blank

    sizes = {"num_layers": 2, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 12, "vocabulary_size": 20}
    model = kzoo.build("bert", **sizes)
    kzoo.save_weights(model, tmp_path / "w.safetensors")
    build, count = keras.layers.Dense.build, []

    def interrupted(layer, shape):
        count.append(1)
        if len(count) == step:
            raise KeyboardInterrupt
        build(layer, shape)

    with monkeypatch.context() as patched:
        patched.setattr(keras.layers.Dense, "build", interrupted)
        for _ in range(3):
            count.clear()
            with pytest.raises(KeyboardInterrupt):
                kzoo.build("bert", tmp_path / "w.safetensors", **sizes)
    tensor = blank._tensor

    def fails(array):
        count.append(1)
        if len(count) == step:
            raise MemoryError
        return tensor(array)

    with monkeypatch.context() as patched:
        patched.setattr(blank, "_tensor", fails)
        count.clear()
        with pytest.raises(MemoryError):
            kzoo.build("bert", tmp_path / "w.safetensors", **sizes)
    with pytest.raises(ValueError, match="missing|unexpected|mis-shaped"):
        kzoo.build("bert", tmp_path / "w.safetensors", **{**sizes, "num_layers": 1})
    again = kzoo.build("bert", tmp_path / "w.safetensors", **sizes)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))
    kzoo.build("mnist_cnn")

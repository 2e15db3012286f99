"""AlexNet, VGG, ResNet and DenseNet against the published implementations, and the layers they share.

The golden files come from scripts/golden/torchvision_networks.py; weights and images are drawn by seeded_weights.py.
"""

import json

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled
from golden_files import (
    GOLDEN,
    assert_close,
    assert_open_size_is_every_size,
    assert_writes_what_it_read,
    compare_drawn,
    outputs,
)
from keras import layers, ops
from seeded_weights import digest, draw_images, draw_weights, load_drawn_weights, reference_shapes

import kzoo
from kzoo.layers import AdaptiveAveragePooling2D, LocalResponseNormalization

SHAPES = json.loads((GOLDEN / "torchvision_shapes.json").read_text())
NARROW = {"filters": (4, 6, 8, 8, 10), "hidden_dim": 16, "num_classes": 11}
CASES = {
    "resnet18": {"num_classes": 11},
    "resnet50": {"num_classes": 11},
    "resnet20": {},
    "vgg11": NARROW,
    "vgg16_bn": NARROW,
    "alexnet": {"hidden_dim": 16, "num_classes": 11},
    "alexnet_2012": {"filters": (8, 12, 16, 16, 12), "hidden_dim": 16, "num_classes": 11},
    "densenet121": {"depths": (2, 3, 2, 2), "growth_rate": 8, "filters": 16, "num_classes": 11},
}
# the smallest configurations of every architecture whose image sizes are those of the full ones
TINY = {
    "resnet18": {"depths": (1, 1, 1, 1), "filters": 2},
    "resnet20": {"depths": (1, 1, 1), "filters": 2},
    "vgg11": {"depths": (1, 1, 1, 1, 1), "filters": (2, 2, 2, 2, 2), "hidden_dim": 6},
    "alexnet": {"filters": (2, 2, 2, 2, 2), "hidden_dim": 6},
    "alexnet_2012": {"filters": (2, 2, 2, 2, 2), "hidden_dim": 6},
    "densenet121": {"depths": (1, 1, 1, 1), "growth_rate": 2, "filters": 4},
}
MINIMUM = {"resnet18": 1, "resnet20": 1, "vgg11": 32, "alexnet": 63, "alexnet_2012": 63, "densenet121": 29}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_reference(name, tmp_path):
    """At the default image size, a smaller one and one that is odd and not square."""
    compared = 0
    for got, wanted in compare_drawn(tmp_path, name, name, CASES[name]):
        assert_close(got, wanted)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("name", SHAPES)
def test_names_and_shapes_are_the_references(name):
    with keras.StatelessScope(initialize_variables=False):
        assert digest(reference_shapes(kzoo.build(name))) == SHAPES[name]


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "vgg11_bn", "densenet121"])
def test_batch_norm_has_torchs_constants(name):
    """An epsilon slightly off hides in the outputs, the momentum shows in training only."""
    with keras.StatelessScope(initialize_variables=False):
        model = kzoo.build(name)
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(1e-5, 0.9)}


def test_every_variant_is_compared():
    architectures = ("alexnet", "vgg", "resnet", "densenet")
    assert set(SHAPES) == {name for architecture in architectures for name in kzoo.list_models(f"{architecture}*")}


@pytest.mark.parametrize("name", TINY)
def test_writes_what_it_read(name, tmp_path):
    assert_writes_what_it_read(kzoo.build(name, **TINY[name]), tmp_path)


def test_densenets_bottlenecks_are_as_wide_as_asked_for():
    sizes = {"depths": (1, 2), "growth_rate": 3, "filters": 4, "input_shape": (32, 32, 3)}
    for bn_size in (2, 4):
        model = kzoo.build("densenet121", bn_size=bn_size, **sizes)
        assert model.get_layer("features.denseblock2.denselayer2.conv1").filters == 3 * bn_size
        assert model.get_layer("features.denseblock2.denselayer2.conv2").filters == 3


def test_densenet_reads_the_names_of_published_files(tmp_path):
    """torchvision renames `norm.1` to `norm1` while it loads; its files still carry the old names."""
    model = kzoo.build("densenet121", **TINY["densenet121"])
    drawn = draw_weights(reference_shapes(model))
    old = {key: value for key, value in drawn.items() if "denselayer" not in key}
    for key in drawn.keys() - old.keys():
        module, _, leaf = key.rpartition(".")
        old[f"{module[:-1]}.{module[-1]}.{leaf}"] = drawn[key]
    assert "features.denseblock1.denselayer1.norm.1.running_mean" in old
    safetensors.numpy.save_file(old, tmp_path / "old.safetensors")
    kzoo.load_weights(model, tmp_path / "old.safetensors")
    kzoo.save_weights(model, tmp_path / "back.safetensors")
    kzoo.save_weights(model, tmp_path / "new.safetensors", names="torchvision")
    for file, wanted in (("back", old), ("new", drawn)):
        found = safetensors.numpy.load_file(tmp_path / f"{file}.safetensors")
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("name", TINY)
def test_open_image_size(name, tmp_path):
    assert_open_size_is_every_size(name, tmp_path, MINIMUM[name], TINY[name])


@pytest.mark.parametrize("name", TINY)
def test_smallest_image(name, tmp_path):
    least = MINIMUM[name]
    model = load_drawn_weights(kzoo.build(name, input_shape=(least, least, 3), **TINY[name]), tmp_path)
    assert np.isfinite(outputs(model, draw_images(least, least))).all()
    if least > 1:
        for shape in ((least - 1, 224, 3), (224, least - 1, 3), (least - 1, None, 3)):
            with pytest.raises(ValueError, match=f"{name}.*at least {least} x {least} pixels"):
                kzoo.build(name, input_shape=shape, **TINY[name])
    else:
        with pytest.raises(ValueError, match="input_shape must be at least 1"):
            kzoo.build(name, input_shape=(0, 32, 3), **TINY[name])


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("dtype", [None, "mixed_float16"])
def test_features(name, dtype):
    """`num_classes=0` returns, in float32, what the last layer would see."""
    least = max(MINIMUM[name], 16)
    shape = {"input_shape": (least, least + 1, 3)}
    whole = kzoo.build(name, dtype=dtype, num_classes=3, **shape, **TINY[name])
    backbone = kzoo.build(name, dtype=dtype, num_classes=0, **shape, **TINY[name])
    backbone.set_weights(whole.get_weights()[:-2])
    kernel, bias = whole.layers[-1].get_weights()
    x = draw_images(least, least + 1)
    features = outputs(backbone, x)
    assert features.dtype == np.float32 and features.shape == (2, len(kernel))
    assert_close(features @ kernel + bias, outputs(whole, x))


@pytest.mark.parametrize("name", TINY)
def test_lower_precision_and_xla_with_drawn_weights(name, tmp_path):
    """Fresh residual blocks are the identity: only drawn weights show what each block computes in half precision."""
    least = max(MINIMUM[name], 24)
    shape = {"input_shape": (least, least + 5, 3)}
    full = load_drawn_weights(kzoo.build(name, **shape, **TINY[name]), tmp_path)
    x = draw_images(least, least + 5)
    wanted = outputs(full, x)
    assert_close(np.asarray(compiled(full)(x)), wanted)
    for policy, tolerance in (("mixed_bfloat16", 0.08), ("mixed_float16", 0.02)):
        half = kzoo.build(name, dtype=policy, **shape, **TINY[name])
        half.set_weights(full.get_weights())
        assert half.output.dtype == "float32"
        assert_close(outputs(half, x), wanted, tolerance)


def test_num_classes_zero_only_where_a_model_says_so():
    with pytest.raises(ValueError, match="num_classes must be at least 1"):
        kzoo.build("cnn", num_classes=0)
    with pytest.raises(ValueError, match="num_classes must be at least 0"):
        kzoo.build("resnet20", num_classes=-1)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("resnet18", {"block": "wide"}, "block must be one of basic, bottleneck, got 'wide'"),
        ("resnet18", {"input_shape": (224, 224)}, r"input_shape must be \(height, width, channels\)"),
        ("resnet18", {"input_shape": (224, 224, None)}, "channels known"),
        ("vgg11", {"filters": (4, 4)}, "depths and filters must name the same stages"),
        ("alexnet", {"filters": (4, 4)}, "filters must be five numbers"),
        ("alexnet_2012", {"filters": (4, 4, 4, 3, 4)}, "even ones for two groups"),
    ],
)
def test_impossible_configurations(name, overrides, message):
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        kzoo.build(name, **overrides)


@pytest.mark.parametrize(("name", "depths"), [("resnet50", (3, 4, 6, 3)), ("resnet20", (3, 3, 3))])
def test_taps_are_the_outputs_of_blocks(name, depths):
    with keras.StatelessScope(initialize_variables=False):
        model = kzoo.build(name)
    for stage, depth in enumerate(depths, 1):
        for index in range(depth):
            assert isinstance(model.get_layer(f"layer{stage}.{index}"), layers.ReLU)
    height = model.get_layer(f"layer{len(depths)}.0").output.shape[1]
    assert height == (7 if name == "resnet50" else 8)


def test_shortcut_without_parameters():
    """A fresh block is its shortcut: every second pixel, zeros on both sides of the channels."""
    model = kzoo.build("resnet20", filters=4, depths=(1, 1), input_shape=(5, 7, 3))
    taps = keras.Model(model.input, [model.get_layer("layer1.0").output, model.get_layer("layer2.0").output])
    before, after = (ops.convert_to_numpy(x) for x in taps(draw_images(5, 7)))
    np.testing.assert_array_equal(after[..., 2:6], before[:, ::2, ::2])
    assert before.any() and not after[..., :2].any() and not after[..., 6:].any()


@pytest.mark.parametrize("name", TINY)
def test_layer_names_do_not_depend_on_what_was_built_before(name):
    first, second = (kzoo.build(name, **TINY[name]) for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        # as torchvision publishes them, in 1e9; resnet20 by hand: stem, three stages with two first strides, classifier
        ("resnet50", 4.089),
        ("resnet18", 1.814),
        ("vgg16", 15.470),
        ("alexnet", 0.714),
        ("densenet121", 2.834),
        (
            "resnet20",
            (1024 * 27 * 16 + 6 * 1024 * 144 * 16 + 256 * 32 * 144 + 5 * 256 * 288 * 32 + 64 * 64 * 288
             + 5 * 64 * 576 * 64 + 640) / 1e9,
        ),
    ],
)  # fmt: skip
def test_multiply_accumulates(name, macs):
    assert kzoo.info(name)["macs"] / 1e9 == pytest.approx(macs, abs=0.0006 if macs > 0.1 else 1e-12)


GOLDEN_LAYERS = safetensors.numpy.load_file(GOLDEN / "torch_image_layers.safetensors")


def normalised_by_hand(x, size, alpha, beta, k):
    wanted = np.empty(x.shape)
    for channel in range(x.shape[-1]):
        low, high = max(0, channel - size // 2), min(x.shape[-1], channel + (size - 1) // 2 + 1)
        total = np.square(x[..., low:high].astype("float64")).sum(-1)
        wanted[..., channel] = x[..., channel] / (k + alpha * total) ** beta
    return wanted


@pytest.mark.parametrize("key", [key for key in GOLDEN_LAYERS if key.startswith("norm")])
def test_local_response_normalization(key):
    """Against torch, which divides alpha by the size, and against the equation in float64."""
    size, alpha, beta, k = (float(text) for text in key.split()[1:])
    size, alpha = int(size), alpha / size
    x = draw_images(3, 2, channels=7) * 30
    got = ops.convert_to_numpy(LocalResponseNormalization(size, alpha, beta, k)(x))
    assert_close(got, GOLDEN_LAYERS[key], 2e-6)
    assert_close(got, normalised_by_hand(x, size, alpha, beta, k), 2e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_local_response_normalization_in_half_precision(dtype):
    """Squares of 1000 overflow float16; the layer computes in float32 and keeps the dtype."""
    x = ops.cast(draw_images(3, 2, channels=7) * 300, dtype)
    layer = LocalResponseNormalization(dtype=dtype)
    got = layer(x)
    assert keras.backend.standardize_dtype(got.dtype) == dtype
    values = ops.convert_to_numpy(ops.cast(x, "float32"))
    assert_close(
        ops.convert_to_numpy(ops.cast(got, "float32")), normalised_by_hand(values, 5, 1e-4, 0.75, 2.0), 2.0**-8
    )


@pytest.mark.parametrize("key", [key for key in GOLDEN_LAYERS if key.startswith("pool")])
def test_adaptive_average_pooling(key):
    """Against torch, for sizes below, at and above the number of cells, divisible or not; also under XLA."""
    cells, height, width = map(int, key.split()[1:])
    layer, x = AdaptiveAveragePooling2D(cells), draw_images(height, width)
    assert_close(ops.convert_to_numpy(layer(x)), GOLDEN_LAYERS[key], 1e-6)
    assert_close(np.asarray(compiled(layer)(x)), GOLDEN_LAYERS[key], 1e-6)


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        (AdaptiveAveragePooling2D, {"output_size": 0}),
        (AdaptiveAveragePooling2D, {"output_size": (7, 7)}),
        (LocalResponseNormalization, {"size": 0}),
        (LocalResponseNormalization, {"size": 2.5}),
        (LocalResponseNormalization, {"k": 0.0}),
        (LocalResponseNormalization, {"alpha": -1e-4}),
    ],
)
def test_layers_refuse_what_they_cannot_compute(layer, arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}.*got"):
        layer(**arguments)


@pytest.mark.parametrize("layer", [AdaptiveAveragePooling2D(3), LocalResponseNormalization(3, 0.1, 0.5, 1.0)])
def test_layers_come_back_from_their_configuration(layer):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    x = draw_images(8, 5, channels=4)
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), ops.convert_to_numpy(layer(x)))

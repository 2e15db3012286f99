"""GoogLeNet, Inception v3, ViT and the recurrent CNN against the published implementations, and the layers of ViT.

The golden files come from scripts/golden/torchvision_inception_vit.py; weights and images are drawn alike there.
"""

import json

import keras
import numpy as np
import pytest
import safetensors
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
from kzoo.layers.tokens import ClassToken, Split

SHAPES = json.loads((GOLDEN / "torchvision_inception_vit_shapes.json").read_text())
NARROW_VIT = {"num_layers": 2, "hidden_dim": 24, "num_heads": 3, "intermediate_dim": 40, "num_classes": 11}
# golden file -> variant, its configuration, what the images are multiplied by (see the script)
CASES = {
    "googlenet": ("googlenet", {"num_classes": 11}, 1),
    "googlenet_auxiliary": ("googlenet", {"num_classes": 11, "auxiliary": True}, 1),
    "googlenet_2014": ("googlenet_2014", {"num_classes": 11}, 30),
    "googlenet_2014_auxiliary": ("googlenet_2014", {"num_classes": 11, "auxiliary": True}, 30),
    "inception_v3": ("inception_v3", {"num_classes": 11}, 1),
    "inception_v3_auxiliary": ("inception_v3", {"num_classes": 11, "auxiliary": True}, 1),
    "vit": ("vit_b_16", NARROW_VIT, 1),
    "recurrent_cnn": ("recurrent_cnn_160", {"filters": 32}, 30),
    "recurrent_cnn_bias": ("recurrent_cnn_160", {"filters": 24, "num_steps": 2, "use_bias": True}, 30),
}
# the smallest configurations of every architecture
TINY = {
    "googlenet": {"width_multiplier": 0.05},
    "googlenet_2014": {"width_multiplier": 0.05},
    "inception_v3": {"width_multiplier": 0.02},
    "recurrent_cnn_160": {"filters": 8, "num_steps": 1},
    "vit_b_16": {"patch_size": 4, "num_layers": 1, "hidden_dim": 6, "num_heads": 2, "intermediate_dim": 5},
}
OPEN = ["googlenet", "googlenet_2014", "inception_v3", "recurrent_cnn_160"]
MINIMUM = {"googlenet": 15, "googlenet_2014": 31, "inception_v3": 75, "recurrent_cnn_160": 1, "vit_b_16": 4}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_reference(case, tmp_path):
    """At every size of the golden file: the default, smaller, odd and not square."""
    for got, wanted in compare_drawn(tmp_path, case, *CASES[case]):
        assert_close(got, wanted)


def compare_timm(folder):
    """(ours, the reference's) logits of timm's own network, at a size that is not square."""
    path = GOLDEN / "torchvision_vit_timm.safetensors"
    with safetensors.safe_open(path, "numpy") as file:
        shapes = json.loads(file.metadata()["shapes"])
        wanted = file.get_tensor("32x80")
    assert {"cls_token", "pos_embed", "blocks.1.attn.qkv.weight", "head.bias"} < shapes.keys()
    safetensors.numpy.save_file(draw_weights(shapes), folder / "timm.safetensors")
    model = kzoo.build("vit_ti_16", folder / "timm.safetensors", input_shape=(32, 80, 3), **NARROW_VIT)
    yield outputs(model, draw_images(32, 80)), wanted


def test_vit_reads_the_names_of_timm(tmp_path):
    for got, wanted in compare_timm(tmp_path):
        assert_close(got, wanted)


@pytest.mark.parametrize("name", SHAPES)
def test_names_and_shapes_are_the_references(name):
    overrides = {"auxiliary": True} if name.endswith("_auxiliary") else {}
    with keras.StatelessScope(initialize_variables=False):
        assert digest(reference_shapes(kzoo.build(name.removesuffix("_auxiliary"), **overrides))) == SHAPES[name]


def test_every_variant_is_compared():
    architectures = ("googlenet", "inception_v3", "vit", "recurrent_cnn")
    variants = {name for architecture in architectures for name in kzoo.list_models(f"{architecture}*")}
    assert set(SHAPES) == variants | {"googlenet_auxiliary", "googlenet_2014_auxiliary", "inception_v3_auxiliary"}


@pytest.mark.parametrize(
    ("name", "overrides", "count"),
    [
        ("googlenet", {"auxiliary": True}, 13_004_888),
        ("googlenet_2014", {"auxiliary": True}, 13_378_280),
        ("inception_v3", {"auxiliary": True}, 27_161_264),
        ("recurrent_cnn_160", {"use_bias": True}, 1_856_800 + 5 * 160 + 10),
    ],
)
def test_counts_of_options(name, overrides, count):
    facts = kzoo.info(name, **overrides)
    assert facts["parameters"] == count and facts["uncounted"] == []


@pytest.mark.parametrize("name", TINY)
def test_writes_what_it_read(name, tmp_path):
    assert_writes_what_it_read(kzoo.build(name, input_shape=(80, 80, 3), **TINY[name]), tmp_path)


@pytest.mark.parametrize("name", ["googlenet", "googlenet_2014"])
def test_published_files_hold_auxiliary_heads_that_need_not_be_built(name, tmp_path):
    options = {**TINY[name], "input_shape": (96, 80, 3), "num_classes": 3}
    whole = load_drawn_weights(kzoo.build(name, auxiliary=True, **options), tmp_path)
    kzoo.save_weights(whole, tmp_path / "whole.safetensors")
    plain = kzoo.build(name, tmp_path / "whole.safetensors", **options)
    x = draw_images(96, 80)
    assert_close(outputs(plain, x), outputs(whole, x)[0], 1e-6)
    kzoo.save_weights(plain, tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match=r"missing: aux1\.conv"):
        kzoo.load_weights(whole, tmp_path / "plain.safetensors")


@pytest.mark.parametrize("name", OPEN)
def test_open_image_size(name, tmp_path):
    assert_open_size_is_every_size(name, tmp_path, MINIMUM[name], TINY[name])


@pytest.mark.parametrize(("name", "auxiliary"), [*((name, None) for name in OPEN), ("googlenet_2014", 79)])
def test_smallest_image(name, auxiliary, tmp_path):
    least, overrides = (auxiliary, {"auxiliary": True}) if auxiliary else (MINIMUM[name], {})
    model = kzoo.build(name, input_shape=(least, least, 3), **TINY[name], **overrides)
    assert np.isfinite(outputs(load_drawn_weights(model, tmp_path), draw_images(least, least))).all()
    if least > 1:
        for shape in ((least - 1, 224, 3), (224, least - 1, 3)):
            with pytest.raises(ValueError, match=f"{name}.*at least {least} x {least} pixels"):
                kzoo.build(name, input_shape=shape, **TINY[name], **overrides)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("dtype", [None, "mixed_float16"])
def test_features(name, dtype):
    """`num_classes=0` returns, in float32, what the last layer would see."""
    shape = {"input_shape": (76, 80, 3)}
    whole = kzoo.build(name, dtype=dtype, num_classes=3, **shape, **TINY[name])
    backbone = kzoo.build(name, dtype=dtype, num_classes=0, **shape, **TINY[name])
    head = whole.layers[-1].get_weights()
    backbone.set_weights(whole.get_weights()[: -len(head)])
    x = draw_images(76, 80)
    features = outputs(backbone, x)
    assert features.dtype == np.float32 and features.shape == (2, len(head[0]))
    assert_close(features @ head[0] + sum(head[1:]), outputs(whole, x))


@pytest.mark.parametrize("name", TINY)
def test_lower_precision_and_xla_with_drawn_weights(name, tmp_path):
    shape = {"input_shape": (76, 80, 3)}
    full = load_drawn_weights(kzoo.build(name, **shape, **TINY[name]), tmp_path)
    x = draw_images(76, 80)
    wanted = outputs(full, x)
    assert_close(np.asarray(compiled(full)(x)), wanted)
    for policy, tolerance in (("mixed_bfloat16", 0.1), ("mixed_float16", 0.01)):
        half = kzoo.build(name, dtype=policy, **shape, **TINY[name])
        half.set_weights(full.get_weights())
        assert half.output.dtype == "float32"
        assert_close(outputs(half, x), wanted, tolerance)


@pytest.mark.parametrize("name", TINY)
def test_layer_names_do_not_depend_on_what_was_built_before(name):
    shape = {"input_shape": (80, 80, 3)}
    first, second = (kzoo.build(name, **shape, **TINY[name]) for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("vit_b_16", {"input_shape": (224, 230, 3)}, r"input_shape \(224, 230, 3\).*multiples of patch_size 16"),
        ("vit_b_16", {"input_shape": (None, 224, 3)}, r"input_shape \(None, 224, 3\).*multiples of patch_size 16"),
        ("vit_b_16", {"input_shape": (8, 16, 3)}, "at least 16 x 16 pixels"),
        ("vit_b_16", {"num_heads": 7}, "hidden_dim 768 is not divisible by num_heads 7"),
        ("vit_b_16", {"num_layers": 0}, "num_layers must be at least 1"),
        ("googlenet", {"auxiliary": True, "num_classes": 0}, "auxiliary=True .*num_classes=0"),
        ("googlenet_2014", {"auxiliary": True, "input_shape": (None, 224, 3)}, "known height and width"),
        ("googlenet", {"width_multiplier": 0}, "width_multiplier must be a number above 0, got 0"),
        ("inception_v3", {"width_multiplier": -1.5}, "width_multiplier must be a number above 0, got -1.5"),
        ("inception_v3", {"width_multiplier": "1"}, "width_multiplier must be a number above 0, got '1'"),
        ("inception_v3", {"auxiliary": True, "input_shape": (298, 320, 3)}, "at least 299 x 299 pixels"),
        ("inception_v3", {"auxiliary": True, "num_classes": 0}, "auxiliary=True .*num_classes=0"),
        ("recurrent_cnn_160", {"num_steps": 0}, "num_steps must be at least 1"),
    ],
)
def test_impossible_configurations(name, overrides, message):
    with pytest.raises(ValueError, match=message):
        kzoo.build(name, **overrides)


@pytest.mark.parametrize(
    ("name", "macs"),
    [("googlenet", 1.498), ("inception_v3", 5.713), ("vit_b_16", 17.564), ("vit_b_32", 4.409), ("vit_l_32", 15.378)],
)
def test_multiply_accumulates_as_torchvision_publishes_them(name, macs):
    assert kzoo.info(name)["macs"] / 1e9 == pytest.approx(macs, abs=0.0006)


@pytest.mark.parametrize("num_steps", [1, 3])
def test_shared_weights_multiply_at_every_step_and_count_once(num_steps):
    """5x5 at 32x32; two recurrent layers at 16x16, two at 8x8: one feed-forward 3x3 and one recurrent 3x3 a step."""
    facts = kzoo.info("recurrent_cnn_160", num_steps=num_steps)
    kernel = 9 * 160 * 160
    calls = 1 + num_steps
    assert facts["macs"] == 32 * 32 * 75 * 160 + calls * kernel * 2 * (16 * 16 + 8 * 8) + 1600
    assert facts["parameters"] == 75 * 160 + 2 * 4 * kernel + 1600


def test_recurrent_weights_are_one_layer_called_at_every_step():
    model = kzoo.build("recurrent_cnn_160", filters=8)
    recurrent = [layer for layer in model.layers if layer.name.endswith(".recurrent")]
    assert len(recurrent) == 4
    assert all(len(layer._inbound_nodes) == 3 for layer in recurrent)


def test_auxiliary_logits_are_those_of_the_middle(tmp_path):
    """Changing the last module moves the classifier's logits only."""
    options = {**TINY["googlenet"], "input_shape": (32, 32, 3), "num_classes": 3, "auxiliary": True}
    model = load_drawn_weights(kzoo.build("googlenet", **options), tmp_path)
    x = draw_images(32, 32)
    before = outputs(model, x)
    assert model.output_names == ["fc", "aux1.fc2", "aux2.fc2"] and before.shape == (3, 2, 3)
    kernel = model.get_layer("inception5b.branch1.conv").kernel
    kernel.assign(2 * kernel)
    after = outputs(model, x)
    assert (np.abs(after - before).max((1, 2)) > 0).tolist() == [True, False, False]


def test_auxiliary_heads_learn_with_three_tenths_of_the_weight(tmp_path):
    options = {**TINY["googlenet"], "input_shape": (32, 32, 3), "num_classes": 3, "auxiliary": True}
    model = load_drawn_weights(kzoo.build("googlenet", **options), tmp_path)
    pair = draw_images(32, 32), np.array([0, 2])
    data = kzoo.data.from_arrays(*pair, model, test=pair, validation_fraction=0)
    found = kzoo.evaluate(model, data)
    logits = outputs(model, draw_images(32, 32)).astype("float64")
    log_shares = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -(log_shares[:, 0, 0] + log_shares[:, 1, 2]) / 2
    assert found["loss"] == pytest.approx(losses[0] + 0.3 * (losses[1] + losses[2]), rel=1e-4)
    assert found["accuracy"] == np.mean(logits[0].argmax(-1) == [0, 2])
    assert found["fc_loss"] == pytest.approx(losses[0], rel=1e-4)
    assert kzoo.predict(model, draw_images(32, 32)).shape == (2, 3)


def test_class_token_comes_first():
    layer, x = ClassToken(), draw_images(3, 4)[:, 0]
    layer.build(x.shape)
    layer.embedding.assign(np.array([[[1.0, 2.0, 3.0]]]))
    y = ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(y[:, 0], [[1, 2, 3]] * 2)
    np.testing.assert_array_equal(y[:, 1:], x)
    assert layer(keras.Input((None, 3))).shape == (None, None, 3)
    assert layer(keras.Input((4, 3))).shape == (None, 5, 3)


def test_split_refuses_what_it_cannot_divide():
    parts = Split(3)(keras.Input((5, 12)))
    assert [part.shape for part in parts] == [(None, 5, 4)] * 3
    with pytest.raises(ValueError, match="num_parts 3 does not divide the last axis, 10"):
        Split(3)(keras.Input((5, 10)))
    with pytest.raises(ValueError, match="num_parts must be an int of at least 1, got 0"):
        Split(0)


def test_taps():
    """What `kzoo.features` offers: modules of GoogLeNet, blocks of ViT, layers of the recurrent CNN."""
    with keras.StatelessScope(initialize_variables=False):
        assert kzoo.build("googlenet").get_layer("inception4e").output.shape == (None, 14, 14, 832)
        assert kzoo.build("googlenet_2014").get_layer("inception5b").output.shape == (None, 7, 7, 1024)
        assert kzoo.build("inception_v3").get_layer("Mixed_7c").output.shape == (None, 8, 8, 2048)
        vit = kzoo.build("vit_b_32")
        assert vit.get_layer("encoder.layers.encoder_layer_11").output.shape == (None, 50, 768)
        assert kzoo.build("recurrent_cnn_160").get_layer("layer5").output.shape == (None, 8, 8, 160)
        assert isinstance(vit.get_layer("encoder.layers.encoder_layer_0"), layers.Add)

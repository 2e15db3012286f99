"""Explanations: captum's numbers, what holds for every method, and what is refused."""

import keras
import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN, assert_close
from seeded_weights import draw_images, load_drawn_weights

import kzoo
from kzoo.explaining.explanation import METHODS

CAPTUM = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"steps": 8, "baseline": 0.25},
    "occlusion": {"window": (7, 10), "stride": (5, 10), "baseline": 0.25},
    "grad_cam": {"at": "layer3"},
}
SIZES = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "vocabulary_size": 20}


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    model = kzoo.build("resnet18", input_shape=(32, 48, 3), num_classes=11)
    return load_drawn_weights(model, tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("method", CAPTUM)
def test_agrees_with_captum(method, resnet):
    wanted = safetensors.numpy.load_file(GOLDEN / "captum.safetensors")[method]
    found = kzoo.explain(resnet, draw_images(32, 48), method, target=[3, 7], **CAPTUM[method])
    scores = found.scores[..., :1] if method == "occlusion" else found.scores
    # what occlusion subtracts are logits some times as large as its scores
    assert_close(scores.reshape(wanted.shape), wanted, 5e-5 if method == "occlusion" else 1e-5)


@pytest.fixture(scope="module")
def reader():
    """A classifier of texts, and three of them as arrays, one with padding."""
    keras.utils.set_random_seed(0)
    model = kzoo.build("bert", head="classification", intermediate_dim=8, num_classes=3, **SIZES)
    ids = np.random.default_rng(0).integers(1, 20, (3, 6), np.int32)
    mask = np.ones_like(ids)
    ids[2, 4:], mask[2, 4:] = 0, 0
    return model, {"token_ids": ids, "padding_mask": mask, "segment_ids": np.zeros_like(ids)}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains_tokens_and_pictures(method, reader, resnet):
    more = {"masks": 40} if method == "rise" else {}
    found = kzoo.explain(*reader, method, target=1, against=0, **more)
    assert found.scores.shape == (3, 6) and np.isfinite(found.scores).all() and np.abs(found.scores).max() > 0
    if method not in ("rise", "grad_cam", "grad_cam++"):  # which weigh places that are not read as well
        np.testing.assert_allclose(found.scores[2, 4:], 0, atol=1e-7)
    logits = np.asarray(reader[0](reader[1]))
    np.testing.assert_allclose(found.values, logits[:, 1] - logits[:, 0], atol=1e-5)


def test_scores_of_integrated_gradients_add_up_and_contrast(reader):
    one, other, both = (kzoo.explain(*reader, target=t, against=a) for t, a in ((1, None), (0, None), (1, 0)))
    np.testing.assert_allclose(both.scores, one.scores - other.scores, atol=1e-5)
    assert max(one.checks["completeness_error"]) < 1e-3
    coarse = kzoo.explain(*reader, target=1, steps=1)
    assert max(coarse.checks["completeness_error"]) > max(one.checks["completeness_error"])


def test_a_language_model_is_asked_for_the_word_it_would_write():
    keras.utils.set_random_seed(0)
    model = kzoo.build("gpt2", max_length=8, **SIZES)
    ids = np.random.default_rng(0).integers(1, 20, (2, 5), np.int32)
    x = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    found, logits = kzoo.explain(model, x, "gradient_x_input"), np.asarray(model(x))
    assert found.target == [(4, word) for word in logits[:, -1].argmax(-1)]
    early = kzoo.explain(model, x, "gradient_x_input", target=(1, 3))
    assert np.abs(early.scores[:, 2:]).max() < 1e-7 < np.abs(early.scores[:, :2]).max()  # later words are not read


def test_probabilities_are_explained_as_log_odds():
    keras.utils.set_random_seed(0)
    model = kzoo.build("mnist_cnn")
    x = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    chance = np.asarray(model(x))[:, 3]
    found = kzoo.explain(model, x, "saliency", target=3)
    np.testing.assert_allclose(found.values, np.log(chance / (1 - chance)), rtol=1e-4)


def test_maps_of_patches_lie_on_the_picture():
    keras.utils.set_random_seed(0)
    model = kzoo.build("vit", input_shape=(8, 16, 3), patch_size=4, num_layers=1, hidden_dim=8, num_heads=2,
                       intermediate_dim=8, num_classes=3)  # fmt: skip
    assert kzoo.explain(model, np.random.default_rng(0).random((1, 8, 16, 3)), "grad_cam").scores.shape == (1, 2, 4)


@pytest.fixture(scope="module")
def corner():
    """A network that looks at one corner of a picture alone, and pictures."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(image[:, :4, :4])
    model = keras.Model(image, keras.layers.Dense(2, name="fc")(keras.layers.Flatten()(x)))
    return model, np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32)


def test_what_is_not_looked_at_has_no_score(corner):
    for method in ("saliency", "integrated_gradients", "occlusion", "smoothgrad"):
        more = {"window": 1} if method == "occlusion" else {}
        scores = np.abs(kzoo.explain(*corner, method, target=1, **more).scores)[..., 0]
        assert scores[:, :4, :4].max() > 1e-4 and scores[:, 4:].max() == scores[:, :, 4:].max() == 0, method


def test_checks_tell_good_explanations_from_bad_ones(corner):
    model, x = corner
    before = model.get_weights()
    found = kzoo.explain(model, x, target=1, checks=["deletion", "infidelity", "sensitivity", "randomization"]).checks
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.mean(found["deletion"]) < np.mean(found["random_deletion"])
    assert np.mean(found["insertion"]) > np.mean(found["random_insertion"])
    assert 0 <= max(found["infidelity"]) < 1 and 0 < max(found["max_sensitivity"]) < 1
    assert list(found["randomization"]) == ["fc", "conv"] and max(found["randomization"].values()) < 0.999


def test_the_infidelity_of_a_linear_model_is_none():
    x = keras.Input((6,), name="x")
    model = keras.Model(x, keras.layers.Dense(2)(x))
    found = kzoo.explain(model, np.random.default_rng(0).random((4, 6)), "gradient_x_input", checks="infidelity")
    assert max(found.checks["infidelity"]) < 1e-9


def test_pictures_and_pages(reader, resnet, tmp_path):
    kzoo.explain(resnet, draw_images(32, 48), at="layer2").draw(tmp_path / "cam.png", example=1)
    found = kzoo.explain(*reader, "saliency", target=1)
    found.words = [["a", "<b>", "fine", "film", "it", "is"], ["x"] * 6, ["y"] * 4]
    found.draw(tmp_path / "words.png", example=2)
    found.draw(tmp_path / "words.html")
    page = (tmp_path / "words.html").read_text()
    assert "&lt;b&gt;" in page and "<b>" not in page and page.count("<span") == 6
    assert all((tmp_path / name).read_bytes()[:4] == b"\x89PNG" for name in ("cam.png", "words.png"))
    with pytest.raises(ValueError, match=r"written as \.png"):
        found.draw(tmp_path / "words.jpg")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "salience"}, "did you mean saliency"),
        ({"target": 3}, r"target=3 is outside of the outputs \(3,\)"),
        ({"target": "good"}, "has no names of classes"),
        ({"target": (1, 2)}, r"wanted \(class,\)"),
        ({"target": [1, 2]}, "2 entries for 3 examples"),
        ({"at": "encoder", "method": "rise"}, "at='encoder' is for grad_cam"),
        ({"at": "encodre"}, "unknown tap 'encodre'"),
        ({"at": "classifier"}, "without places"),
        ({"checks": "deletoin"}, "did you mean deletion"),
        ({"steps": 0}, "steps=0; wanted a number of 1 or more"),
        ({"method": "occlusion", "window": (2, 2)}, "window=.*one for each of 1 axes"),
        ({"output": "logits"}, "unknown output"),
    ],
)
def test_what_is_refused(settings, said, reader):
    with pytest.raises(ValueError, match=said):
        kzoo.explain(*reader, **settings)


def test_unknown_settings_and_unexplained_models_are_refused(reader):
    with pytest.raises(TypeError, match="saliency: unknown setting 'step'"):
        kzoo.explain(*reader, "saliency", step=3)
    with pytest.raises(ValueError, match="none of these can be explained"):
        kzoo.explain(kzoo.build("gan")["generator"], np.zeros((1, 100), np.float32))


def test_on_the_command_line(tmp_path, capsys, monkeypatch):
    from PIL import Image

    from kzoo.__main__ import main

    kzoo.save(kzoo.build("mnist_cnn"), tmp_path / "model")
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "zero.png")
    command = ["kzoo", "explain", str(tmp_path / "model"), str(tmp_path / "zero.png"), str(tmp_path / "why.png")]
    for more, status in (
        (["--target", "3", "--check", "deletion"], 0),
        ([], 2),
        (["--overwrite", "--target", "11"], 2),
    ):
        monkeypatch.setattr("sys.argv", [*command, *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == status
        said = capsys.readouterr()
        assert said.out.startswith("wrote ") and "deletion: " in said.out if not status else said.err.count("\n") == 1

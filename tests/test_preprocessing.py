import json

import numpy as np
import pytest

import kzoo
from kzoo.catalog import update_card
from kzoo.catalog.preprocessing import read_beside

IMAGENET = kzoo.Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.875, "bicubic")
SMALL = {"input_shape": (12, 8, 3), "filters": (4, 5), "hidden_dim": 7}


@pytest.fixture
def folder(tmp_path):
    """A saved model whose weights want ImageNet's normalisation."""
    model = kzoo.build("cnn", **SMALL)
    update_card(model, preprocessing=IMAGENET)
    kzoo.save(model, tmp_path / "saved")
    return tmp_path / "saved"


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, "uint8")


def by_hand(image):
    """(height, width, 3) uint8 of the model's size through the numbers alone."""
    return (image / 255.0 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)


def test_it_travels_with_a_saved_folder(folder):
    assert kzoo.load(folder).kzoo.preprocessing == IMAGENET
    assert kzoo.build("cnn", folder, **SMALL).kzoo.preprocessing == IMAGENET


def test_predict_normalises_pixels(folder):
    model, images = kzoo.load(folder), pixels(2, 12, 8, 3)
    np.testing.assert_allclose(
        kzoo.predict(model, images), kzoo.predict(model, by_hand(images).astype("float32")), atol=1e-6
    )


def test_data_normalises_and_crops(folder):
    model, images = kzoo.load(folder), pixels(4, 12, 8, 3)
    same = kzoo.Preprocessing(IMAGENET.mean, IMAGENET.std)
    data = kzoo.data.from_arrays(images, np.arange(4), model, validation_fraction=0, preprocessing=same)
    x = next(iter(data.train.dataset))[0].numpy()
    np.testing.assert_allclose(x, by_hand(images[data.train.example_ids()]), atol=1e-5)
    data = kzoo.data.from_arrays(images, np.arange(4), model, validation_fraction=0)
    assert data.preprocessing == IMAGENET and data.fingerprint["preprocessing"]["crop"] == 0.875
    assert np.abs(next(iter(data.train.dataset))[0].numpy() - x).max() > 0.1, "resized and cropped"


def test_the_crop_is_the_centre():
    """A frame of noise that the crop cuts away leaves the constant inside alone."""
    from kzoo.data import resizing

    picture = pixels(1, 40, 60, 3)
    picture[:, 8:32, 12:48] = 100
    fitted = resizing.resize(picture, (12, 12, 3), kzoo.Preprocessing(crop=0.5)).numpy()
    np.testing.assert_allclose(fitted, 100 / 255, atol=1e-6)
    assert fitted.shape == (1, 12, 12, 3)


def test_the_export_has_it_inside(folder, tmp_path):
    import tensorflow as tf

    model, images = kzoo.load(folder), pixels(2, 30, 25, 3)
    kzoo.export(model, tmp_path / "served")
    from kzoo.data.resizing import resize, to_input

    wanted = kzoo.predict(model, to_input(resize(images, (12, 8, 3), IMAGENET), (12, 8, 3), IMAGENET).numpy())
    served = tf.saved_model.load(str(tmp_path / "served"))
    got = served.serve_images(images)["probabilities"]
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_resizing_agrees_with_pillow():
    """Antialiased bicubic and bilinear, within what rounding to uint8 takes."""
    import keras
    from PIL import Image

    from kzoo.data import resizing

    smooth = keras.ops.convert_to_numpy(keras.ops.image.resize(pixels(1, 6, 6, 3).astype("float32"), (64, 48)))
    picture = smooth[0].astype("uint8")
    for name, method in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        wanted = np.asarray(Image.fromarray(picture).resize((20, 28), method)) / 255.0
        got = resizing.resize(picture[None], (28, 20, 3), kzoo.Preprocessing(interpolation=name))[0].numpy()
        assert np.abs(got - wanted).max() < 0.02, name


@pytest.mark.parametrize(
    ("file", "config", "wanted"),
    [
        (
            "config.json",
            {"architecture": "resnet50", "pretrained_cfg": {
                "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "crop_pct": 0.875,
                "interpolation": "bicubic"}},
            IMAGENET,
        ),
        (
            "preprocessor_config.json",
            {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"shortest_edge": 256},
             "crop_size": {"height": 224, "width": 224}, "resample": 3},
            kzoo.Preprocessing((0.5,) * 3, (0.5,) * 3, 0.875, "bicubic"),
        ),
        (  # as they are where a file does not say
            "preprocessor_config.json", {"image_mean": [0.5], "image_std": [0.25]}, kzoo.Preprocessing(0.5, 0.25),
        ),
        (
            "config.json", {"pretrained_cfg": {"mean": [0.5], "std": [0.25]}},
            kzoo.Preprocessing(0.5, 0.25, None, "bicubic"),
        ),
        ("config.json", {"architectures": ["BertModel"]}, None),
    ],
)  # fmt: skip
def test_other_peoples_configurations(file, config, wanted, tmp_path):
    (tmp_path / file).write_text(json.dumps(config))
    assert read_beside(tmp_path / "model.safetensors") == wanted


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"mean": (1, 2)}, TypeError, "mean must be one number or three"),
        ({"std": "0.5"}, TypeError, "std must be one number or three"),
        ({"std": (1, 1, 0)}, ValueError, "std must be above 0"),
        ({"crop": 0}, ValueError, "crop must be above 0"),
        ({"crop": 1.5}, ValueError, "crop must be above 0 and at most 1"),
        ({"interpolation": "lanczos"}, ValueError, "must be one of bilinear, bicubic, nearest"),
    ],
)
def test_bad_values(values, error, words):
    with pytest.raises(error, match=words):
        kzoo.Preprocessing(**values)


def test_a_damaged_configuration_is_named_and_the_model_unchanged(folder):
    model = kzoo.build("cnn", **SMALL)
    before = model.get_weights()
    text = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**text, "preprocessing": {"mean": "x"}}))
    with pytest.raises(ValueError, match=r"model\.json: preprocessing mean"):
        kzoo.load_weights(model, folder)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_other_channel_counts_take_the_average():
    assert IMAGENET.constants(3) == (IMAGENET.mean, IMAGENET.std)
    mean, std = IMAGENET.constants(1)
    assert mean == pytest.approx((0.449,)) and std == pytest.approx((0.226,))

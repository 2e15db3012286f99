import json
import math

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


def test_every_dtype_of_pixels_gives_what_the_model_learnt_from(folder, tmp_path):
    """As arrays and as files, larger than the input and of its size, as the data pipeline gives them to `evaluate`."""
    model = kzoo.load(folder)
    for shape in ((4, 12, 8, 3), (4, 31, 20, 3)):
        images = pixels(*shape)
        data = kzoo.data.from_arrays(images, np.arange(4), model, validation_fraction=0)
        wanted = kzoo.tasks.probabilities(model, model(data.train.examples(np.arange(4))[0])).numpy()
        forms = {"uint8": images, "uint16": images.astype("uint16") * 257, "float32": (images / 255).astype("float32"),
                 "float64": images / 255}  # fmt: skip
        for dtype, given in forms.items():
            np.testing.assert_allclose(kzoo.predict(model, given), wanted, atol=1e-6, err_msg=dtype)
            np.save(tmp_path / "images.npy", given)
            rows = kzoo.tasks.of(model).rows_of_files(model, [tmp_path / "images.npy"], top=1)
            found = [row["classes"][0]["probability"] for row in rows]
            np.testing.assert_allclose(found, wanted.max(axis=-1), atol=1e-6, err_msg=dtype)


def test_one_image_without_its_batch_is_refused(folder):
    for images in (pixels(12, 8, 3), pixels(12, 8, 3) / 255):
        with pytest.raises(ValueError, match="add the batch axis"):
            kzoo.predict(kzoo.load(folder), images)


def test_images_that_are_normalised_already_are_refused(folder):
    model, images = kzoo.load(folder), by_hand(pixels(2, 12, 8, 3))
    with pytest.raises(ValueError, match="seem to be normalised already"):
        kzoo.predict(model, images)
    with pytest.raises(ValueError, match="seem to be normalised already"):
        kzoo.data.from_arrays(images, np.arange(2), model)


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

    x = to_input(resize(images, (12, 8, 3), IMAGENET), (12, 8, 3), IMAGENET)
    wanted = kzoo.tasks.probabilities(model, model(x)).numpy()
    np.testing.assert_allclose(kzoo.predict(model, images), wanted, atol=1e-6)
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


@pytest.mark.parametrize("crop", [0.875, 0.95, 1.0, 224 / 232])
@pytest.mark.parametrize("size", [(61, 41), (41, 61), (333, 500), (9, 11)])
def test_the_crop_is_that_of_torchvision(size, crop):
    """Resize rounds the longer side down, CenterCrop rounds half to even, timm rounds the shorter side down."""
    from PIL import Image

    from kzoo.data import resizing

    side, (height, width) = 28, size
    small = np.random.default_rng(0).integers(60, 196, (5, 7, 3), "uint8")  # no overshoot, which Pillow cuts in mid-way
    picture = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    short = math.floor(side / crop + 1e-9)
    high, wide = (short, int(short * width / height)) if height < width else (int(short * height / width), short)
    for name, method in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC),
                         ("lanczos", Image.Resampling.LANCZOS), ("nearest", Image.Resampling.NEAREST)):  # fmt: skip
        resized = np.asarray(Image.fromarray(picture).resize((wide, high), method)) / 255.0
        top, left = round((high - side) / 2), round((wide - side) / 2)
        wanted = resized[top : top + side, left : left + side]
        how = kzoo.Preprocessing(crop=crop, interpolation=name)
        got = resizing.resize(picture[None], (side, side, 3), how)[0].numpy()
        assert np.abs(got - wanted).max() < 0.02, name


def test_a_long_thin_image_takes_no_more_memory_than_what_is_kept():
    """As a whole the image would be 256 x 2,000,000 pixels."""
    from kzoo.data import resizing

    fitted = resizing.resize(np.zeros((1, 1, 8000, 3), "uint8"), (224, 224, 3), kzoo.Preprocessing(crop=0.875))
    assert fitted.shape == (1, 224, 224, 3)


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
            kzoo.Preprocessing(0.5, 0.25, 0.875, "bicubic"),
        ),
        ("config.json", {"architectures": ["BertModel"]}, None),
        (  # timm before 2023, and what it leaves to its defaults
            "config.json",
            {"architecture": "resnet50", "mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "lanczos"},
            kzoo.Preprocessing((0.5,) * 3, (0.25,) * 3, 0.875, "lanczos"),
        ),
        (
            "config.json",
            {"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 1.0, "crop_mode": "squash"}},
            kzoo.Preprocessing((0.5,) * 3, (0.5,) * 3, None, "bicubic"),
        ),
        (  # no `resample`: bilinear; sizes as numbers, the first of which is the shorter side where a crop follows
            "preprocessor_config.json",
            {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 256, "crop_size": 224, "do_center_crop": True},
            kzoo.Preprocessing((0.5,) * 3, (0.5,) * 3, 0.875, "bilinear"),
        ),
        (
            "preprocessor_config.json",
            {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224},
            kzoo.Preprocessing((0.5,) * 3, (0.5,) * 3, None, "bilinear"),
        ),
        (
            "preprocessor_config.json",
            {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": False, "size": {"height": 8, "width": 8}},
            kzoo.Preprocessing(),
        ),
        (  # 0..255, of which the mean is subtracted
            "preprocessor_config.json",
            {"image_mean": [127.5] * 3, "image_std": [51.0] * 3, "do_rescale": False},
            kzoo.Preprocessing((0.5,) * 3, (0.2,) * 3),
        ),
        (  # [-1, 1] by the factor alone would need an offset; [0, 2] less 1 gives it
            "preprocessor_config.json",
            {"image_mean": [1.0] * 3, "image_std": [1.0] * 3, "rescale_factor": 2 / 255},
            kzoo.Preprocessing((0.5,) * 3, (0.5,) * 3),
        ),
    ],
)  # fmt: skip
def test_other_peoples_configurations(file, config, wanted, tmp_path):
    (tmp_path / file).write_text(json.dumps(config))
    assert read_beside(tmp_path / "model.safetensors") == wanted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"do_resize": False}, "do_resize false is not offered"),
        ({"resample": 4}, "resample 4 is not offered"),
        ({"size": {"shortest_edge": 224}, "do_center_crop": False}, "without a crop"),
        (
            {"size": {"height": 256, "width": 256}, "crop_size": 224, "do_center_crop": True},
            "stretched and then cropped",
        ),
        ({"size": {"shortest_edge": 8}, "crop_size": {"height": 8, "width": 6}}, "not square"),
        ({"pretrained_cfg": {"mean": [0], "std": [1], "crop_mode": "border"}}, "crop_mode 'border'"),
    ],
)
def test_configurations_that_cannot_be_followed_are_named(changes, words, tmp_path):
    config = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, **changes}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=words):
        read_beside(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"mean": (1, 2)}, TypeError, "mean must be one number or three"),
        ({"std": "0.5"}, TypeError, "std must be one number or three"),
        ({"std": (1, 1, 0)}, ValueError, "std must be above 0"),
        ({"crop": 0}, ValueError, "crop must be above 0"),
        ({"crop": 1.5}, ValueError, "crop must be above 0 and at most 1"),
        ({"interpolation": "box"}, ValueError, "must be one of bilinear, bicubic, lanczos, nearest"),
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

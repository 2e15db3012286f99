"""Images: folders of class folders, augmentation of photos, mixed targets, contact sheets."""

import json
import os
import pathlib
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps
from prepared_data import is_prepared

import kzoo.data
from kzoo import tasks
from kzoo.catalog import Card
from kzoo.data import RECIPES, Augmentation, effects, pictures
from kzoo.data.augmentation import OPERATIONS, _beta
from kzoo.data.sources import folders

STILL = {"shift": 0, "rotation": 0, "zoom": 0}


def make_model(shape=(16, 16, 3), outputs=3, task="image_classification"):
    image = keras.Input(shape, name="image")
    model = keras.Model(image, keras.layers.Dense(outputs)(keras.ops.mean(image, axis=(1, 2))), name="small")
    model.kzoo = Card("small", task=task)
    return model


MODEL = make_model()


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def collect(dataset):
    x, y = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.concatenate(x), np.concatenate(y)


def hashes(split):
    return {image.tobytes() for image in collect(split.dataset)[0]}


def write(root, counts, seed=0, size=(20, 24)):
    """Noise as PNG, JPEG, BMP and GIF in turn, of different sizes, a part of it grey."""
    random = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            shape = (size[0] + index % 3, size[1], 3)
            image = Image.fromarray(random.integers(0, 256, shape, np.uint8))
            suffix = ("png", "jpg", "bmp", "gif")[index % 4]
            (image.convert("L") if index % 5 == 4 else image).save(root / name / f"{index:03}.{suffix}")
    return root


@pytest.fixture
def photos(tmp_path):
    return write(tmp_path / "photos", {"cat": 12, "dog": 16, "eel": 12})


# Folders


def test_a_folder_of_class_folders_is_a_data_set(photos):
    data = kzoo.data.load(str(photos), MODEL, batch_size=8)
    assert data.class_names == ["cat", "dog", "eel"]
    sizes = [part.num_examples for part in (data.train, data.validation, data.test)]
    assert sizes == [32, 4, 4] and data.fingerprint["class_names"] == data.class_names
    parts = [hashes(part) for part in (data.train, data.validation, data.test)]
    assert len(set.union(*parts)) == 40, "an image is in two splits"
    assert "4 of 40 files were set aside for test" in data.notes
    x, y = data.train.examples(range(32))
    assert x.shape == (32, 16, 16, 3) and y.dtype == tf.int32 and set(y.numpy()) == {0, 1, 2}
    assert hashes(kzoo.data.load(f"{photos}/", MODEL, seed=3).test) == parts[2], "the choice depends on contents only"


def test_the_pixels_are_those_of_the_file(tmp_path):
    """Alpha is dropped, the first frame of an animation taken, grey repeated; a label is its folder's position."""
    picture = pixels(16, 16, 3)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.dstack([picture, pixels(16, 16, 1)])).save(tmp_path / "a" / "0.png")
    Image.fromarray(picture[..., 0]).save(tmp_path / "a" / "1.PNG")
    frames = [Image.fromarray(np.full((16, 16), value, np.uint8)) for value in (0, 255)]
    frames[0].save(tmp_path / "b" / "2.gif", save_all=True, append_images=frames[1:])
    model = make_model(outputs=2)
    x, y = kzoo.data.load(str(tmp_path), model, validation_fraction=0).train.examples(range(3))
    np.testing.assert_allclose(x[0], picture / 255, atol=1e-6)
    np.testing.assert_allclose(x[1], np.repeat(picture[..., :1], 3, 2) / 255, atol=1e-6)
    np.testing.assert_allclose(x[2], 0, atol=1e-6)
    assert y.numpy().tolist() == [0, 0, 1]
    grey, _ = kzoo.data.load(str(tmp_path), make_model((16, 16, 1), 2), validation_fraction=0).train.examples(range(3))
    np.testing.assert_allclose(grey[0, ..., 0], picture @ effects.LUMA / 255, atol=1.01 / 255)
    np.testing.assert_allclose(grey[1, ..., 0], picture[..., 0] / 255, atol=1e-6)


def test_split_folders_are_the_splits(tmp_path):
    for seed, (split, count) in enumerate({"train": 20, "val": 4, "test": 5}.items()):
        write(tmp_path / split, {"cat": count, "dog": count, "eel": count}, seed=seed)
    data = kzoo.data.load(str(tmp_path), MODEL)
    sizes = [part.num_examples for part in (data.train, data.validation, data.test)]
    assert sizes == [60, 12, 15] and not data.notes
    assert len(hashes(data.train) | hashes(data.validation) | hashes(data.test)) == sum(sizes)
    shutil.rmtree(tmp_path / "val")
    shutil.copy(tmp_path / "train" / "cat" / "000.png", tmp_path / "test" / "cat" / "copy.png")
    data = kzoo.data.load(str(tmp_path), MODEL)
    assert [part.num_examples for part in (data.train, data.validation, data.test)] == [54, 6, 16]
    assert any("1 of 16 files of test are also in train" in note for note in data.notes) == (
        any(image.tobytes() in hashes(data.test) for image in collect(data.train.dataset)[0])
    )
    (tmp_path / "test" / "fox").mkdir()
    with pytest.raises(ValueError, match="classes that train lacks: fox"):
        kzoo.data.load(str(tmp_path), MODEL)
    (tmp_path / "extra").mkdir()
    with pytest.raises(ValueError, match=r"extra is beside .*train"):
        kzoo.data.load(str(tmp_path), MODEL)


@pytest.mark.parametrize("augment", [False, "photos"])
def test_a_folder_too_large_for_memory_gives_the_same_batches(photos, monkeypatch, augment):
    memory = kzoo.data.load(str(photos), MODEL, batch_size=8, augment=augment)
    monkeypatch.setattr(pictures, "MEMORY_LIMIT", 1000)
    streamed = kzoo.data.load(str(photos), MODEL, batch_size=8, augment=augment)
    assert (memory.train.rows[0].dtype, streamed.train.rows[0].dtype) == (tf.float32, tf.string)
    assert memory.fingerprint == streamed.fingerprint
    for name in ("train", "validation", "test"):
        for a, b in zip(*(collect(getattr(data, name).epoch(2)) for data in (memory, streamed)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    late = collect(streamed.train.epoch(2, skip_batches=3))[0]
    np.testing.assert_array_equal(late, collect(streamed.train.epoch(2))[0][24:])
    assert kzoo.data.load(str(photos), MODEL, num_examples=5).train.num_examples == 5


def spoil(photos):
    """One bad file of every kind, by name."""
    whole = (photos / "cat" / "001.jpg").read_bytes()
    bad = {
        "cat/empty.png": b"", "cat/half.jpg": whole[: len(whole) // 2], "dog/page.png": b"<!DOCTYPE html><html></html>",
        "dog/notes.txt": b"hello", "eel/cut.png": (photos / "eel" / "000.png").read_bytes()[:-30],
        "eel/zeros.gif": bytes(50),
    }  # fmt: skip
    for name, contents in bad.items():
        (photos / name).write_bytes(contents)
    (photos / "eel" / "deeper").mkdir()
    (photos / "eel" / ".DS_Store").write_bytes(b"not counted")
    return [*bad, "eel/deeper"]


@pytest.mark.parametrize("limit", [1 << 30, 1000])
def test_bad_files_are_named_and_counted_before_the_first_step(photos, monkeypatch, limit):
    monkeypatch.setattr(pictures, "MEMORY_LIMIT", limit)
    names = spoil(photos)
    with pytest.raises(ValueError, match=r"7 of 47 files in .* and 2 more; repair.*--skip-bad") as caught:
        kzoo.data.load(str(photos), MODEL)
    assert sum(name in str(caught.value) for name in names) == 5
    assert "empty.png (empty)" in str(caught.value) and "notes.txt (not one of .png" in str(caught.value)
    data = kzoo.data.load(str(photos), MODEL, skip_bad=True)
    assert data.notes[0].startswith("7 of 47 files") and data.notes[0].endswith("left out")
    x = np.concatenate([collect(part.dataset)[0] for part in (data.train, data.validation, data.test)])
    assert len(x) == 40 and np.isfinite(x).all()


def test_pipes_are_not_waited_for_and_files_of_file_managers_do_not_count(photos):
    (photos / "cat" / "Thumbs.db").write_bytes(b"a")
    (photos / "cat" / ".DS_Store").write_bytes(b"a")
    kzoo.data.load(str(photos), MODEL)
    os.mkfifo(photos / "cat" / "pipe.png")
    with pytest.raises(ValueError, match=r"1 of 41 files .*cat/pipe\.png \(no file\)"):
        kzoo.data.load(str(photos), MODEL)


def test_folders_that_are_no_data_set_say_why(photos, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"3 classes \(cat, dog, eel\).*output has 10; build.*--set num_classes=3"):
        kzoo.data.load(str(photos), make_model(outputs=10))
    with pytest.raises(ValueError, match="no folder at"):
        kzoo.data.load(str(tmp_path / "nothing"), MODEL)
    with pytest.raises(ValueError, match="holds no folders"):
        kzoo.data.load(str(photos / "cat"), MODEL)
    with pytest.raises(ValueError, match="says none: build it with an input_shape"):
        kzoo.data.load(str(photos), make_model((None, None, 3)))
    with pytest.raises(ValueError, match="skip_bad .* is for folders of images"):
        kzoo.data.load("digits", MODEL, skip_bad=True)
    (photos / "fox").mkdir()
    with pytest.raises(ValueError, match="class folders without an image: fox"):
        kzoo.data.load(str(photos), make_model(outputs=4))
    # A folder of that name in the working folder hides neither kzoo's names nor prepared data.
    monkeypatch.chdir(tmp_path)
    for folder in ("digits/0", "mnist/3.0.1", "photos/cat"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "mnist/3.0.1/dataset_info.json").write_text("{}")
    found = [folders.find(name) for name in ("digits", "mnist", "digits/zero_one", "photos", "./digits")]
    assert found == [None, None, None, pathlib.Path("photos"), pathlib.Path("digits")]


# Augmentation


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if isinstance(recipe, Augmentation)])
def test_recipes_depend_on_seed_epoch_and_example_only(name):
    x, y = pixels(45, 16, 16, 3), np.arange(45) % 3
    unmixed = {"mixup": 0.0, "cutmix": 0.0}  # partners are from the batch
    augment = Augmentation(**{**vars(RECIPES[name]), **unmixed})

    def load(batch_size, **options):
        return kzoo.data.from_arrays(x, y, MODEL, batch_size=batch_size, augment=augment, **options).train

    first, other = load(7), load(64)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(collect(first.epoch(1))[0], collect(other.epoch(1))[0])
    np.testing.assert_array_equal(collect(first.epoch(1, 3))[0], collect(first.epoch(1))[0][21:])
    ids = first.example_ids(1)
    np.testing.assert_array_equal(collect(first.epoch(1))[0][:7], first.examples(ids[:7], 1)[0])
    plain, zero, one = (first.examples(range(first.num_examples), epoch)[0].numpy() for epoch in (None, 0, 1))
    differ = [(a != b).reshape(len(a), -1).any(1).mean() for a, b in ((plain, zero), (zero, one))]
    # one pixel of 32 is none of these small images: only the mirroring of half of them remains
    assert min(differ) > (0.3 if name == "small_images_light" else 0.9), "examples are not augmented anew every epoch"
    assert (load(7, seed=1).examples(range(7), 0)[0].numpy() != zero[:7]).any()
    assert 0 <= zero.min() <= zero.max() <= 1


def test_flips_happen_half_of_the_time():
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[0, :, 0] = 1
    augment = Augmentation(**STILL, flip=True)
    drawn = augment.draw(tf.constant([3, 0], tf.int64), 2000, (8, 8))
    moved = augment.apply(tf.repeat(tf.constant(image), 2000, axis=0), drawn, (8, 8)).numpy()
    flipped = moved[:, 0, -1, 0] > 0.99
    assert np.logical_xor(flipped, moved[:, 0, 0, 0] > 0.99).all()
    assert abs(flipped.mean() - 0.5) < 0.04


def ramp(height=64, width=48):
    """A picture whose two channels say where each pixel lies, from 0 to 1 over the pixels' centres."""
    rows, columns = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    return np.stack([rows, columns, rows], -1).astype(np.float32)[None]


@pytest.mark.parametrize("source", [(64, 48), (96, 72)])
def test_the_crop_covers_what_it_should(source):
    """Area, aspect and place from the numbers, read off a ramp; a larger source gives the same view."""
    augment = Augmentation(**STILL, crop=(0.25, 0.25), aspect=(1, 1))
    middle = tf.fill((1, 5), 0.5)
    for top, left in ((0.0, 0.0), (1.0, 0.0), (0.5, 0.25)):
        crops = tf.constant([[0.5, 0.5, top, left]], tf.float32)
        transforms = augment.transforms(middle, (64, 48), crops=crops, source=source)
        x = effects.move(tf.constant(ramp(*source)), transforms, (64, 48)).numpy()[0]
        # Half of each side: from top / 2 to top / 2 + 1 / 2.
        np.testing.assert_allclose(x[2:-2, 2:-2, 0], top / 2 + ramp()[0, 2:-2, 2:-2, 0] / 2, atol=1e-3)
        np.testing.assert_allclose(x[2:-2, 2:-2, 1], left / 2 + ramp()[0, 2:-2, 2:-2, 1] / 2, atol=1e-3)


def test_crops_have_the_areas_and_aspects_that_are_asked_for():
    random = tf.random.stateless_uniform((5000, 4), (1, 2))
    wide, high = (side.numpy() for side in Augmentation(crop=(0.08, 0.5))._crop(random)[2:])
    assert 0.08 - 1e-4 <= (wide * high).min() < 0.1 and 0.48 < (wide * high).max() <= 0.5 + 1e-4
    assert abs((wide * high).mean() - 0.29) < 0.01
    assert 3 / 4 - 1e-3 <= (wide / high).min() < 0.76 and 1.32 < (wide / high).max() <= 4 / 3 + 1e-3
    assert abs(np.log(wide / high).mean()) < 0.01


def test_pad_and_crop_moves_by_whole_pixels():
    x = pixels(1, 32, 32, 3).astype(np.float32) / 255
    augment = RECIPES["small_images"]
    drawn = augment.draw(tf.constant([0, 0], tf.int64), 600, (32, 32))
    moved = augment.apply(tf.repeat(tf.constant(x), 600, axis=0), drawn, (32, 32)).numpy()
    padded = np.pad(x[0], ((4, 4), (4, 4), (0, 0)), mode="edge")
    views = {
        (flip, top, left): padded[top : top + 32, left : left + 32][:, :: -1 if flip else 1]
        for flip in (0, 1) for top in range(9) for left in range(9)
    }  # fmt: skip
    seen = set()
    for image in moved:
        key = next(key for key, view in views.items() if np.abs(view - image).max() < 1e-4)
        seen.add(key)
    assert len(seen) > 150, f"{len(seen)} of 162 views"


def jitter(image, **amounts):
    """`image` recoloured with every random number at its largest."""
    augment = Augmentation(**STILL, **amounts)
    colours = augment._colours(tf.ones((1, 4)), ())
    return effects.recolour(tf.constant(image), colours).numpy()


@pytest.mark.parametrize(
    ("field", "enhance"),
    [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)],
)
def test_colours_change_as_in_pillow(field, enhance):
    picture = (pixels(1, 12, 12, 3) // 4 + 70).astype(np.uint8)
    wanted = np.asarray(enhance(Image.fromarray(picture[0])).enhance(1.4)) / 255
    got = jitter(picture.astype(np.float32) / 255, **{field: 0.4})[0]
    assert np.abs(got - wanted).max() < 0.012
    if field != "saturation":
        grey = picture[..., :1].astype(np.float32) / 255
        colour = jitter(np.repeat(grey, 3, axis=-1), **{field: 0.4})
        np.testing.assert_allclose(jitter(grey, **{field: 0.4}), colour[..., :1], atol=1e-5)


def test_hue_turns_colours_and_keeps_greys():
    assert jitter(np.full((1, 2, 2, 3), 0.4, np.float32), hue=0.3) == pytest.approx(0.4, abs=1e-5)
    colour = np.array([[[[0.5, 0.4, 0.3]]]], np.float32)
    half = jitter(colour, hue=0.5)
    assert half @ effects.LUMA == pytest.approx(colour @ effects.LUMA, abs=1e-5)
    np.testing.assert_allclose(half + colour, 2 * np.sum(colour * effects.LUMA), atol=1e-5)


def test_a_quarter_turn_of_hue_twice_is_the_opposite_colour():
    np.testing.assert_allclose(effects.CHROMA_TURNED @ effects.CHROMA_TURNED, -effects.CHROMA, atol=1e-6)
    np.testing.assert_allclose(effects.GREY + effects.CHROMA, np.eye(3), atol=1e-6)


def test_a_box_holds_the_centres_from_its_first_edges_on():
    found = effects.inside(tf.constant([[0.125, 0.375, 0.625, 0.875]]), 4, 4)[0, :, :, 0].numpy()
    assert np.flatnonzero(found.any(1)).tolist() == [0, 1] and np.flatnonzero(found.any(0)).tolist() == [1, 2]


def test_operations_on_pixels_are_pillows():
    picture = (pixels(6, 20, 14, 3) * 0.6 + 20).astype(np.uint8)
    picture[0, :, :, 0] = 77  # a constant channel
    images = picture.astype(np.float32) / 255
    kinds = tf.constant([2, 1, 3, 4, 5, 0], tf.int32)
    got = effects.operate(tf.constant(images), kinds, tf.ones(6), 0.5).numpy() * 255
    pillow = [Image.fromarray(one) for one in picture]
    wanted = [
        ImageOps.equalize(pillow[0]), ImageOps.autocontrast(pillow[1]), ImageOps.solarize(pillow[2], 128),
        ImageOps.posterize(pillow[3], 6), ImageEnhance.Sharpness(pillow[4]).enhance(1.45), pillow[5],
    ]  # fmt: skip
    for index, (one, tolerance) in enumerate(zip(wanted, (0.01, 1.01, 0.01, 0.01, 1.3, 0.01), strict=True)):
        assert np.abs(got[index] - np.asarray(one, np.float32)).max() <= tolerance, index
    for operation in (effects.equalize, effects.autocontrast):
        np.testing.assert_allclose(operation(tf.fill((1, 4, 4, 1), 0.2)), 0.2, atol=1e-6)


def test_random_operations_are_drawn_evenly_and_geometry_is_right():
    augment = Augmentation(**STILL, num_operations=2, magnitude=30)
    drawn = augment.draw(tf.constant([0, 1], tf.int64), 7000, (64, 48))
    kinds = np.bincount(drawn["operations"][..., 0].numpy().astype(int).ravel(), minlength=6)
    assert np.abs(kinds / 14000 - np.array([9, 1, 1, 1, 1, 1]) / 14).max() < 0.01
    still = augment.transforms(tf.fill((1, 5), 0.5), (64, 48)).numpy()[0]
    np.testing.assert_allclose(still, [1, 0, 0, 0, 1, 0, 0, 0], atol=1e-6)
    for name, wanted in (("shear_x", [1, 0.3, 0, 1]), ("rotate", [3**0.5 / 2, -0.5, 0.5, 3**0.5 / 2])):
        code = tf.constant([OPERATIONS.index(name)])
        matrix, shift = augment._geometry(code, tf.constant([1.0]), (64, 48))
        np.testing.assert_allclose(np.ravel(matrix), wanted, atol=1e-6)
        np.testing.assert_allclose(np.ravel(shift), 0)


def test_erasing_removes_boxes_of_the_right_area():
    x = pixels(1, 40, 40, 3).astype(np.float32) / 255
    augment = Augmentation(**STILL, erase=0.5)
    drawn = augment.draw(tf.constant([0, 2], tf.int64), 1000, (40, 40))
    erased = augment.apply(tf.repeat(tf.constant(x), 1000, axis=0), drawn, (40, 40)).numpy()
    areas = (np.abs(erased - x).max(-1) > 1e-5).mean(axis=(1, 2))
    assert abs((areas > 0).mean() - 0.5) < 0.05
    assert areas[areas > 0].min() > 0.01 and areas.max() < 0.36
    boxed = np.argmax(areas)
    changed = np.abs(erased[boxed] - x[0]).max(-1) > 1e-5
    np.testing.assert_allclose(erased[boxed][changed] - x[0].mean((0, 1)), 0, atol=1e-5)


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "both"])
def test_mixed_targets_match_the_pixels(kind):
    """Constant images whose brightness tells the class: what is seen of each must be what the target says."""
    count = 300
    x = np.broadcast_to((np.arange(count) % 3 * 100).astype(np.uint8)[:, None, None, None], (count, 16, 16, 3))
    alphas = {"mixup": {"mixup": 0.4}, "cutmix": {"cutmix": 1.0}, "both": {"mixup": 0.4, "cutmix": 1.0}}[kind]
    data = kzoo.data.from_arrays(
        x, np.arange(count) % 3, MODEL, validation_fraction=0, augment=Augmentation(**STILL, **alphas), batch_size=50
    )
    images, targets = collect(data.train.epoch(0))
    assert targets.shape == (count, 3) and targets.dtype == np.float32
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(images.mean((1, 2, 3)), targets @ np.array([0, 100, 200]) / 255, atol=1e-4)
    mixed = (targets > 0.01).sum(1)
    assert set(mixed) == {1, 2} and (mixed == 2).mean() > 0.3
    uniform = np.ptp(images, axis=(1, 2, 3)) < 1e-6
    if kind == "mixup":
        assert uniform.all()
        own = targets[np.arange(count), data.train.example_ids() % 3]
        assert own.min() >= 0.5 and own.min() < 0.6, "every example is the larger part of its own image"
        # the larger share of beta(0.4, 0.4) is 0.839 on average, and a third of the partners is of the same class
        assert own.mean() == pytest.approx(2 / 3 * 0.839 + 1 / 3, abs=0.03)
    else:
        assert (~uniform).any()
    again = data.train.epoch(0, skip_batches=2)
    np.testing.assert_array_equal(collect(again)[1], targets[100:])
    assert collect(data.train.epoch(1))[1].tobytes() != targets.tobytes()


def test_beta_has_the_right_moments():
    for alpha in (0.1, 0.4, 1.0, 5.0):
        numbers = _beta(alpha, tf.constant([1, 2], tf.int64), 20000).numpy()
        assert np.isfinite(numbers).all() and abs(numbers.mean() - 0.5) < 0.01
        assert abs(numbers.var() - 1 / (4 * (2 * alpha + 1))) < 0.005


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crop": (0, 1)}, "crop must be two numbers"),
        ({"crop": 0.5}, "crop must be two numbers"),
        ({"aspect": (2, 1)}, "aspect must be two numbers"),
        ({"hue": 0.6}, "hue must be from 0 to 0.5"),
        ({"num_operations": 1.5}, "num_operations must be an int"),
        ({"mixup": -1}, "mixup must be from 0"),
    ],
)
def test_bad_augmentation_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(**options)


LARGEST = {
    "shift": 0.5, "rotation": 180, "zoom": 0.9, "brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5,
    "magnitude": 30, "num_operations": 8, "erase": 1, "mixup": 100, "cutmix": 100,
}  # fmt: skip


@pytest.mark.parametrize("name", LARGEST)
def test_amounts_have_a_range(name):
    beyond = 9 if name == "num_operations" else LARGEST[name] * 1.01
    assert getattr(Augmentation(**{name: LARGEST[name]}), name) == LARGEST[name]
    assert getattr(Augmentation(**{name: 0}), name) == 0
    for wrong in (beyond, -1):
        with pytest.raises(ValueError, match=f"{name} must be from 0 to {LARGEST[name]}, got {wrong}"):
            Augmentation(**{name: wrong})


def test_unknown_recipes_and_mixing_of_one_logit_are_refused():
    x = pixels(20, 16, 16, 3)
    with pytest.raises(ValueError, match=r"unknown augmentation 'photo'; did you mean photos.*digits, small_images"):
        kzoo.data.from_arrays(x, np.arange(20) % 3, MODEL, augment="photo")
    with pytest.raises(ValueError, match="mixup and cutmix mix classes"):
        kzoo.data.from_arrays(
            x, np.arange(20) % 2, make_model(outputs=1, task="binary_classification"), augment="photos_strong"
        )


# Targets of mixed images


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("from_logits", [True, False])
def test_loss_of_shares_equals_numpy(from_logits, smoothing):
    random = np.random.default_rng(0)
    logits = random.normal(size=(6, 4)).astype(np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    shares = random.dirichlet(np.ones(4), 6).astype(np.float32)
    weight = random.random(6).astype(np.float32)
    loss = tasks.SparseCrossEntropy(from_logits, smoothing)
    given = logits if from_logits else probabilities
    smooth = (1 - smoothing) * shares + smoothing / 4
    each = -(smooth * np.log(probabilities)).sum(1)
    assert float(loss(shares, given)) == pytest.approx(each.mean(), rel=1e-5)
    assert float(loss(shares, given, weight)) == pytest.approx((each * weight).sum() / weight.sum(), rel=1e-5)
    labels = np.array([0, 3, 2, 2, 1, 0])
    assert float(loss(np.eye(4)[labels], given)) == pytest.approx(float(loss(labels, given)), rel=1e-5)


def test_accuracy_takes_labels_and_shares():
    predicted = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)
    for target in (np.array([1, 0, 0]), np.array([[1], [0], [0]]), np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])):
        accuracy = tasks.Accuracy()
        accuracy.update_state(target, predicted)
        assert float(accuracy.result()) == pytest.approx(2 / 3)
    accuracy = tasks.Accuracy()
    accuracy.update_state(np.array([[1], [0]]), np.array([[0.9], [0.2]], np.float32))
    assert float(accuracy.result()) == 0.5, "a single column holds labels"
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tasks.Accuracy()))
    again.update_state(np.array([1]), predicted[:1], sample_weight=np.array([2.0]))
    assert float(again.result()) == 1.0


# Real data


@pytest.mark.parametrize(
    ("name", "shape", "classes", "recipe"),
    [("emoji32", (32, 32, 3), 9, "photos_strong"), ("fashion_mnist", (28, 28, 1), 10, "small_images")],
)
def test_a_small_network_learns_from_augmented_images(name, shape, classes, recipe):
    if not is_prepared(name):
        pytest.skip(f"TFDS_DATA_DIR holds no prepared {name}")
    keras.utils.set_random_seed(0)
    model = kzoo.build("cnn", input_shape=shape, num_classes=classes, filters=(8, 16), hidden_dim=32)
    data = kzoo.data.load(name, model, batch_size=64, num_examples=1280, augment=recipe)
    tasks.compile_model(model, keras.optimizers.Adam(3e-3))
    losses = [model.fit(data.train.epoch(epoch), shuffle=False, verbose=0).history["loss"][0] for epoch in range(3)]
    assert losses[2] < losses[0] and np.isfinite(losses).all()
    assert 0 <= model.evaluate(data.test.dataset.take(2), verbose=0, return_dict=True)["accuracy"] <= 1


def test_training_from_a_folder_goes_all_the_way(photos, tmp_path, run_kzoo):
    """Class names travel with the run; the recipe and the files left out are remembered when it is resumed."""
    spoil(photos)
    run = tmp_path / "run"
    model = ("num_classes=3", "input_shape=(16, 16, 3)", "filters=(4, 5)", "hidden_dim=7")
    settings = [f"--set={text}" for text in model]
    begin = ("train", "cnn", "--data", photos, *settings, "--run-folder", run, "--quiet", "--no-tensorboard")
    done = run_kzoo(*begin, "--skip-bad", "--epochs", 1, "--augment-recipe", "photos_strong")
    assert done.returncode == 0, done.stderr
    assert "7 of 47 files" in done.stderr
    facts = json.loads((run / "run.json").read_text())
    assert (facts["recipe"]["augment"], facts["data"]["augment"]["cutmix"]) == ("photos_strong", 1.0)
    assert json.loads((run / "model.json").read_text())["class_names"] == ["cat", "dog", "eel"]
    done = run_kzoo("train", "--run-folder", run, "--resume", "--epochs", 2, "--quiet")
    assert done.returncode == 0 and "trained 2 epochs" in done.stdout, done.stderr
    done = run_kzoo("evaluate", run, "--skip-bad", "--json")
    assert json.loads(done.stdout)["num_examples"] == 4


def test_fit_takes_recipes_by_name(tmp_path):
    model = kzoo.build("cnn", input_shape=(8, 8, 1), num_classes=3, filters=(4, 5), hidden_dim=7)
    arrays = pixels(40, 8, 8, 1), np.arange(40) % 3
    data = kzoo.data.from_arrays(*arrays, model, augment="small_images")
    assert len(kzoo.fit(model, data, epochs=1, augment="small_images", progress=False).history) == 1
    with pytest.raises(ValueError, match="loaded with augment=small_images and fit is asked for augment=photos"):
        kzoo.fit(model, data, epochs=1, augment="photos")
    with pytest.raises(ValueError, match="augment must be True, False or one of"):
        kzoo.fit(model, arrays, epochs=1, augment="photo")
    with pytest.raises(TypeError, match="augment must be True or False, got 1"):
        kzoo.fit(model, arrays, epochs=1, augment=1)


def test_show_data_draws_a_sheet(photos, tmp_path, run_kzoo):
    spoil(photos)
    sheet = tmp_path / "sheet.png"
    arguments = ("show-data", photos, sheet, "--augment-recipe", "photos_strong", "--count", 3)
    refused = run_kzoo(*arguments)
    assert (refused.returncode, sheet.exists()) == (2, False)
    assert "--skip-bad" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1
    done = run_kzoo(*arguments, "--skip-bad")
    assert done.returncode == 0, done.stderr
    assert "7 of 47 files" in done.stderr
    with Image.open(sheet) as image:
        assert image.size == (450, 540)
        assert np.asarray(image).std() > 10

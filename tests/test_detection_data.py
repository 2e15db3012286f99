"""From images with boxes to a trained detector: data, training, numbers, predictions, drawings, exports."""

import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import kzoo

if keras.backend.backend() != "tensorflow":
    pytest.skip("exports and the command line train on TensorFlow", allow_module_level=True)

import tensorflow as tf
import tensorflow_datasets as tfds
from prepared_data import needs

from kzoo.data import decoding
from kzoo.data.augmentation import Augmentation
from kzoo.tasks.object_detection import boxed_images, findings, matching
from kzoo.tasks.object_detection.anchors import anchors_of

SIZE = (40, 48)
SMALL = {
    "backbone": "resnet18",
    # With fewer channels, TensorFlow 2.21 on a CPU crashes in the gradient of a strided 1x1 convolution.
    "backbone_options": {"depths": [1, 1], "filters": 16},
    "taps": ("layer1", "layer2"),
    "filters": 16,
    "head_depth": 1,
    "anchor_sizes": (8, 16),
    "num_classes": 2,
    "input_shape": (*SIZE, 3),
}


class Squares(tfds.core.GeneratorBasedBuilder):
    """Red and blue squares on grey, up to two an image; every seventh image shows none."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        objects = {"bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(names=["red", "blue"])}
        features = {
            "image": tfds.features.Image(shape=(*SIZE, 3)), "objects": tfds.features.Sequence(objects)
        }  # fmt: skip
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(32, 0), "test": self._generate_examples(8, 1)}

    def _generate_examples(self, count, seed):
        random = np.random.default_rng(seed)
        for index in range(count):
            image, objects = np.full((*SIZE, 3), 128, np.uint8), []
            for half in range(random.integers(1, 3) if index % 7 else 0):
                side, label = random.integers(9, 17), int(random.integers(2))
                top, left = random.integers(0, SIZE[0] - side), half * 24 + random.integers(0, 24 - side)
                image[top : top + side, left : left + side] = (255, 0, 0) if label == 0 else (0, 0, 255)
                box = np.array([top, left, top + side, left + side]) / [*SIZE, *SIZE]
                objects.append({"bbox": tfds.features.BBox(*map(float, box)), "label": label})
            yield index, {"image": image, "objects": objects}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    Squares(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return kzoo.build("retinanet", **SMALL)


@pytest.fixture(scope="module")
def data(folder, model):
    return kzoo.data.load("squares", model, batch_size=8, augment="detection", data_dir=folder)


def arrays(batch):
    return [np.asarray(part) for part in tf.nest.flatten(batch)]


def test_batches(data, model):
    anchors = anchors_of(model).boxes
    x, y = next(iter(data.test.dataset))
    assert x.shape == (8, *SIZE, 3) and x.dtype == tf.float32 and np.min(x) >= 0 and np.max(x) <= 1
    assert set(y) == set(model.output)
    rows = data.objects["test"][3].numpy()
    scale = np.array([SIZE[1], SIZE[0]] * 2, "float32")
    classes, offsets = matching.targets(rows[:, :4] * scale, rows[:, 4].astype("int32"), anchors)
    np.testing.assert_array_equal(y["class_logits"][3], classes)
    np.testing.assert_allclose(y["box_regression"][3], offsets, atol=1e-5)
    for index, rows in enumerate(data.objects["test"]):  # every object has an anchor, and only objects have
        assert set(rows[:, 4].numpy()) == set(np.asarray(y["class_logits"][index])) - {-1, -2}
    assert data.class_names == ["red", "blue"] and data.augment == "detection"
    assert any("train: 29 images" in note for note in data.notes) and data.validation.num_examples == 3


def test_boxes_lie_on_what_they_name(data):
    """The middle of a box of the data shows its colour."""
    x, _ = next(iter(data.test.dataset))
    for picture, rows in zip(np.asarray(x), data.objects["test"], strict=True):
        for left, top, right, bottom, label in rows.numpy():
            middle = picture[int((top + bottom) / 2 * SIZE[0]), int((left + right) / 2 * SIZE[1])]
            assert middle.argmax() == (0, 2)[int(label)] and middle.max() == 1


def test_order_and_augmentation_depend_on_seed_epoch_and_example_only(data, folder, model):
    again = kzoo.data.load("squares", model, batch_size=4, augment="detection", data_dir=folder)
    for epoch in (0, 1):
        first = next(iter(data.train.epoch(epoch)))
        ids = data.train.example_ids(epoch)[:8]
        halves = [batch for batch, _ in zip(again.train.epoch(epoch), range(2), strict=False)]
        joined = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *halves)
        for one, two, three in zip(arrays(first), arrays(joined), arrays(data.train.examples(ids, epoch)), strict=True):
            np.testing.assert_array_equal(one, two)
            np.testing.assert_array_equal(one, three)
    one, two = (arrays(data.train.examples([3], epoch)) for epoch in (0, 1))
    assert not np.array_equal(one[-1], two[-1]) or not np.array_equal(one[0], two[0])


def test_boxes_follow_the_picture():
    """A bright rectangle, moved, stretched and mirrored with its picture, stays where its box says."""
    augment = Augmentation(shift=0.2, rotation=0, zoom=0.3, flip=True, crop=(0.5, 1.0))
    count, shape = 24, (*SIZE, 3)
    pictures = np.zeros((count, *shape), "float32")
    pictures[:, 12:26, 20:32] = 1
    transforms = augment.draw(tf.constant([3, 4], tf.int64), count, SIZE)["transforms"]
    moved = np.asarray(augment.apply(tf.constant(pictures), {"transforms": transforms}, SIZE))[..., 0]
    seen = 0
    for picture, transform in zip(moved, transforms, strict=True):
        ((box,), (keep,)) = map(np.asarray, boxed_images.move(tf.constant([[20.0, 12, 32, 26]]), transform, shape))
        rows, columns = np.flatnonzero(picture.max(1) > 0.5), np.flatnonzero(picture.max(0) > 0.5)
        if keep and box.min() > 0 and box[2] < SIZE[1] and box[3] < SIZE[0]:
            seen += 1
            np.testing.assert_allclose(box, [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], atol=1)
    assert seen > 8


def test_an_object_that_hardly_shows_is_left_out():
    shift = tf.constant([1.0, 0, 14, 0, 1, 0, 0, 0])  # 14 pixels to the left
    edges = tf.constant([[10.0, 5, 20, 15], [4.0, 5, 14, 15], [30.0, 5, 40, 15]])
    moved, keep = boxed_images.move(edges, shift, (*SIZE, 3))
    assert keep.numpy().tolist() == [True, False, True]
    np.testing.assert_allclose(moved.numpy()[[0, 2]], [[0, 5, 6, 15], [16, 5, 26, 15]])


def test_streamed_data_are_the_same(data, folder, model, monkeypatch):
    monkeypatch.setattr(boxed_images, "MEMORY_LIMIT", 0)
    streamed = kzoo.data.load("squares", model, batch_size=8, augment="detection", data_dir=folder)
    assert type(streamed.train) is not type(data.train)
    for one, two in zip(data.test.dataset, streamed.test.dataset, strict=True):
        for ours, theirs in zip(arrays(one), arrays(two), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert sum(len(x) for x, _ in streamed.train.epoch(1)) == 29


def test_images_of_another_size_are_stretched(folder):
    twice = kzoo.build("retinanet", **{**SMALL, "input_shape": (80, 48, 3)})
    data = kzoo.data.load("squares", twice, batch_size=8, data_dir=folder)
    x, y = next(iter(data.test.dataset))
    assert x.shape == (8, 80, 48, 3)
    classes, offsets = (np.asarray(y[key][1]) for key in ("class_logits", "box_regression"))
    chosen = classes >= 0
    back = matching.decode(offsets[chosen][:, :4], anchors_of(twice).boxes[chosen]).numpy() / [48, 80, 48, 80]
    for box in data.objects["test"][1].numpy()[:, :4]:
        assert np.abs(back - box).max(axis=1).min() < 1e-5


@pytest.mark.parametrize(
    ("fractions", "label", "message"),
    [
        ((-0.2, 0.1, 0.5, 0.6), 0, r"squares train: example 4, object 1: box \(-0.2, 0.1, 0.5, 0.6\) leaves the image"),
        ((0.1, 0.1, 0.5, 30.0), 0, "leaves the image; wanted top, left, bottom, right from 0 to 1"),
        ((0.1, float("nan"), 0.5, 0.6), 0, "leaves the image"),
        ((0.5, 0.1, 0.5, 0.6), 0, "has no area"),
        ((0.5, 0.6, 0.7, 0.2), 0, "has no area"),
        ((0.1, 0.1, 0.5, 0.6), 2, "label 2 is outside 0..1"),
        ((0.1, 0.1, 0.5, 0.6), -1, "label -1 is outside 0..1"),
    ],
)
def test_bad_boxes(fractions, label, message):
    good = (0.0, 0.0, 1.0005, 1.0)
    with pytest.raises(ValueError, match=message):
        boxed_images.check_objects("squares train: example 4", np.array([good, fractions]), [0, label], 2)
    rows = boxed_images.check_objects("squares", np.array([good]), [1], 2)
    np.testing.assert_array_equal(rows, [[0, 0, 1, 1, 1]])


def refused(message, name, model, **options):
    with pytest.raises(ValueError, match=message) as error:
        kzoo.data.load(name, model, **options)
    assert "\n" not in str(error.value)


def test_data_and_model_that_do_not_fit(folder, model, tmp_path):
    classifier = kzoo.build("cnn", input_shape=(*SIZE, 3), filters=(2, 2), hidden_dim=3)
    refused("is for object detection .*; cnn is for image classification", "squares", classifier,
            data_dir=folder)  # fmt: skip
    refused("'digits' has no boxes of objects", "digits", model)
    (tmp_path / "cats").mkdir()
    (tmp_path / "dogs").mkdir()
    refused("has no boxes of objects, which retinanet", str(tmp_path), model)
    three = kzoo.build("retinanet", **{**SMALL, "num_classes": 3})
    refused(r"2 classes of objects \(red, blue\).*3 apart; build it with num_classes=2", "squares", three,
            data_dir=folder)  # fmt: skip
    refused("mixup and cutmix mix classes", "squares", model, data_dir=folder, augment="photos_strong")
    with pytest.raises(ValueError, match="retinanet.* learns boxes: name a data set"):
        kzoo.data.from_arrays(np.zeros((4, *SIZE, 3), "uint8"), np.zeros(4, int), model)
    with pytest.raises(ValueError, match="focal loss takes no label_smoothing"):
        kzoo.fit(model, kzoo.data.load("synthetic", model), epochs=1, label_smoothing=0.1, progress=False)


@pytest.fixture(scope="module")
def run(data, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "squares"
    run = kzoo.fit(model, data, folder, epochs=25, learning_rate=0.01, seed=0, progress=False, tensorboard=False)
    return folder, run


def test_trains_and_finds(run, data, model):
    folder, done = run
    assert done.history[-1]["loss"] < 0.4 * done.history[0]["loss"]
    numbers = kzoo.evaluate(model, data, "train")
    assert numbers["mean_average_precision_50"] > 0.5
    assert {"loss", "average_precision_50_red", "average_precision_50_blue", "num_examples"} <= set(numbers)
    again = kzoo.load(folder)
    assert kzoo.evaluate(again, data, "test")["loss"] == pytest.approx(kzoo.evaluate(model, data, "test")["loss"])
    x = np.asarray(next(iter(data.test.dataset))[0])
    rows = kzoo.predict(model, x, batch_size=3)
    assert len(rows) == 8 and all(np.all(np.diff(row["scores"]) <= 0) for row in rows)


def test_command_line(run, data, folder, tmp_path):
    from kzoo.cli.commands import cli

    invoke = CliRunner().invoke
    picture = findings.pictures(data, "test", 3)[1]
    wide = tf.image.resize(picture, (80, 144), "nearest")  # another size and shape than the input
    (tmp_path / "one.png").write_bytes(tf.io.encode_png(tf.cast(wide * 255, tf.uint8)).numpy())
    arguments = ["predict", str(run[0]), str(tmp_path / "one.png"), "--draw", str(tmp_path / "drawn.png")]
    lines = invoke(cli, arguments, catch_exceptions=False).output
    assert "one.png: " in lines
    rows = json.loads(invoke(cli, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert rows[0]["size"] == [144, 80] and (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
    for entry in rows[0]["objects"]:
        assert entry["class"] in ("red", "blue") and entry["score"] >= 0.5 and max(entry["box"]) <= 144
    options = ["--data", "squares", "--data-dir", str(folder)]
    found = invoke(cli, ["predict", str(run[0]), *options, "--limit", "3", "--json"], catch_exceptions=False)
    assert [len(row["truth"]) for row in json.loads(found.stdout)] == data.objects["test"].row_lengths()[
        :3
    ].numpy().tolist()
    found = invoke(cli, ["evaluate", str(run[0]), *options, "--json"], catch_exceptions=False)
    assert 0 <= json.loads(found.stdout)["mean_average_precision"] <= 1
    with pytest.raises(ValueError, match="no image"):
        (tmp_path / "bad.png").write_bytes(b"no image")
        decoding.read(tmp_path / "bad.png")


def test_drawing_shows_boxes(tmp_path):
    row = {"file": "a/b.png", "size": [48, 40], "objects": [{"class": "red", "score": 0.9, "box": [5, 5, 30, 20]}]}
    image = np.full((*SIZE, 3), 255, np.uint8)
    for name, objects in (("with.png", row["objects"]), ("without.png", [])):
        findings.draw(tmp_path / name, [image], [{**row, "objects": objects}])
    drawn, empty = (tf.io.decode_png((tmp_path / name).read_bytes()).numpy() for name in ("with.png", "without.png"))
    assert drawn.shape == empty.shape and (drawn != empty).any()
    assert not list(tmp_path.glob(".*partial"))


def test_export(run, model, data, tmp_path):
    report = kzoo.export(model, tmp_path / "export")
    assert set(report["signatures"]["serve_images"]["outputs"]) == {"boxes", "scores", "labels", "count"}
    served = tf.saved_model.load(str(tmp_path / "export"))
    pictures = np.stack(findings.pictures(data, "test", 3))
    pixels = tf.cast(tf.round(pictures * 255), tf.uint8)
    found, larger = (served.serve_images(x) for x in (pixels, tf.image.resize(pixels, (80, 144), "nearest")))
    wanted = kzoo.predict(model, pixels.numpy())
    for index, row in enumerate(wanted):
        count = int(found["count"][index])
        assert count == len(row["scores"])
        np.testing.assert_allclose(found["scores"][index, :count], row["scores"], atol=1e-4)
        scale = [SIZE[1], SIZE[0]] * 2
        np.testing.assert_allclose(found["boxes"][index, :count], row["boxes"] * scale, atol=1e-2)
    sure = max(range(3), key=lambda index: max(wanted[index]["scores"], default=0))
    assert wanted[sure]["scores"][0] > 0.5
    np.testing.assert_allclose(larger["boxes"][sure, 0] / [144, 80, 144, 80], wanted[sure]["boxes"][0], atol=0.1)


@needs("blood_cells")
def test_blood_cells():
    model = kzoo.build("retinanet", **{**SMALL, "num_classes": 3, "input_shape": (None, None, 3)})
    data = kzoo.data.load("blood_cells", model, batch_size=4)
    assert [part.num_examples for part in (data.train, data.validation, data.test)] == [195, 83, 72]
    x, y = next(iter(data.test.dataset))
    assert x.shape == (4, 240, 320, 3)
    assert data.class_names == ["RBC", "WBC", "Platelets"]
    assert len(data.objects["test"].flat_values) == 805 + 71 + 69

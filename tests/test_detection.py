"""RetinaNet and the mathematics of detection against torchvision.

The golden file comes from scripts/golden/torchvision_detection.py; weights, images and outputs are drawn by
seeded_weights.py.
"""

import json
import pathlib

import keras
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from golden_files import assert_close
from keras import ops
from seeded_weights import digest, draw_detector_outputs, draw_images, load_drawn_weights, reference_shapes

import kzoo
from kzoo.layers import NearestResize
from kzoo.models import retinanet
from kzoo.tasks.object_detection import coco, focal_losses, matching
from kzoo.tasks.object_detection.anchors import Anchors, anchors_of

FILE = pathlib.Path(__file__).with_name("golden") / "torchvision_retinanet.safetensors"
GOLDEN = safetensors.numpy.load_file(FILE)
KINDS = ("class_logits", "box_regression")
NARROW = {
    "resnet": {"backbone": "resnet50", "backbone_options": {"depths": [1, 1, 1, 1]}, "filters": 16, "num_classes": 3},
    "densenet": {
        "backbone": "densenet121",
        "backbone_options": {"depths": [2, 2, 2, 2], "growth_rate": 8, "filters": 8},
        "taps": ("features.denseblock2", "features.denseblock3", "features.denseblock4"),
        "filters": 16,
        "num_classes": 3,
    },
}
TINY = {
    "backbone": "resnet18",
    "backbone_options": {"depths": [1, 1, 1, 1], "filters": 2},
    "filters": 4,
    "head_depth": 1,
    "num_classes": 3,
}
BACKBONES = {
    "resnet18": {},
    "densenet121": {
        "backbone_options": {"depths": [1, 1, 1, 1], "growth_rate": 2, "filters": 4},
        "taps": ["features.denseblock2", "features.denseblock3", "features.denseblock4"],
    },
    "vgg11": {"backbone_options": {"filters": [2, 2, 2, 2, 2], "hidden_dim": 4}, "taps": ["features.10"]},
}


def compare(folder, kind):
    """(ours, the reference's) for both outputs at every size."""
    model = load_drawn_weights(kzoo.build("retinanet", input_shape=(None, None, 3), **NARROW[kind]), folder)
    sizes = {name.split(".")[1] for name in GOLDEN if name.startswith(f"{kind}.")}
    assert "45x61" in sizes
    for size in sizes:
        got = model(draw_images(*map(int, size.split("x"))), training=False)
        assert set(got) == set(KINDS)
        for key in KINDS:
            yield ops.convert_to_numpy(got[key]), GOLDEN[f"{kind}.{size}.{key}"]


@pytest.mark.parametrize("kind", NARROW)
def test_agrees_with_the_reference(kind, tmp_path):
    """One graph of open size, at image sizes that no stride divides."""
    for got, wanted in compare(tmp_path, kind):
        assert_close(got, wanted)


def test_names_and_shapes_are_the_references():
    with safetensors.safe_open(FILE, "numpy") as file:
        wanted = json.loads(file.metadata()["shapes"])
    with keras.StatelessScope(initialize_variables=False):
        assert digest(reference_shapes(kzoo.build("retinanet_resnet50_fpn"))) == wanted


def test_a_fresh_head_believes_in_background():
    """Section 4.1 of the paper: one in a hundred, and boxes that are the anchors."""
    model = kzoo.build("retinanet", input_shape=(32, 40, 3), **TINY)
    y = model(np.random.default_rng(0).random((1, 32, 40, 3), "float32"))
    np.testing.assert_allclose(ops.sigmoid(y["class_logits"]), 0.01, atol=2e-3)
    assert np.abs(ops.convert_to_numpy(y["box_regression"])).max() < 0.2


@pytest.mark.parametrize("name", BACKBONES)
def test_any_backbone(name, tmp_path):
    """Weights go out and in by name, a file of Keras holds the model, and heads are shared by the levels."""
    options = {**TINY, "backbone": name, "input_shape": (None, None, 3), **BACKBONES[name]}
    model = load_drawn_weights(kzoo.build("retinanet", **options), tmp_path)
    x = draw_images(37, 45)
    wanted = {key: ops.convert_to_numpy(value) for key, value in model(x, training=False).items()}
    kzoo.save_weights(model, tmp_path / "weights.safetensors")
    names = safetensors.numpy.load_file(tmp_path / "weights.safetensors")
    assert all(key.startswith(("backbone.body.", "backbone.fpn.", "head.")) for key in names)
    assert sum("cls_logits" in key for key in names) == 2
    again = kzoo.build("retinanet", tmp_path / "weights.safetensors", **options)
    model.save(tmp_path / "model.keras")
    for other in (again, keras.models.load_model(tmp_path / "model.keras", safe_mode=True)):
        for key, value in other(x, training=False).items():
            np.testing.assert_array_equal(ops.convert_to_numpy(value), wanted[key])


def test_shared_heads_are_counted_once_and_cost_every_level():
    """Two levels of 4 x 4 and 2 x 2 cells: the head's products are those of twenty cells, its weights of one."""
    options = {**TINY, "taps": ("layer3",), "anchor_sizes": (16, 32), "input_shape": (64, 64, 3)}
    one, two = (kzoo.info("retinanet", **{**options, "filters": 4, "head_depth": depth}) for depth in (1, 2))
    assert two["parameters"] - one["parameters"] == 2 * (4 * 4 * 9 + 4)
    assert two["macs"] - one["macs"] == 2 * (16 + 4) * 4 * 4 * 9


@pytest.mark.parametrize("sizes", [((3, 5), (6, 10)), ((3, 5), (5, 9)), ((2, 3), (5, 3)), ((4, 4), (4, 4))])
def test_nearest_resize(sizes):
    """Output row i is input row floor(i h / H), whether the sizes are known or not."""
    (height, width), (new_height, new_width) = sizes
    x = np.random.default_rng(0).random((2, height, width, 3), "float32")
    rows, columns = np.arange(new_height) * height // new_height, np.arange(new_width) * width // new_width
    like = np.zeros((2, new_height, new_width, 1), "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(NearestResize()(x, like)), x[:, rows][:, :, columns])
    inputs = keras.Input((None, None, 3)), keras.Input((None, None, 1))
    open_size = keras.Model(inputs, NearestResize()(*inputs))
    np.testing.assert_array_equal(ops.convert_to_numpy(open_size([x, like])), x[:, rows][:, :, columns])


def test_epsilon_of_the_backbone():
    with keras.StatelessScope(initialize_variables=False):
        model = kzoo.build("retinanet", batch_norm_epsilon=1e-12, **TINY)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms and {norm.epsilon for norm in norms} == {1e-12}


@pytest.mark.parametrize(
    ("overrides", "kind", "message"),
    [
        ({"backbone": "resnet19"}, ValueError, "unknown backbone 'resnet19'.*resnet18"),
        ({"taps": ("layer3", "layer9")}, ValueError, "unknown tap 'layer9'"),
        ({"taps": ("avgpool",)}, ValueError, "tap 'avgpool' gives .*wanted maps"),
        ({"taps": ("layer2", "layer3"), "anchor_sizes": (32,)}, ValueError, "anchor_sizes has 1 levels and taps has 2"),
        ({"taps": "layer2"}, TypeError, "taps must be a tuple of strings"),
        ({"backbone_options": {"dephts": [1]}}, TypeError, "unknown keyword 'dephts'.*depths"),
        ({"backbone_options": 3}, TypeError, "backbone_options must be a dict"),
        ({"input_shape": (32, 32)}, ValueError, "input_shape must be"),
        ({"backbone": "bert_base"}, ValueError, "unknown backbone 'bert_base'"),
        (
            {"backbone": "vit_ti_16", "taps": ("encoder.ln",), "input_shape": (32, 32, 3), "backbone_options": {}},
            ValueError,
            "tap 'encoder.ln' gives .*wanted maps",
        ),
        ({"backbone_options": {"input_shape": (9, 9, 3)}}, TypeError, "backbone_options takes no input_shape"),
        ({"backbone_options": {"depths": 3}}, TypeError, "resnet18: depths must be a tuple of ints, got 3"),
    ],
)
def test_impossible_configurations(overrides, kind, message):
    with pytest.raises(kind, match=message):
        kzoo.build("retinanet", **{**TINY, **overrides})


def test_a_detector_of_other_classes_says_how_many_they_are(tmp_path):
    """Their outputs are nine times as many, one for each anchor; what the message advises loads the file."""
    kzoo.save_weights(kzoo.build("retinanet", **{**TINY, "num_classes": 5}), tmp_path / "five.safetensors")
    with pytest.raises(ValueError, match=r"a file with 5 classes .*num_classes=5, or keep 3 and pass load_head=False"):
        kzoo.build("retinanet", tmp_path / "five.safetensors", **TINY)
    kzoo.build("retinanet", tmp_path / "five.safetensors", **{**TINY, "num_classes": 5})


def test_the_keywords_of_a_detector_name_its_backbone():
    with keras.StatelessScope(initialize_variables=False):
        model = kzoo.build("retinanet", **TINY)
    keywords = kzoo.catalog.arguments(model)
    assert keywords["backbone"] == "resnet18" and keywords["backbone_options"] == TINY["backbone_options"]
    assert keywords["head_depth"] == 1 and keywords["taps"] == ("layer2", "layer3", "layer4")
    with pytest.raises(TypeError, match="backbone must be a model here, got 'resnet18'"):
        retinanet.build("resnet18")


@pytest.fixture(scope="module")
def reference_model():
    """Of the golden file's images; anchors depend on its graph only."""
    with keras.StatelessScope(initialize_variables=False):
        return kzoo.build("retinanet", input_shape=(None, None, 3), **NARROW["resnet"])


@pytest.fixture(scope="module")
def anchors(reference_model):
    return anchors_of(reference_model, 45, 61)


def test_anchors_are_the_references(anchors):
    np.testing.assert_array_equal(anchors.boxes, GOLDEN["anchors"])
    assert sum(anchors.per_level) == len(anchors.boxes) and len(anchors.per_level) == 5


def test_anchors_need_a_size(reference_model):
    with pytest.raises(ValueError, match="build it with an input_shape to know its anchors"):
        anchors_of(reference_model)


def test_matching_is_the_references(anchors):
    """Objects that want the same anchor and an image without any are in the golden file."""
    wanted = GOLDEN["matched"]
    assert {-1, -2, 0, 4} <= set(wanted[0]) and set(wanted[1]) == {-1}
    np.testing.assert_array_equal(matching.match(GOLDEN["target_boxes"], anchors.boxes), wanted[0])
    np.testing.assert_array_equal(matching.match(np.zeros((0, 4), "float32"), anchors.boxes), wanted[1])


def test_an_overlap_of_exactly_the_threshold_counts():
    """An anchor with half of an object answers for it, as in torchvision; one with two fifths stands between."""
    objects = np.array([[0, 0, 10, 1]], "float32")
    anchors = np.array([[0, 0, 10, 1], [0, 0, 5, 1], [0, 0, 4.99, 1], [0, 0, 4, 1], [0, 0, 3.99, 1]], "float32")
    assert matching.match(objects, anchors).numpy().tolist() == [0, 0, -2, -2, -1]


def test_boxes_that_share_exactly_half_both_stay():
    boxes = np.array([[0, 0, 32, 32], [0, 0, 32, 16], [0, 0, 32, 17]], "float32")
    logits = np.array([[[3.0], [2.0], [1.0]]], "float32")
    outputs = {"class_logits": logits, "box_regression": np.zeros((1, 3, 4), "float32")}
    found = matching.detect(outputs, Anchors(boxes, (3,), (32, 32)), max_detections=3)
    np.testing.assert_array_equal(found["boxes"][0, :, 3], [32, 16, 0])


def test_a_box_grows_at_most_by_a_thousand_sixteenths():
    anchor = np.array([[10, 20, 12, 23]], "float32")
    left, top, right, bottom = matching.decode(np.array([[0, 0, 9.0, 9.0]], "float32"), anchor).numpy()[0]
    assert (right - left, bottom - top) == (pytest.approx(2 * 62.5), pytest.approx(3 * 62.5))


def test_box_that_no_anchor_overlaps_takes_none(anchors):
    matched = matching.match(np.array([[900, 900, 950, 950]], "float32"), anchors.boxes)
    assert set(matched.numpy()) == {-1}


def test_offsets_are_the_references_and_go_back(anchors):
    chosen = anchors.boxes[40:46]
    assert_close(matching.encode(GOLDEN["target_boxes"], chosen), GOLDEN["encoded"])
    assert_close(matching.decode(GOLDEN["encoded"], chosen), GOLDEN["target_boxes"])
    assert np.isfinite(matching.decode(np.full((6, 4), 1e4, "float32"), chosen)).all()


def test_focal_loss_of_single_logits():
    """Also where the exponential of a logit would overflow, and half precision goes up to float32."""
    logits = GOLDEN["focal_logits"]
    for wanted, target in ((GOLDEN["focal_of_one"], np.ones(33)), (GOLDEN["focal_of_zero"], np.zeros(33))):
        assert_close(focal_losses.focal(target, logits), wanted)
    assert np.isfinite(
        ops.convert_to_numpy(focal_losses.focal(np.zeros(2), np.array([-500.0, 500.0], "float32")))
    ).all()
    assert focal_losses.focal(np.zeros(33), ops.cast(logits, "float16")).dtype in ("float32", np.float32)


def test_losses_are_the_references(anchors):
    objects = [(GOLDEN["target_boxes"], GOLDEN["target_labels"]), (np.zeros((0, 4), "f4"), np.zeros(0, "i4"))]
    classes, offsets = map(np.stack, zip(*(matching.targets(*one, anchors.boxes) for one in objects), strict=True))
    drawn = draw_detector_outputs(len(anchors.boxes), 3)
    assert_close(focal_losses.FocalLoss()(classes, drawn["class_logits"]), GOLDEN["class_loss"][0])
    assert_close(focal_losses.BoxLoss()(offsets, drawn["box_regression"]), GOLDEN["box_loss"][0])
    ignored = np.where(classes == -2, -1, classes)
    assert float(focal_losses.FocalLoss()(ignored, drawn["class_logits"])) > GOLDEN["class_loss"][0]
    accuracy = focal_losses.ObjectAccuracy()
    accuracy.update_state(classes, drawn["class_logits"])
    found = classes >= 0
    np.testing.assert_allclose(
        accuracy.result(), (drawn["class_logits"].argmax(-1) == classes)[found].mean(), rtol=1e-6
    )


def test_detections_are_the_references(anchors):
    """Of 594 anchors and three classes: more candidates than a level may have, and more boxes than are reported."""
    found = matching.detect(draw_detector_outputs(len(anchors.boxes), 3), anchors)
    for image in range(2):
        count = int(found["count"][image])
        assert count == len(GOLDEN[f"{image}.boxes"])
        np.testing.assert_array_equal(found["labels"][image, :count], GOLDEN[f"{image}.labels"])
        for key in ("boxes", "scores"):
            assert_close(found[key][image, :count], GOLDEN[f"{image}.{key}"])


def test_rows_after_the_last_detection_are_empty(anchors):
    outputs = draw_detector_outputs(len(anchors.boxes), 3)
    outputs["class_logits"] -= 20
    outputs["class_logits"][1, 7, 2] = 3
    found = matching.detect(outputs, anchors, max_detections=4)
    assert found["count"].numpy().tolist() == [0, 1]
    assert found["labels"].numpy().tolist() == [[-1] * 4, [2, -1, -1, -1]]
    assert found["boxes"].shape == (2, 4, 4) and not found["boxes"][:, 1:].numpy().any()


TRUTH = np.array([[0.1, 0.1, 0.3, 0.3, 0], [0.5, 0.5, 0.9, 0.9, 0], [0.2, 0.6, 0.4, 0.8, 1]], "float32")


def found(rows, scores):
    rows = np.array(rows, "float32").reshape(-1, 5)
    return {"boxes": rows[:, :4], "scores": np.array(scores), "labels": rows[:, 4].astype(int)}


@pytest.mark.parametrize(
    ("rows", "scores", "mean", "per_class"),
    [
        (TRUTH, (0.9, 0.8, 0.7), 1.0, (1.0, 1.0)),
        (TRUTH[:1], (0.9,), (51 / 101) / 2, (51 / 101, 0.0)),  # half the recall of one class: 51 of 101 points
        # found twice: precision 1 up to half of the recall, then two of three
        (np.concatenate([TRUTH, TRUTH[:1]]), (0.9, 0.8, 0.7, 0.95), (1 + 253 / 303) / 2, (253 / 303, 1.0)),
        ([], (), 0.0, (0.0, 0.0)),
        ([[0.1, 0.1, 0.3, 0.3, 2]], (0.9,), 0.0, (0.0, 0.0)),  # a class that the truth has not
    ],
)
def test_mean_average_precision_by_hand(rows, scores, mean, per_class):
    numbers = coco.score([found(rows, scores)], [TRUTH], ["red", "white", "rare"])
    assert numbers["mean_average_precision"] == pytest.approx(mean, abs=1e-6)
    assert numbers["average_precision_50_red"] == pytest.approx(per_class[0], abs=1e-6)
    assert numbers["average_precision_50_white"] == pytest.approx(per_class[1], abs=1e-6)
    assert "average_precision_50_rare" not in numbers


def test_overlap_counts_for_the_mean():
    """Every box 0.8 as wide: an overlap of 0.8 passes seven of the ten thresholds."""
    narrow = TRUTH.copy()
    narrow[:, 2] = narrow[:, 0] + 0.81 * (narrow[:, 2] - narrow[:, 0])
    numbers = coco.score([found(narrow, (0.9, 0.8, 0.7))], [TRUTH], ["red", "white"])
    assert numbers["mean_average_precision_50"] == pytest.approx(1.0)
    assert numbers["mean_average_precision"] == pytest.approx(0.7)


def test_mean_average_precision_needs_objects():
    with pytest.raises(ValueError, match="needs true objects"):
        coco.score([found([], ())], [np.zeros((0, 5))], ["red"])

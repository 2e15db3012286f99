"""People's own images with boxes: the same objects from COCO's, Pascal VOC's and YOLO's files."""

import json

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("data pipelines are TensorFlow's", allow_module_level=True)

from PIL import Image

import kzoo

MODEL = kzoo.build(
    "retinanet", backbone="resnet18", backbone_options={"depths": [1, 1], "filters": 16}, taps=("layer1", "layer2"),
    filters=16, head_depth=1, anchor_sizes=(8, 16), num_classes=2, input_shape=(40, 48, 3),
)  # fmt: skip
NAMES = ["blue", "red"]
# (left, top, right, bottom) in pixels of an image of 96 x 80, and the class
OBJECTS = [
    [((8, 10, 40, 50), "red"), ((50, 20, 90, 70), "blue")],
    [],
    [((0, 0, 96, 80), "blue")],
    [((30.5, 20.25, 60, 44), "red")],
]


def write_images(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(len(OBJECTS)):
        pixels = np.random.default_rng(index).integers(0, 256, (80, 96, 3), "uint8")
        Image.fromarray(pixels).save(folder / f"{index}.png")


def coco(root, changes=None, split="train"):
    write_images(root / split)
    rows = [(index, *one) for index, found in enumerate(OBJECTS) for one in found]
    content = {
        "images": [{"id": 7 + i, "file_name": f"{i}.png", "width": 96, "height": 80} for i in range(len(OBJECTS))],
        "categories": [{"id": 3, "name": "blue"}, {"id": 9, "name": "red"}],
        "annotations": [
            {"image_id": 7 + i, "category_id": 3 if name == "blue" else 9, "bbox": [x, y, r - x, b - y]}
            for i, (x, y, r, b), name in rows
        ],
    }
    content["annotations"].append({"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    (root / split / "_annotations.coco.json").write_text(json.dumps({**content, **(changes or {})}))
    return root


def voc(root):
    write_images(root / "JPEGImages")
    (root / "Annotations").mkdir()
    for index, found in enumerate(OBJECTS):
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{r}</xmax><ymax>{b}</ymax>"
            "</bndbox></object>"
            for (x, y, r, b), name in found
        )
        size = "<size><width>96</width><height>80</height></size>"
        text = f"<annotation><filename>{index}.png</filename>{size}{objects}</annotation>"
        (root / "Annotations" / f"{index}.xml").write_text(text)
    return root


def yolo(root):
    write_images(root / "images" / "train")
    (root / "labels" / "train").mkdir(parents=True)
    for index, found in enumerate(OBJECTS):
        lines = [
            f"{NAMES.index(name)} {(x + r) / 192} {(y + b) / 160} {(r - x) / 96} {(b - y) / 80}"
            for (x, y, r, b), name in found
        ]
        if lines:  # an image without objects needs no file
            (root / "labels" / "train" / f"{index}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("names: [blue, red]\n")
    return root


@pytest.mark.parametrize("write", [coco, voc, yolo])
@pytest.mark.parametrize("limit", [1 << 30, 1])
def test_every_form_gives_the_same_objects(write, limit, tmp_path, monkeypatch):
    from kzoo.tasks.object_detection import boxed_folders

    monkeypatch.setattr(boxed_folders, "MEMORY_LIMIT", limit)
    data = kzoo.data.load(str(write(tmp_path)), MODEL, validation_fraction=0, augment=False, batch_size=4)
    assert data.class_names == NAMES
    found = data.objects["train"].to_list()
    wanted = [[[x / 96, y / 80, r / 96, b / 80, NAMES.index(name)] for (x, y, r, b), name in one] for one in OBJECTS]
    assert [len(one) for one in found] == [len(one) for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.reshape(one, (-1, 5)), np.reshape(other, (-1, 5)), atol=1e-6)
    x, y = data.train.examples([0, 1, 2, 3])
    folder = next(path.parent for path in tmp_path.rglob("0.png"))
    alone = kzoo.data.prepare_inputs(MODEL, np.asarray(Image.open(folder / "0.png"))[None])
    np.testing.assert_allclose(np.asarray(x)[0], alone[0], atol=1e-5)
    assert np.asarray(y["class_logits"]).max() == 1
    assert bool(write is coco) == any("1 boxes around crowds" in note for note in data.notes)


def test_a_part_is_set_aside_and_keeps_its_boxes(tmp_path):
    data = kzoo.data.load(str(coco(tmp_path)), MODEL, validation_fraction=0.3, batch_size=2)
    sizes = {split: part.nrows().numpy() for split, part in data.objects.items()}
    assert sum(sizes.values()) == 4 and sizes["validation"] == data.validation.num_examples >= 1
    kzoo.fit(MODEL, data, epochs=1, progress=False)
    assert 0 <= kzoo.evaluate(MODEL, data, "train")["mean_average_precision"] <= 1


def test_splits_have_their_own_files(tmp_path):
    coco(tmp_path), coco(tmp_path, split="valid")
    data = kzoo.data.load(str(tmp_path), MODEL)
    assert data.train.num_examples == data.validation.num_examples == 4
    alone = kzoo.data.load(str(tmp_path / "train" / "_annotations.coco.json"), MODEL, validation_fraction=0)
    assert alone.train.num_examples == 4 and alone.validation is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": [{"image_id": 99, "category_id": 3, "bbox": [0, 0, 1, 1]}]}, "is damaged.*99"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 200, 9]}]}, r"0\.png, object 0: .*leaves"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [5, 5, 0, 9]}]}, r"0\.png, object 0: .*no area"),
        ({"images": [{"id": 7, "file_name": "x.png", "width": 1, "height": 1}], "annotations": []}, "no image x.png"),
        ({"images": [{"id": 7, "file_name": "0.png", "width": 80, "height": 96}], "annotations": []},
         r"0\.png has 96x80 pixels.*80x96"),
        ({"categories": [{"id": i, "name": str(i)} for i in range(4)], "annotations": []}, "num_classes=4"),
        ({"categories": {}}, "is damaged"),
    ],
)  # fmt: skip
def test_damaged_descriptions_are_named(changes, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        kzoo.data.load(str(coco(tmp_path, changes)), MODEL)


def test_damaged_lines_are_named(tmp_path):
    yolo(tmp_path / "yolo")
    (tmp_path / "yolo" / "labels" / "train" / "2.txt").write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5\n")
    with pytest.raises(ValueError, match=r"2\.txt, line 2: wanted class, x, y, width and height"):
        kzoo.data.load(str(tmp_path / "yolo"), MODEL)
    voc(tmp_path / "voc")
    (tmp_path / "voc" / "Annotations" / "2.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"2\.xml is damaged"):
        kzoo.data.load(str(tmp_path / "voc"), MODEL)


def test_one_more_category_above_the_others_is_left_out(tmp_path):
    categories = [{"id": 0, "name": "things"}, {"id": 3, "name": "blue"}, {"id": 9, "name": "red"}]
    data = kzoo.data.load(str(coco(tmp_path, {"categories": categories})), MODEL, validation_fraction=0)
    assert data.class_names == NAMES

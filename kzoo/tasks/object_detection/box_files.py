"""Images with boxes of objects in people's own files: COCO's JSON, Pascal VOC's XML, YOLO's text files."""

import dataclasses
import json
import pathlib
import xml.etree.ElementTree

import numpy as np

from kzoo.data.columns.numbers import PICTURES

SPLITS = {"train": "train", "valid": "validation", "val": "validation", "validation": "validation", "test": "test"}


@dataclasses.dataclass
class Boxed:
    """One image and its objects.

    Args:
        path: its file.
        size: (width, height) as the description has them, or None where it says none.
        boxes: (left, top, right, bottom) of each object, in pixels, or as fractions where `size` is None.
        classes: what each object is, a name or a number.
    """

    path: pathlib.Path
    size: tuple | None
    boxes: list
    classes: list


def find(name) -> pathlib.Path | None:
    """The COCO file, or the folder with boxes in one of the three forms, that a data set's name stands for."""
    path = pathlib.Path(name).expanduser()
    if path.is_file():
        return path if path.suffix == ".json" else None
    return path if path.is_dir() and (_coco(path) or _voc(path) or _yolo(path)) else None


def read(path) -> tuple:
    """`(class names, {split: [Boxed]}, notes)` of what `find` found; one split is `train`.

    Raises ValueError that names the file which is damaged, or the image that is missing.
    """
    coco = {"train": path} if path.is_file() else _coco(path)
    if coco:
        return _read_coco(path.parent if path.is_file() else path, coco)
    if voc := _voc(path):
        parts = {split: [_read_voc(path, file) for file in files] for split, files in voc.items()}
        return sorted({name for part in parts.values() for one in part for name in one.classes}), parts, []
    yolo = _yolo(path)
    parts = {split: [_read_yolo(image) for image in images] for split, images in yolo.items()}
    count = 1 + max((index for part in parts.values() for one in part for index in one.classes), default=0)
    names = _yolo_names(path) or [str(index) for index in range(count)]
    if count > len(names):
        raise ValueError(f"{path}: an object is of class {count - 1}, and {len(names)} classes are named")
    return names, parts, []


# COCO: one JSON file a split


def _coco(root):
    """{split: file}: `train/_annotations.coco.json`, `annotations/instances_train2017.json` or `train.json`."""
    found = {}
    for word, split in SPLITS.items():
        places = [root / word / "_annotations.coco.json", root / f"{word}.json"]
        places += sorted((root / "annotations").glob(f"instances_{word}*.json"))
        for place in places:
            if place.is_file():
                found.setdefault(split, place)
    return found if "train" in found else {}


def _read_coco(root, files):
    parts, known, num_crowds = {}, None, 0
    for split, file in files.items():
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            names = {row["id"]: row["name"] for row in sorted(content["categories"], key=lambda row: row["id"])}
            images = {
                row["id"]: Boxed(_image(root, file, row["file_name"]), (row["width"], row["height"]), [], [])
                for row in content["images"]
            }
            for row in content["annotations"]:
                if row.get("iscrowd"):  # one box around many objects, which no box can be found for
                    num_crowds += 1
                    continue
                left, top, width, height = map(float, row["bbox"])
                images[row["image_id"]].boxes.append((left, top, left + width, top + height))
                images[row["image_id"]].classes.append(names[row["category_id"]])
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{file} is damaged, or no description of boxes as COCO has them: {error!r}") from error
        names = list(names.values())
        if known is not None and names != known:
            raise ValueError(f"{file} names the classes {', '.join(names[:5])}, and train {', '.join(known[:5])}")
        known, parts[split] = names, list(images.values())
    used = {name for part in parts.values() for one in part for name in one.classes}
    # Some tools begin with a category above the others, of which no object is.
    known = known[1:] if known and known[0] not in used and set(known[1:]) == used else known
    notes = [f"{num_crowds} boxes around crowds were left out"] if num_crowds else []
    return known, parts, notes


def _image(root, file, name):
    """The file of an image beside its description, in a folder of images, or in one of the split's name."""
    split = file.stem.removeprefix("instances_")
    for folder in (file.parent, file.parent / "images", root / split, root / "images" / split, root / "images", root):
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"{file}: no image {name} beside it, in {root / 'images'} or in {root / split}")


# Pascal VOC: one XML file an image


def _voc(root):
    """{split: [file]}: by the lists of ImageSets, by folders of splits, or all as train."""
    folder = root / "Annotations"
    if folder.is_dir():
        lists = {split: root / "ImageSets" / "Main" / f"{word}.txt" for word, split in SPLITS.items()}
        lists = {split: file.read_text().split() for split, file in lists.items() if file.is_file()}
        if "train" in lists:
            return {split: [folder / f"{name}.xml" for name in names] for split, names in lists.items()}
        return {"train": sorted(folder.glob("*.xml"))} if any(folder.glob("*.xml")) else {}
    found = {split: sorted((root / word).glob("*.xml")) for word, split in SPLITS.items() if (root / word).is_dir()}
    if found.get("train"):
        return {split: files for split, files in found.items() if files}
    files = sorted(root.glob("*.xml"))
    return {"train": files} if files else {}


def _read_voc(root, file):
    try:
        tree = xml.etree.ElementTree.parse(file).getroot()
        size = tuple(int(tree.find(f"size/{side}").text) for side in ("width", "height"))
        name, boxes, classes = tree.find("filename").text, [], []
        for one in tree.findall("object"):
            box = one.find("bndbox")
            boxes.append(tuple(float(box.find(edge).text) for edge in ("xmin", "ymin", "xmax", "ymax")))
            classes.append(one.find("name").text)
    except (xml.etree.ElementTree.ParseError, OSError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged, or no description of boxes as Pascal VOC has them: {error!r}") from error
    for folder in (file.parent, root / "JPEGImages", root / "images"):
        if (folder / name).is_file():
            return Boxed(folder / name, size, boxes, classes)
    raise ValueError(f"{file}: no image {name} beside it, in {root / 'JPEGImages'} or in {root / 'images'}")


# YOLO: a line of class, middle and size an object, in fractions, in a text file an image


def _yolo(root):
    """{split: [image]}: `images/train` and `labels/train`, `train/images` and `train/labels`, or both alone."""
    found = {}
    for word, split in SPLITS.items():
        for images in (root / "images" / word, root / word / "images"):
            if images.is_dir() and _labels(images).is_dir():
                found.setdefault(split, _images_in(images))
    if "train" in found:
        return found
    images = root / "images"
    return {"train": _images_in(images)} if images.is_dir() and _labels(images).is_dir() else {}


def _labels(images):
    """The folder of labels that belongs to a folder of images: the last `images` of its path replaced."""
    parts = list(images.parts)
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return pathlib.Path(*parts)


def _images_in(folder):
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.name[0] != ".")


def _read_yolo(image):
    """An image without a text file shows no object."""
    file, boxes, classes = _labels(image.parent) / f"{image.stem}.txt", [], []
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            index, x, y, width, height = line.split()
            x, y, width, height = (float(value) for value in (x, y, width, height))
            classes.append(int(index))
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: wanted class, x, y, width and height, got {line!r}") from error
        boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return Boxed(image, None, boxes, classes)


def _yolo_names(root):
    """The names of the classes, from `data.yaml` or `classes.txt`; None where there is neither."""
    for file in (root / "data.yaml", root / "dataset.yaml"):
        if file.is_file():
            try:
                import yaml
            except ModuleNotFoundError as error:
                raise ValueError(f"{file} needs PyYAML: pip install 'kzoo[detection]'") from error
            try:
                names = yaml.safe_load(file.read_text(encoding="utf-8"))["names"]
                return [str(names[index]) for index in range(len(names))]
            except (yaml.YAMLError, KeyError, TypeError) as error:
                raise ValueError(f"{file} should name the classes under `names`: {error!r}") from error
    file = root / "classes.txt"
    return file.read_text(encoding="utf-8").split() if file.is_file() else None


def rows_of(class_names, images) -> np.ndarray:
    """The objects of images as a list of arrays (n, 4) of top, left, bottom, right as fractions, and (n,) of classes.

    Boxes may leave their image by one pixel; what is beyond is cut off.
    """
    found = []
    for one in images:
        scale = np.array([*(one.size or (1, 1))] * 2, np.float64)
        edges = np.asarray(one.boxes, np.float64).reshape(-1, 4)
        slack = 1.0 if one.size else 1e-2
        clipped = np.clip(edges, 0, scale)
        edges = np.where(np.abs(edges - clipped) <= slack, clipped, edges) / scale
        places = [index if isinstance(index, int) else class_names.index(index) for index in one.classes]
        found.append((edges[:, [1, 0, 3, 2]], places))
    return found

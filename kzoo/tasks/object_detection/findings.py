"""What a detector finds in files or in a data set, as rows and as a drawing."""

import math

import numpy as np

from kzoo.data import decoding, prepare_inputs
from kzoo.support import atomic, drawing
from kzoo.tasks import inference, reading
from kzoo.tasks.object_detection.coco import find_objects

THRESHOLD = 0.5  # below it nothing is reported to people
PANEL = 4.0  # inches the longer side of an image
DPI = 110
LEGEND = 0.25  # inches


def for_files(model, paths, class_names=None, threshold=THRESHOLD, skip_bad=False) -> list:
    """One row per image file: `file`, `size` (width, height), and `objects`, each with class, score and box.

    A box is left, top, right, bottom in pixels of the file. Raises ValueError for what is no image, unless such files
    are to be left out.
    """
    rows = []
    for path, picture in reading.readable(decoding.read, paths, skip_bad):
        x = prepare_inputs(model, picture[None])
        ((found,), size) = find_objects(model, x, threshold), picture.shape[1::-1]
        rows.append({"file": str(path), "size": list(size), "objects": _objects(found, size, class_names)})
    return rows


def for_data(model, data, split="test", limit=5, threshold=THRESHOLD) -> list:
    """One row for each of the first examples of a split: `example`, `size`, `objects`, and `truth`, the true ones.

    Boxes are in pixels of the model's input.
    """
    part = inference.choose_split(data, split)
    rows, size = [], model.inputs[0].shape[2:0:-1]
    for index, found in enumerate(find_objects(model, part.examples(range(_first(part, limit)))[0], threshold)):
        real = np.asarray(data.objects[split][index])
        truth = {"boxes": real[:, :4], "labels": real[:, 4].astype(int), "scores": np.ones(len(real))}
        rows.append(
            {
                "example": index,
                "size": list(size),
                "objects": _objects(found, size, data.class_names),
                "truth": [
                    {key: entry[key] for key in ("class", "box")} for entry in _objects(truth, size, data.class_names)
                ],
            }
        )
    return rows


def pictures(data, split="test", limit=5) -> list:
    """The first images of a split as float (height, width, 3) in [0, 1], without the model's normalisation."""
    part = inference.choose_split(data, split)
    x = np.asarray(part.examples(range(_first(part, limit)))[0])
    mean, std = (np.array(values) for values in data.preprocessing.constants(x.shape[-1]))
    return list(np.clip(x * std + mean, 0, 1))


def line(row) -> str:
    """A row as lines of text, one an object."""
    name = row.get("file", row.get("example"))
    lines = [
        f"{name}: {entry['class']} {entry['score']:.3f} at ({', '.join(f'{edge:.0f}' for edge in entry['box'])})"
        for entry in row["objects"]
    ]
    return "\n".join(lines or [f"{name}: no object"])


def draw(path, images, rows) -> None:
    """Writes a PNG of images with what was found in each, one colour a class, and the true boxes dashed.

    Args:
        images: arrays (height, width, 3), uint8 or floats in [0, 1], one a row.
        rows: as `for_files` or `for_data` give them.
    """
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    columns = min(2, len(images))
    high, wide = (max(image.shape[axis] for image in images) for axis in (0, 1))
    scale = PANEL / max(high, wide)
    lines = math.ceil(len(images) / columns)
    size = (columns * wide * scale, lines * (high * scale + 0.25) + LEGEND)
    names = sorted({entry["class"] for row in rows for entry in (*row["objects"], *row.get("truth", ()))})
    colours = dict(zip(names, colormaps["tab10"].colors * len(names), strict=False))
    with drawing.picture(path, size, DPI) as figure:
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, image, row in zip(axes, images, rows, strict=False):
            shape = (row["size"][0], row["size"][1])
            axis.imshow(image, extent=(0, shape[0], shape[1], 0))
            axis.set_title(str(row.get("file", row.get("example"))).rpartition("/")[2], fontsize=7)
            for entry in row.get("truth", ()):
                axis.add_patch(_rectangle(Rectangle, entry, edgecolor="black", linestyle=":", linewidth=1))
            for entry in row["objects"]:
                colour = colours[entry["class"]]
                axis.add_patch(_rectangle(Rectangle, entry, edgecolor=colour, linewidth=1.2))
                label = f"{entry['class']} {entry['score']:.2f}"
                left, top = entry["box"][:2]
                side = "left" if left < shape[0] / 2 else "right"  # towards the middle, where there is room
                left = left if side == "left" else entry["box"][2]
                axis.text(left, max(top, shape[1] * 0.05), label, fontsize=6, color="white", va="bottom", ha=side,
                          clip_on=True, bbox={"facecolor": colour, "pad": 0.4, "linewidth": 0})  # fmt: skip
        kinds = {"found": {"color": "tab:gray"}, "true": {"color": "black", "linestyle": ":"}}
        kinds = kinds if any(row.get("truth") for row in rows) else {"found": kinds["found"]}
        lines = [Rectangle((0, 0), 1, 1, fill=False, label=kind, **style) for kind, style in kinds.items()]
        figure.legend(handles=lines, loc="outside lower center", ncols=2, fontsize=6, frameon=False)
    _reduce(path)


def _reduce(path):
    """Rewrites a PNG with 256 colours, which take a third of the bytes."""
    from PIL import Image

    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(256)
    with atomic.file(path) as temporary:
        reduced.save(temporary, format="png", optimize=True)


def _rectangle(kind, entry, **style):
    left, top, right, bottom = entry["box"]
    return kind((left, top), right - left, bottom - top, fill=False, **style)


def _first(part, limit):
    return min(limit, part.num_examples)


def _objects(found, size, class_names):
    scale = np.array([*size, *size])
    return [
        {"class": class_names[label] if class_names else str(label), "score": round(float(score), 4),
         "box": [round(float(edge), 1) for edge in box * scale]}
        for box, score, label in zip(found["boxes"], found["scores"], found["labels"], strict=True)
    ]  # fmt: skip

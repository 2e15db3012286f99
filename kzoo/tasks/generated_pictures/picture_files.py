"""Generated pictures as files: a grid of them, one file each in a folder, and grids as an animated picture."""

import pathlib

import numpy as np
from PIL import Image

from kzoo.support import atomic

MARGIN = 2  # pixels between the pictures of a grid
MILLISECONDS = 300  # that each grid of a film is shown


def write_grid(path, images) -> None:
    """Writes pictures uint8 (num_images, height, width, 1 or 3) side by side, in a square as nearly as possible."""
    with atomic.file(path) as temporary:
        _as_image(grid(images)).save(temporary, format="PNG")


def grid(images) -> np.ndarray:
    """One picture of many, uint8, on white."""
    count, height, width, channels = images.shape
    num_columns = int(np.ceil(np.sqrt(count)))
    num_rows = -(-count // num_columns)
    step = height + MARGIN, width + MARGIN
    sheet = np.full((num_rows * step[0] + MARGIN, num_columns * step[1] + MARGIN, channels), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // num_columns) * step[0] + MARGIN, (index % num_columns) * step[1] + MARGIN
        sheet[top : top + height, left : left + width] = image
    return sheet


def write_each(folder, images) -> None:
    """Writes pictures as `00000.png` and so on into a new folder, all or none."""
    with atomic.folder(folder) as temporary:
        for index, image in enumerate(images):
            _as_image(image).save(temporary / f"{index:05}.png", format="PNG")


def write_film(path, files) -> None:
    """Writes picture files, in order, as one animated GIF."""
    frames = []
    for file in files:
        with Image.open(file) as image:
            frames.append(image.convert("RGB"))
    with atomic.file(path) as temporary:
        frames[0].save(temporary, format="GIF", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0)


def check(path) -> None:
    """ValueError for a path that names neither a `.png` nor a folder that is new or empty."""
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in ("", ".png"):
        raise ValueError(f"{path}: pictures are written as a grid into a .png, or one by one into a folder")
    if not suffix:
        atomic.refuse_occupied(path)


def write(path, images) -> str:
    """Writes pictures into a `.png` as a grid, or one by one into a folder; a line that says so."""
    suffix = pathlib.Path(path).suffix
    (write_grid if suffix else write_each)(path, images)
    size = "x".join(map(str, images.shape[1:3]))
    return f"wrote {path}, {len(images)} pictures of {size}{'' if suffix else ' in a folder'}"


def _as_image(array):
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)

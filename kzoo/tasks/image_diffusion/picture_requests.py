"""Pictures of diffusion from and into files."""

import pathlib

import numpy as np

from kzoo.data import decoding, resizing
from kzoo.tasks.generated_pictures import picture_files
from kzoo.tasks.image_diffusion.networks import networks_of


def generate_file(task, model, path, progress=None, preview=False, image=None, mask=None, **settings) -> str:
    """Writes what `generate` gives into a `.png` as a grid, or one by one into a folder; a line that says so.

    Args:
        progress: a function of the steps done and of all.
        preview: whether the grid is written every few steps, as pictures are seen by then.
        image, mask: files, brought to the size of the model's pictures; of the mask, what is lighter than grey is
            painted anew.
    """
    picture_files.check(path)
    if preview and not pathlib.Path(path).suffix:
        raise ValueError(f"preview is of a grid in a .png, and {path} is a folder; leave preview (--preview) out")
    shape = networks_of(model).picture_shape
    if image is not None:
        settings["image"] = _read(image, shape)
    if mask is not None:
        settings["mask"] = _read(mask, (*shape[:2], 1))[..., 0] > 0.5

    def told(done, total, look):
        if preview and done < total:
            picture_files.write_grid(path, look())
        if progress:
            progress(done, total)

    return picture_files.write(path, task.generate(model, progress=told, **settings))


def _read(path, shape):
    """A picture file as floats in [0, 1] of that shape."""
    pixels = decoding.in_channels(decoding.read(path), shape[2])
    return np.clip(resizing.fit_images(pixels[None], shape, shape)[0], 0, 1)

"""Columns of plain numbers: one row per example, one row per step, or images."""

import pathlib

import numpy as np

from kzoo.data import checks


class Numbers:
    """Floating-point numbers of a fixed shape, such as the pixels of an image in one row.

    Args:
        model: the model whose input it is.
        tensor: the input, with its name, shape (batch first, None where open) and dtype.
    """

    kind = "numbers"

    def __init__(self, model, tensor):
        self.name, self.shape, self.dtype = tensor.name, tuple(tensor.shape[1:]), str(tensor.dtype)
        self.label = f"input {tensor.name!r} of {model.name}"

    def check(self, x) -> np.ndarray:
        """`x` as a batch of this column; ValueError that names what was passed, what is wanted and the fix."""
        x = checks.check_array(self.label, x)
        checks.check_shape(self.label, x, self.shape)
        if x.size == 0:
            raise ValueError(f"{self.label} is empty, shape {x.shape}; pass at least one example and one step")
        return self._check_values(x)

    def _check_values(self, x):
        x = checks.check_finite(self.label, x)
        if x.dtype in checks.IMAGE_DTYPES:
            return x.astype(np.float32) / np.float32(np.iinfo(x.dtype).max)
        return x.astype(np.float32)

    def draw(self, random, batch_size, length) -> np.ndarray:
        """A random batch; axes of unknown size get `length`."""
        return random.random(self._drawn_shape(batch_size, length), dtype=np.float32)

    def _drawn_shape(self, batch_size, length):
        return (batch_size, *(length if size is None else size for size in self.shape))

    def read(self, path, preprocessing) -> np.ndarray:
        """A file as a batch: an `.npy` array of one or more examples, or an image; ValueError that names the file."""
        path = pathlib.Path(path)
        if not path.is_file():
            raise ValueError(f"no file at {path}")
        if path.suffix != ".npy":
            from kzoo.data import resizing

            return resizing.fit_image(resizing.read_image(path), self.shape, preprocessing)
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is not an array that can be read safely: {error}") from error
        return array if array.ndim == len(self.shape) + 1 else array[None]


class Sequence(Numbers):
    """Floating-point numbers (length, features), one row per step, such as the rows of an image."""

    kind = "sequence"


class Image(Numbers):
    """Images (height, width, channels) as uint8 or uint16, or as floats in [0, 1]; sizes may be open."""

    kind = "image"

    def _check_values(self, x):
        if len(self.shape) == 3:
            checks.check_scale(self.label, checks.check_finite(self.label, x))
        return super()._check_values(x)

"""Columns of plain numbers: one row per example, one row per step, or images."""

import pathlib

import numpy as np

from kzoo.data import checks

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
PIECE = 256  # images that are resized at once


def are_images(x) -> bool:
    """Whether an array is a batch of images: (batch, height, width, channels), or of bytes without channels."""
    return np.ndim(x) == 4 or (np.ndim(x) == 3 and getattr(x, "dtype", None) == np.uint8)


class Numbers:
    """Floating-point numbers of a fixed shape, such as the pixels of an image in one row.

    Args:
        model: the model whose input it is.
        tensor: the input, with its name, shape (batch first, None where open) and dtype.

    Attributes:
        words: what a server is told that it holds.
        suffixes: of the files that `read` takes.
    """

    kind = "numbers"
    suffixes = (*PICTURES, ".npy")
    words = "numbers"

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

    def holds_pixels(self, x) -> bool:
        """Whether an array holds images, which are fitted to this input."""
        return are_images(x)

    def check_pixels(self, label, x, preprocessing) -> np.ndarray:
        """Images (batch, height, width, channels) of any size, or ValueError that begins with `label`."""
        x = checks.check_finite(label, checks.check_array(label, x))
        x = x[..., None] if x.ndim == 3 else x
        checks.check_scale(label, x, preprocessing)
        return self.check(x) if len(self.shape) == 3 and x.shape[-1] not in (1, 3) else x

    def prepare(self, x, preprocessing) -> np.ndarray:
        """`x` as the model takes it; images are resized, cropped, scaled and normalised, as data pipelines do it.

        Raises ValueError as `check` does.
        """
        # Three axes are as well one image without its batch.
        is_batch = np.ndim(x) == 4 or len(self.shape) == 1 or np.shape(x)[1:] == self.shape[:2]
        if not self.holds_pixels(x) or not is_batch or not np.size(x) or self.shape[2:] not in ((), (1,), (3,)):
            return self.check(x)
        from kzoo.data import resizing

        x = self.check_pixels(self.label, x, preprocessing)
        shape = resizing.image_shape(x.shape[1:], self.shape)
        pieces = (x[start : start + PIECE] for start in range(0, len(x), PIECE))
        return np.concatenate([resizing.fit_images(piece, shape, self.shape, preprocessing) for piece in pieces])

    def is_one(self, path) -> bool:
        """Whether a folder is one example, and not a folder of them."""
        return False

    def length_beside(self, length) -> int:
        """How many steps this input has beside others of `length`."""
        return length

    def draw(self, random, batch_size, length) -> np.ndarray:
        """A random batch; axes of unknown size get `length`."""
        return random.random(self._drawn_shape(batch_size, length), dtype=np.float32)

    def _drawn_shape(self, batch_size, length):
        return (batch_size, *(length if size is None else size for size in self.shape))

    def limits(self, preprocessing) -> list | None:
        """The lowest and the highest value, both inclusive; None where any number may come."""
        return None

    def read(self, path) -> np.ndarray:
        """A file as a batch: an `.npy` array of one or more examples, or the pixels of an image.

        Raises ValueError that names the file.
        """
        path = pathlib.Path(path)
        if not path.is_file():
            raise ValueError(f"no file at {path}")
        if path.suffix != ".npy":
            from kzoo.data import decoding

            return decoding.read(path)[None]
        try:
            # Mapped, since a damaged header may declare more than any memory holds.
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"{path} is not an array that can be read safely: {error}") from error
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{path} is an archive of several arrays (.npz); wanted one array (np.save)")
        return array if array.ndim > len(self.shape) else array[None]


class Noise(Numbers):
    """Standard normal numbers, of which a model makes something."""

    kind = "noise"
    words = "standard normal noise"

    def draw(self, random, batch_size, length) -> np.ndarray:
        return random.standard_normal(self._drawn_shape(batch_size, length), dtype=np.float32)


class Sequence(Numbers):
    """Floating-point numbers (length, features), one row per step, such as the rows of an image."""

    kind = "sequence"
    words = "one row of numbers for each step"


class Image(Numbers):
    """Images (height, width, channels) as uint8 or uint16, or as floats in [0, 1]; sizes may be open."""

    kind = "image"

    def __init__(self, model, tensor):
        super().__init__(model, tensor)
        self.model = model

    def check_pixels(self, label, x, preprocessing) -> np.ndarray:
        x = super().check_pixels(label, x, preprocessing)
        self._check_size(x)
        return x

    def _check_size(self, x):
        if self.shape[:2] == (None, None) and len(self.model.inputs) == 1:
            from kzoo.graph import check_image_size  # imports Keras, which whoever has a model has

            check_image_size(self.model, *x.shape[1:3])

    @property
    def words(self) -> str:
        scaled = "" if self.dtype == "uint8" else ": pixels scaled to [0, 1], minus mean, divided by std"
        return f"images, channels last{scaled}"

    def limits(self, preprocessing) -> list:
        """Of all channels together, after normalisation."""
        if self.dtype == "uint8":
            return [0, 255]
        mean, std = (np.array(values) for values in preprocessing.constants(self.shape[-1]))
        return [float(np.min((0 - mean) / std)), float(np.max((1 - mean) / std))]

    def _check_values(self, x):
        self._check_size(x)
        if len(self.shape) == 3:
            checks.check_scale(self.label, checks.check_finite(self.label, x))
        return super()._check_values(x)

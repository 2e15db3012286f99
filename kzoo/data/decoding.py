"""The pixels of image files: PNG, JPEG, BMP, and GIF, of which the first frame counts."""

import io
import pathlib

import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image

FORMATS = ("PNG", "JPEG", "GIF", "BMP")
MAX_PIXELS = Image.MAX_IMAGE_PIXELS  # Pillow's bound: a file of a few kilobytes may declare any number
# What EXIF's orientation asks for, so that the image stands upright
UPRIGHT = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.swapaxes(np.rot90(pixels, 2), 0, 1),
    8: np.rot90,
}


def decode(contents) -> np.ndarray:
    """The pixels in the bytes of an image file, (height, width, 1 or 3), uint8, or uint16 for a PNG of 16 bits.

    Alpha is dropped, palettes are looked up, and the image is turned as EXIF's orientation says. A JPEG's pixels are
    those of Pillow, and so of torchvision. Raises ValueError that says in a few words what is wrong.
    """
    if not contents:
        raise ValueError("empty")
    try:
        with Image.open(io.BytesIO(contents), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels, and at most {MAX_PIXELS:,} are read")
            turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation), np.asarray)
            return np.ascontiguousarray(turn(_pixels(image, contents)))
    except Image.DecompressionBombError:
        raise ValueError(f"more than {2 * MAX_PIXELS:,} pixels, and at most {MAX_PIXELS:,} are read") from None
    except (OSError, SyntaxError, EOFError, tf.errors.OpError) as error:
        raise ValueError("damaged, or no image (PNG, JPEG, GIF, BMP)") from error


def _pixels(image, contents):
    """An opened image as an array; TensorFlow decodes JPEGs faster than Pillow, and PNGs of 16 bits without loss."""
    if image.format == "JPEG" and b"\xff\xd9" not in contents:  # libjpeg would print a warning
        raise ValueError("a JPEG without an end")
    if image.format == "JPEG" and image.mode != "CMYK":
        return tf.io.decode_jpeg(contents, dct_method="INTEGER_ACCURATE").numpy()
    if image.format == "PNG" and contents[24] == 16:  # bits a sample, in the header
        pixels = tf.io.decode_png(contents, dtype=tf.uint16).numpy()
        return pixels[..., : 3 if pixels.shape[-1] > 2 else 1]
    return np.atleast_3d(np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")))


def read(path) -> np.ndarray:
    """The pixels of an image file as `decode` gives them; ValueError that names a bad file."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    try:
        return decode(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def in_channels(pixels, num_channels) -> np.ndarray:
    """Pixels with 1 or 3 channels as so many: grey is repeated, colours are averaged by their luminance."""
    if pixels.shape[-1] == num_channels:
        return pixels
    return pixels.repeat(3, axis=-1) if num_channels == 3 else tf.image.rgb_to_grayscale(pixels).numpy()

"""Image files as people have them: orientation, palettes, 16 bits, declared sizes."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

import kzoo
from kzoo.data import decoding

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 5, 3), "uint8").repeat(4, 0).repeat(4, 1)


def encoded(image, format, **options) -> bytes:
    written = io.BytesIO()
    image.save(written, format, **options)
    return written.getvalue()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_jpeg_has_the_pixels_of_pillow(subsampling):
    contents = encoded(Image.fromarray(PICTURE), "JPEG", quality=80, subsampling=subsampling)
    np.testing.assert_array_equal(decoding.decode(contents), np.asarray(Image.open(io.BytesIO(contents))))


def test_other_kinds_of_jpeg():
    for mode, channels in (("L", 1), ("CMYK", 3)):
        contents = encoded(Image.fromarray(PICTURE).convert(mode), "JPEG")
        with Image.open(io.BytesIO(contents)) as image:
            wanted = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        np.testing.assert_array_equal(np.squeeze(decoding.decode(contents)), wanted)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    contents = encoded(Image.fromarray(PICTURE), format, exif=exif)
    with Image.open(io.BytesIO(contents)) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decoding.decode(contents), wanted)


@pytest.mark.parametrize("format", ["BMP", "PNG", "GIF"])
def test_palettes_are_looked_up(format):
    image = Image.fromarray(PICTURE).quantize(16)
    got = decoding.decode(encoded(image, format))
    np.testing.assert_array_equal(got, np.asarray(image.convert("RGB")))


def test_a_png_of_16_bits_keeps_them():
    deep = np.random.default_rng(0).integers(0, 1 << 16, (4, 5, 3), "uint16")
    got = decoding.decode(tf.io.encode_png(deep).numpy())
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, deep)
    np.testing.assert_array_equal(decoding.decode(tf.io.encode_png(deep[..., :2]).numpy()), deep[..., :1])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "1", "L"])
def test_alpha_is_dropped(mode):
    image = Image.fromarray(PICTURE).convert(mode)
    got = decoding.decode(encoded(image, "PNG"))
    wanted = np.asarray(image.convert("RGB" if mode == "RGBA" else "L"))
    np.testing.assert_array_equal(np.squeeze(got), wanted)


def declared(width, height) -> bytes:
    """A PNG's header and nothing behind it."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\4IDAT"


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"", "empty"),
        (b"<html>", "no image"),
        (encoded(Image.fromarray(PICTURE), "PNG")[:200], "damaged"),
        (encoded(Image.fromarray(PICTURE), "JPEG")[:-40], "without an end"),
        (declared(20_000, 20_000), "pixels, and at most"),
    ],
)
def test_what_is_no_image(contents, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        decoding.decode(contents)
    (tmp_path / "bad.png").write_bytes(contents)
    with pytest.raises(ValueError, match=r"bad\.png cannot be read as an image"):
        decoding.read(tmp_path / "bad.png")


def test_folders_and_predict_read_files_alike(tmp_path):
    """A picture taken with the camera on its side: in a folder in memory, in one read batch by batch, by itself."""
    from kzoo.data import pictures

    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(3):
            turned = Image.fromarray(np.roll(PICTURE, index + 3 * (name == "b"), axis=0))
            turned.save(tmp_path / "data" / name / f"{index}.jpg", exif=exif)
    model = kzoo.build("cnn", input_shape=(8, 8, 3), num_classes=2)
    options = {"validation_fraction": 0, "batch_size": 6}
    whole = kzoo.data.load(str(tmp_path / "data"), model, **options).train
    limit, pictures.MEMORY_LIMIT = pictures.MEMORY_LIMIT, 1
    try:
        streamed = kzoo.data.load(str(tmp_path / "data"), model, **options).train
    finally:
        pictures.MEMORY_LIMIT = limit
    for first, second in zip(whole.examples(range(6)), streamed.examples(range(6)), strict=True):
        np.testing.assert_array_equal(first, second)
    read = decoding.read(tmp_path / "data" / "a" / "0.jpg")
    alone = kzoo.data.prepare_inputs(model, read[None])[0]
    assert min(np.abs(alone - image).max() for image in np.asarray(whole.examples(range(6))[0])) < 1e-6

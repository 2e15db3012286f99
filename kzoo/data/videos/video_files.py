"""The frames of moving pictures: animated GIF, WebP and PNG, folders of numbered pictures, and what PyAV decodes."""

import dataclasses
import io
import pathlib
import re
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageSequence

from kzoo.catalog import Preprocessing
from kzoo.data import decoding, resizing
from kzoo.data.columns.video import MOVING

ANIMATED = (".gif", ".webp", ".png")
STILL = (".png", ".jpg", ".jpeg", ".bmp")
BLOCK = 32  # frames that are resized at once
LOST = 2  # frames fewer than a file declares that no fault is seen in: encoders drop some at either end


@dataclasses.dataclass
class Frames:
    """Frames (count, height, width, channels), uint8, and how many of them there are a second, None where unknown."""

    pixels: np.ndarray
    rate: float | None


def read(path, shape, frame_rate=0.0, preprocessing=None) -> Frames:
    """The frames of a file, or of a folder of numbered pictures, at `frame_rate` a second.

    Args:
        shape: (frames, height, width, channels) of the model; fewer frames are refused.
        frame_rate: 0 takes frames as they come, and so do pictures that no file says the time of.
        preprocessing: how frames are fitted to the model's size; without it they keep their own.

    Raises ValueError that names what cannot be read: no file, damage, a truncated end, a still picture, too few frames.
    """
    path = pathlib.Path(path)
    source, rate = _opened(path)
    kept, block, count = [], [], 0
    for place, frame in enumerate(source):
        count = place + 1
        # As torchvision resamples: of frames at one rate those that come last before each moment of the other.
        step = rate / frame_rate if rate and frame_rate else 1.0
        while int((len(kept) + len(block)) * step) <= place:
            block.append(decoding.in_channels(frame, shape[-1]))
            if len(block) == BLOCK:
                kept, block = [*kept, *_fitted(path, block, shape, preprocessing)], []
    kept += _fitted(path, block, shape, preprocessing)
    if count < 2:
        raise ValueError(f"{path} is one picture; wanted moving pictures of {shape[0]} frames")
    if len(kept) < shape[0]:
        at = f" at {frame_rate:g} a second" if rate and frame_rate else ""
        raise ValueError(
            f"{path} has {len(kept)} frames{at} and the model takes {shape[0]}; build it with an input_shape of fewer"
        )
    return Frames(np.stack(kept), frame_rate or rate)


def is_sequence(path) -> bool:
    """Whether a path is a folder of numbered pictures and nothing else: the frames of one video."""
    path = pathlib.Path(path)
    files = [one for one in path.iterdir() if one.name[0] != "."] if path.is_dir() else []
    return len(files) > 1 and all(one.suffix.lower() in STILL and re.search(r"\d", one.stem) for one in files)


def _opened(path):
    """(frames one after another, how many there are a second or None)."""
    if is_sequence(path):
        files = [one for one in path.iterdir() if one.name[0] != "."]
        return (decoding.read(one) for one in sorted(files, key=_number)), None
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    if path.suffix.lower() in ANIMATED:
        return _animation(path)
    if path.suffix.lower() in MOVING:
        return _decoded(path)
    raise ValueError(f"{path} is no video: wanted {' '.join(MOVING)}, an animated .png, or a folder of pictures")


def _number(path):
    """Numbered files in the order of their numbers, whatever their width."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)]


def _animation(path):
    contents = path.read_bytes()
    if path.suffix.lower() == ".gif" and contents.rstrip(b"\0")[-1:] != b";":
        raise ValueError(f"{path} cannot be read: a GIF without an end, cut off after {len(contents):,} bytes")
    try:
        with Image.open(io.BytesIO(contents), formats=("GIF", "WEBP", "PNG")) as image:
            if image.width * image.height > decoding.MAX_PIXELS:
                raise ValueError(f"{path}: {image.width}x{image.height} pixels; {decoding.MAX_PIXELS:,} are read")
            frames, durations = [], []
            for frame in ImageSequence.Iterator(image):
                frames.append(np.asarray(frame.convert("RGB")))
                durations.append(frame.info.get("duration", 0))
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: damaged, or no animation ({error})") from error
    spent = sum(durations)
    return iter(frames), 1000 * len(frames) / spent if spent else None


def _decoded(path):
    try:
        import av
    except ImportError as error:
        raise ValueError(f"{path}: such files are decoded by PyAV: pip install kzoo[video]") from error
    try:
        with av.open(str(path)) as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise ValueError(f"{path} has no pictures")
            rate = float(stream.average_rate) if stream.average_rate else None
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"{path} cannot be read: damaged, truncated or no video ({_told(error)})") from error
    return _stream(av, path), rate


def _stream(av, path) -> Iterator:
    count = 0
    try:
        with av.open(str(path)) as container:
            (stream, *_), declared = container.streams.video, container.streams.video[0].frames
            for frame in container.decode(stream):
                count += 1
                yield frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(
            f"{path} cannot be read: damaged or truncated after {count} frames ({_told(error)})"
        ) from error
    if count < declared - LOST:
        raise ValueError(f"{path} is truncated: it declares {declared} frames and holds {count}")


def _told(error):
    return str(error).splitlines()[0]


def _fitted(path, frames, shape, preprocessing):
    """Frames as the model takes them but for the scale, which stays that of bytes."""
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"{path} holds frames of different sizes, such as {frames[0].shape[:2]}")
    if not frames or preprocessing is None:
        return frames
    fitted = (
        resizing.resize(np.stack(frames), shape[1:], preprocessing).numpy()
        if _differs(frames, shape, preprocessing)
        else np.stack(frames)
    )
    return list(fitted if fitted.dtype == np.uint8 else np.round(fitted * 255).astype(np.uint8))


def _differs(frames, shape, preprocessing: Preprocessing):
    return preprocessing.crop is not None or frames[0].shape[:2] != tuple(shape[1:3])

"""The column of moving pictures."""

import numpy as np

from kzoo import catalog
from kzoo.data import checks
from kzoo.data.columns.numbers import Numbers

MOVING = (".gif", ".webp", ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


class Video(Numbers):
    """Clips (frames, height, width, channels) as uint8, or as floats in [0, 1].

    Attributes:
        frame_rate: of the frames that the model sees, the `frame_rate` that it was built with; 0 for any.
    """

    kind = "video"
    suffixes = (*MOVING, ".npy")

    def __init__(self, model, tensor):
        super().__init__(model, tensor)
        card = catalog.card_of(model)
        self.frame_rate = catalog.arguments(model).get("frame_rate", 0.0) if card.architecture else 0.0

    @property
    def words(self) -> str:
        at = f" at {self.frame_rate:g} a second" if self.frame_rate else ""
        return f"frames{at}, channels last: pixels scaled to [0, 1], minus mean, divided by std"

    def holds_pixels(self, x) -> bool:
        return False

    def is_one(self, path) -> bool:
        from kzoo.data.videos import video_files

        return video_files.is_sequence(path)

    def prepare(self, x, preprocessing) -> np.ndarray:
        """Clips of any size, uint8 or floats in [0, 1], resized, cropped, scaled and normalised frame by frame.

        Of clips with more frames than the model takes, those in the middle count. Raises ValueError for fewer.
        """
        from kzoo.data import resizing

        x = checks.check_finite(self.label, checks.check_array(self.label, x))
        if x.ndim != 5 or not x.size or x.shape[-1] not in (1, 3):
            raise ValueError(
                f"{self.label} has shape {x.shape}; wanted clips (batch, frames, height, width, 1 or 3 channels)"
            )
        checks.check_scale(self.label, x, preprocessing)
        count = self.shape[0]
        if x.shape[1] < count:
            raise ValueError(f"{self.label} has {x.shape[1]} frames and the model takes {count}; pass longer clips")
        begin = (x.shape[1] - count) // 2
        x = x[:, begin : begin + count]
        shape = resizing.image_shape(x.shape[2:], self.shape[1:])
        frames = resizing.fit_images(x.reshape(-1, *x.shape[2:]), shape, self.shape[1:], preprocessing)
        return frames.reshape(-1, *self.shape)

    def limits(self, preprocessing) -> list:
        """Of all channels together, after normalisation."""
        mean, std = (np.array(values) for values in preprocessing.constants(self.shape[-1]))
        return [float(np.min((0 - mean) / std)), float(np.max((1 - mean) / std))]

    def read(self, path) -> np.ndarray:
        """A file of moving pictures, or a folder of numbered ones, as a batch of one; ValueError that names it."""
        if str(path).lower().endswith(".npy"):
            return super().read(path)
        from kzoo.data.videos import video_files

        return video_files.read(path, self.shape, self.frame_rate).pixels[None]

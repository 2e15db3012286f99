"""How pixels become a model's input; it travels with weights, into data and into exports."""

import dataclasses
import json
import pathlib

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
PILLOW_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
CONFIG_FILES = ("model.json", "preprocessor_config.json", "config.json")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize, crop, scale to [0, 1], subtract `mean`, divide by `std`; the default only resizes and scales.

    Args:
        mean, std: a number for all channels, or one for each of red, green and blue.
        crop: the shorter side becomes the input's size divided by this, and the centre is cut out; None stretches the
            whole image to the input's size.
        interpolation: "bilinear", "bicubic" or "nearest", antialiased.

    Raises ValueError or TypeError that names the field.
    """

    mean: tuple = (0.0,)
    std: tuple = (1.0,)
    crop: float | None = None
    interpolation: str = "bilinear"

    def __post_init__(self):
        for name in ("mean", "std"):
            value = getattr(self, name)
            values = tuple(value) if isinstance(value, tuple | list) else (value,)
            if len(values) not in (1, 3) or not all(type(item) in (int, float) for item in values):
                raise TypeError(f"preprocessing {name} must be one number or three, got {value!r}")
            object.__setattr__(self, name, tuple(float(item) for item in values))
        if min(self.std) <= 0:
            raise ValueError(f"preprocessing std must be above 0, got {self.std!r}")
        if self.crop is not None and (type(self.crop) not in (int, float) or not 0 < self.crop <= 1):
            raise ValueError(f"preprocessing crop must be above 0 and at most 1, or None, got {self.crop!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"preprocessing interpolation must be one of {', '.join(INTERPOLATIONS)}, got {self.interpolation!r}"
            )

    def constants(self, num_channels) -> tuple:
        """(mean, std) for images of so many channels; their averages where the numbers of channels differ."""
        pair = (self.mean, self.std)
        return tuple(values if len(values) in (1, num_channels) else (sum(values) / len(values),) for values in pair)


def read_beside(file):
    """The preprocessing that a weight file's folder describes, or None: kzoo's, timm's and transformers' files.

    Raises ValueError that names the file if it describes one that cannot be followed.
    """
    for name in CONFIG_FILES:
        path = pathlib.Path(file).parent / name
        try:
            found = _from_config(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{path}: {error}") from error
        if found is not None:
            return found
    return None


def _from_config(config):
    if "preprocessing" in config:
        return Preprocessing(**config["preprocessing"])
    if "pretrained_cfg" in config:  # timm
        config = config["pretrained_cfg"]
        interpolation = config.get("interpolation", "bicubic")
        return Preprocessing(config["mean"], config["std"], config.get("crop_pct"), interpolation)
    if "image_mean" in config:  # transformers
        size, crop_size = config.get("size", {}), config.get("crop_size", {})
        crop = config.get("crop_pct")
        if crop is None and isinstance(size, dict) and "shortest_edge" in size and crop_size:
            crop = (crop_size["height"] if isinstance(crop_size, dict) else crop_size) / size["shortest_edge"]
        return Preprocessing(
            config["image_mean"], config["image_std"], crop, PILLOW_RESAMPLE[config.get("resample", 2)]
        )
    return None

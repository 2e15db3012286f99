"""How pixels become a model's input; it travels with weights, into data and into exports."""

import dataclasses
import json
import pathlib

INTERPOLATIONS = ("bilinear", "bicubic", "lanczos", "nearest")
PILLOW_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
CONFIG_FILES = ("model.json", "preprocessor_config.json", "config.json")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize, crop, scale to [0, 1], subtract `mean`, divide by `std`; the default only resizes and scales.

    Args:
        mean, std: a number for all channels, or one for each of red, green and blue.
        crop: the shorter side becomes the input's size divided by this, rounded down as timm does, and the centre is
            cut out; None stretches the whole image to the input's size.
        interpolation: "bilinear", "bicubic" or "lanczos", antialiased, or "nearest".

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

    @property
    def normalises(self) -> bool:
        """Whether values change beyond being scaled to [0, 1]."""
        return (set(self.mean), set(self.std)) != ({0.0}, {1.0})

    def constants(self, num_channels) -> tuple:
        """(mean, std) for images of so many channels; their averages where the numbers of channels differ."""
        pair = (self.mean, self.std)
        return tuple(values if len(values) in (1, num_channels) else (sum(values) / len(values),) for values in pair)


def read_beside(file) -> Preprocessing | None:
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
    if "pretrained_cfg" in config or ("architecture" in config and "mean" in config):  # timm, the second before 2023
        return _from_timm(config.get("pretrained_cfg", config))
    if "image_mean" in config or "do_normalize" in config:
        return _from_transformers(config)
    return None


def _from_timm(config):
    """timm's `resolve_data_config` gives what is not said, and stretches images whose `crop_mode` is "squash"."""
    mode, crop = config.get("crop_mode", "center"), config.get("crop_pct", 0.875)
    if mode not in ("center", "squash") or (mode == "squash" and crop != 1):
        raise ValueError(
            f"crop_mode {mode!r} with crop_pct {crop} is not offered; wanted 'center', or 'squash' with 1.0"
        )
    interpolation = config.get("interpolation", "bicubic")
    return Preprocessing(config["mean"], config["std"], None if mode == "squash" else crop, interpolation)


def _from_transformers(config):
    """The switches of transformers' image processors; a step that is off here and on elsewhere is followed."""
    if not config.get("do_resize", True):
        raise ValueError("do_resize false is not offered: images are always brought to the model's size")
    method = config.get("resample", 2)
    if method not in PILLOW_RESAMPLE:
        raise ValueError(f"resample {method!r} is not offered; wanted one of {', '.join(map(str, PILLOW_RESAMPLE))}")
    factor = 255 * config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 255
    normalises = config.get("do_normalize", True)
    mean, std = (config["image_mean"], config["image_std"]) if normalises else ([0.0], [1.0])
    # x is in [0, 1] here: (factor x - mean) / std
    mean, std = ([value / factor for value in values] for values in (mean, std))
    return Preprocessing(mean, std, _crop_of(config), PILLOW_RESAMPLE[method])


def _crop_of(config):
    """The share of the shorter side that `size` and `crop_size` leave, or None where images are stretched.

    Old files give `size` as one number: the shorter side if a crop follows, else both sides.
    """
    if config.get("crop_pct") is not None:
        return config["crop_pct"]
    size, crop = config.get("size", {}), config.get("crop_size", {})
    crops = config.get("do_center_crop", bool(crop))
    if isinstance(size, int) and crops:
        size = {"shortest_edge": size}
    if not isinstance(size, dict) or "shortest_edge" not in size:
        if crops and isinstance(size, dict) and size and _side(size) != _side(crop or size):
            raise ValueError(f"size {size} is stretched and then cropped to {crop}, which is not offered")
        return None
    if not crops:
        raise ValueError(
            f"size {size} without a crop gives images of no fixed size; wanted crop_size and do_center_crop"
        )
    return _side(crop or size) / size["shortest_edge"]


def _side(size):
    sides = set(size.values()) if isinstance(size, dict) else {size}
    if len(sides) != 1:
        raise ValueError(f"size {size} is not square, which is not offered")
    return sides.pop()

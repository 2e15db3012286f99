"""Random changes to training images, a whole batch at once, as a pure function of one row of numbers per example."""

import dataclasses
import math

import tensorflow as tf

from kzoo.data import effects
from kzoo.data.effects import move
from kzoo.data.genomes.strands import LetterAugmentation
from kzoo.data.sounds.sound_augmentation import SoundAugmentation
from kzoo.data.splits import fold

# RandAugment's operations (Cubuk et al. 2020, section 3). The first eight are done by the transform and the colours.
OPERATIONS = (
    "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "contrast", "colour",
    "identity", "autocontrast", "equalize", "solarize", "posterize", "sharpness",
)  # fmt: skip
FIRST_OF_PIXELS = OPERATIONS.index("identity")
LARGEST_MAGNITUDE = 30
LIMITS = {
    "shift": 0.5, "rotation": 180, "zoom": 0.9, "brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5,
    "magnitude": LARGEST_MAGNITUDE, "num_operations": 8, "erase": 1, "mixup": 100, "cutmix": 100,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How images are changed at random; amounts are the largest change in either direction, drawn uniformly.

    Args:
        shift: fraction of height and width; the default is 2 pixels of 28.
        rotation: degrees.
        zoom: fraction of the size.
        flip: whether to mirror half of the images left to right (not for digits or letters).
        whole_pixels: whether to shift by whole pixels, without blur (pad and crop, with the edges repeated).
        crop: the smallest and the largest share of the area that a random crop keeps, or None; the crop is then resized
            to the whole (Szegedy et al. 2015, section 6). A side that would be longer than the image's is cut to it.
        aspect: width by height of the narrowest and of the widest crop.
        brightness, contrast, saturation: the share by which each grows or shrinks.
        hue: fraction of a full turn of the colour circle.
        num_operations, magnitude: RandAugment: how many of its 14 operations an image gets, and their strength, 0..30.
        erase: the share of the images that lose a box of 2 to 33 % of their area.
        mixup, cutmix: alpha of the beta distribution from which an example's share is drawn, 0 for never; with both,
            each example gets one of them. Targets become float32 (batch, num_classes).

    Raises ValueError that names the field and its range.
    """

    shift: float = 2 / 28
    rotation: float = 10.0
    zoom: float = 0.1
    flip: bool = False
    whole_pixels: bool = False
    crop: tuple | None = None
    aspect: tuple = (3 / 4, 4 / 3)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    num_operations: int = 0
    magnitude: float = 9.0
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= limit:
                raise ValueError(f"augmentation {name} must be from 0 to {limit}, got {value!r}")
        if not isinstance(self.num_operations, int):
            raise ValueError(f"augmentation num_operations must be an int, got {self.num_operations!r}")
        for name, limit in (("crop", 1), ("aspect", 100)):
            value = getattr(self, name)
            if (value is not None or name == "aspect") and not _is_range(value, limit):
                raise ValueError(f"augmentation {name} must be two numbers, 0 < low <= high <= {limit}, got {value!r}")

    @property
    def mixes(self) -> bool:
        """Whether targets become shares of classes."""
        return self.mixup > 0 or self.cutmix > 0

    def draw(self, key, count, size, source=None) -> dict:
        """All random numbers for `count` images that become `size` (height, width): tensors (count, ...) by name.

        A pure function of its arguments. The numbers of a whole epoch are drawn at once because the last bit of a sine
        depends on how many are computed together.

        Args:
            source: (height, width) of the images as they come, if that is not `size`.
        """

        def uniform(purpose, width):
            return tf.random.stateless_uniform((count, width), fold(key, purpose), alg="philox")

        slots = [
            (tf.cast(numbers[:, 0] * len(OPERATIONS), tf.int32), tf.where(numbers[:, 1] < 0.5, -1.0, 1.0))
            for numbers in (uniform(10 + slot, 2) for slot in range(self.num_operations))
        ]
        crops = uniform(1, 4) if self.crop else None
        first = tf.random.stateless_uniform((count, 5), key, alg="philox")
        drawn = {"transforms": self.transforms(first, size, slots, crops, source)}
        if slots or self.brightness or self.contrast or self.saturation or self.hue:
            drawn["colours"] = self._colours(uniform(2, 4), slots)
        if slots:
            kinds = [tf.cast(tf.maximum(code - FIRST_OF_PIXELS, 0), tf.float32) for code, _ in slots]
            drawn["operations"] = tf.stack([tf.stack(kinds, 1), tf.stack([sign for _, sign in slots], 1)], axis=2)
        if self.erase:
            drawn["erase"] = self._erased(uniform(3, 5))
        if self.mixes:
            drawn["mix"] = self._shares(uniform(4, 3), key, count)
        return drawn

    def transforms(self, random, size, slots=(), crops=None, source=None) -> tf.Tensor:
        """Transforms (count, 8) from uniform numbers (count, 5): shift down, shift right, rotation, zoom, flip.

        `slots`: pairs of RandAugment operations and signs; `crops`: uniform (count, 4) for area, aspect, top, left.
        """
        height, width = size
        down, right, turn, zoom = tf.unstack(2 * random[:, :4] - 1, axis=1)
        angle = turn * self.rotation * math.pi / 180
        scale = 1 / (1 + zoom * self.zoom)
        mirror = tf.where(random[:, 4] < 0.5, -1.0, 1.0) if self.flip else tf.ones_like(scale)
        # Output pixel p is sampled at R (p - c) + c + shift, with c the centre of the image.
        xx, xy = scale * tf.cos(angle) * mirror, -scale * tf.sin(angle)
        yx, yy = scale * tf.sin(angle) * mirror, scale * tf.cos(angle)
        shift_x, shift_y = right * self.shift * width, down * self.shift * height
        if self.whole_pixels:
            shift_x, shift_y = _whole(random[:, 1], self.shift * width), _whole(random[:, 0], self.shift * height)
        for code, sign in slots:
            (axx, axy, ayx, ayy), (ax, ay) = self._geometry(code, sign, size)
            shift_x, shift_y = xx * ax + xy * ay + shift_x, yx * ax + yy * ay + shift_y
            xx, xy, yx, yy = xx * axx + xy * ayx, xx * axy + xy * ayy, yx * axx + yy * ayx, yx * axy + yy * ayy
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        offset_x = centre_x - xx * centre_x - xy * centre_y + shift_x
        offset_y = centre_y - yx * centre_x - yy * centre_y + shift_y
        if crops is not None or (source and tuple(source) != tuple(size)):
            left, top, wide, high = self._crop(crops) if crops is not None else (0.0, 0.0, 1.0, 1.0)
            full_height, full_width = source or size
            scale_x, scale_y = wide * full_width / width, high * full_height / height
            xx, xy, yx, yy = xx * scale_x, xy * scale_x, yx * scale_y, yy * scale_y
            offset_x = (offset_x + 0.5) * scale_x - 0.5 + left * full_width
            offset_y = (offset_y + 0.5) * scale_y - 0.5 + top * full_height
        zero = tf.zeros_like(xx)
        return tf.stack([xx, xy, offset_x, yx, yy, offset_y, zero, zero], axis=1)

    def apply(self, images, drawn, size) -> tf.Tensor:
        """Float images (batch, height, width, channels) in [0, 1], changed by their rows of `draw`, but not mixed."""
        images = move(images, drawn["transforms"], size)
        images = tf.ensure_shape(images, (None, *size, images.shape[-1]))
        if "colours" in drawn:
            images = effects.recolour(images, drawn["colours"])
        for slot in range(self.num_operations):
            kinds, signs = drawn["operations"][:, slot, 0], drawn["operations"][:, slot, 1]
            images = effects.operate(images, tf.cast(kinds, tf.int32), signs, self.magnitude / LARGEST_MAGNITUDE)
        return effects.erase(images, drawn["erase"]) if "erase" in drawn else images

    def _geometry(self, code, sign, size):
        """A RandAugment operation as (a 2x2 matrix around the centre, a shift); other operations change nothing."""
        strength = sign * self.magnitude / LARGEST_MAGNITUDE

        def amount(name, largest):
            return tf.where(code == OPERATIONS.index(name), strength * largest, 0.0)

        angle = amount("rotate", math.pi / 6)
        cos, sin = tf.cos(angle), tf.sin(angle)
        matrix = (cos, amount("shear_x", 0.3) - sin, amount("shear_y", 0.3) + sin, cos)
        return matrix, (amount("translate_x", 150 / 331 * size[1]), amount("translate_y", 150 / 331 * size[0]))

    def _crop(self, random):
        """(left, top, width, height) as fractions of the image."""
        wide, high = _sides(random[:, 0], random[:, 1], self.crop, self.aspect)
        return (1 - wide) * random[:, 3], (1 - high) * random[:, 2], wide, high

    def _colours(self, random, slots):
        """The rows that `effects.recolour` takes, from uniform numbers (count, 4)."""
        around = 2 * random - 1

        def factor(name, largest, index):
            found = 1 + largest * around[:, index]
            for code, sign in slots:
                change = 0.9 * sign * self.magnitude / LARGEST_MAGNITUDE
                found *= tf.where(code == OPERATIONS.index(name), 1 + change, 1.0)
            return found

        brightness, contrast = factor("brightness", self.brightness, 0), factor("contrast", self.contrast, 1)
        colour = factor("colour", self.saturation, 2)[:, None]
        angle = (around[:, 3] * self.hue * 2 * math.pi)[:, None]
        matrices = (effects.GREY, effects.CHROMA, effects.CHROMA_TURNED)
        grey, chroma, turned = (tf.constant(matrix.reshape(1, 9), tf.float32) for matrix in matrices)
        matrix = grey + colour * (tf.cos(angle) * chroma + tf.sin(angle) * turned)
        gain, offset = brightness * contrast, brightness * (1 - contrast)
        return tf.concat([matrix, gain[:, None], offset[:, None]], axis=1)

    def _erased(self, random):
        """Boxes (count, 4), empty for the images that stay whole (Zhong et al. 2020, algorithm 1)."""
        wide, high = _sides(random[:, 1], random[:, 2], (0.02, 1 / 3), (0.3, 1 / 0.3))
        top, left = (1 - high) * random[:, 3], (1 - wide) * random[:, 4]
        erased = tf.cast(random[:, 0] < self.erase, tf.float32)
        return tf.stack([top, left, top + high * erased, left + wide * erased], axis=1)

    def _shares(self, random, key, count):
        """The rows that `effects.mix` takes: the share of the example itself, and the box of its partner."""
        cuts = random[:, 0] < 0.5 if self.mixup and self.cutmix else self.cutmix > 0
        side = tf.sqrt(1 - _beta(self.cutmix or 1.0, fold(key, 5), count)) / 2
        box = [tf.clip_by_value(random[:, axis] + sign * side, 0, 1) for sign in (-1, 1) for axis in (1, 2)]
        own = _beta(self.mixup or 1.0, fold(key, 6), count)
        # Half of the pairs exchange their shares, so that every example remains the larger part of one image.
        own = tf.where(cuts, 1.0, tf.maximum(own, 1 - own))
        return tf.stack([own, *(tf.where(cuts, edge, 0.0) for edge in box)], axis=1)


def _is_range(value, limit):
    numbers = isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(x, int | float) for x in value)
    return numbers and 0 < value[0] <= value[1] <= limit


def _whole(uniform, limit):
    """A whole number up to `limit`, rounded, in either direction, all equally likely."""
    return tf.floor(uniform * (2 * round(limit) + 1)) - round(limit)


def _sides(area, aspect, areas, aspects):
    """Width and height, as fractions, of boxes of random area and aspect (uniform in its logarithm)."""
    low, high = math.log(aspects[0]), math.log(aspects[1])
    aspect = tf.exp(low + (high - low) * aspect)
    area = areas[0] + (areas[1] - areas[0]) * area
    return tf.minimum(tf.sqrt(area * aspect), 1.0), tf.minimum(tf.sqrt(area / aspect), 1.0)


def _beta(alpha, key, count):
    """Numbers (count,) of the distribution beta(alpha, alpha), from two of the gamma distribution."""
    pair = tf.random.stateless_gamma((2, count), key, alpha, dtype=tf.float64)
    total = pair[0] + pair[1]
    return tf.cast(tf.where(total > 0, pair[0] / tf.where(total > 0, total, 1.0), 0.5), tf.float32)


FLIPS = Augmentation(shift=0, rotation=0, zoom=0, flip=True)
PHOTOS = dataclasses.replace(FLIPS, crop=(0.08, 1.0), brightness=0.4, contrast=0.4, saturation=0.4, hue=0.05)
RECIPES = {
    "digits": Augmentation(),
    # He et al. 2016, section 4.2: 4 pixels of 32
    "small_images": dataclasses.replace(FLIPS, shift=4 / 32, whole_pixels=True),
    "small_images_light": dataclasses.replace(FLIPS, shift=1 / 32, whole_pixels=True),
    "photos": PHOTOS,
    "detection": dataclasses.replace(FLIPS, shift=0.1, zoom=0.25, brightness=0.2, contrast=0.2, saturation=0.2),
    "speech": SoundAugmentation(),
    "sounds": SoundAugmentation(shift=0.1),
    "strands": LetterAugmentation(),
    "junctions": LetterAugmentation(reverse=0.3, reversed_label="N"),
    "mutations": LetterAugmentation(reverse=0.0, mutate=0.1),
    # as far as voices differ in pitch, so that a new speaker is none of a new kind
    "photos_strong": dataclasses.replace(PHOTOS, num_operations=2, erase=0.25, mixup=0.2, cutmix=1.0),
}

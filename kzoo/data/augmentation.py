"""Random changes to training images, for a whole batch at once, as a pure function of a row of numbers an example."""

import dataclasses
import math

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How far images are moved at random; each is the largest change either way, drawn uniformly.

    Args:
        shift: fraction of height and width; the default is 2 pixels of 28.
        rotation: degrees.
        zoom: fraction of the size.
        flip: mirror half of the images left to right (not for digits or letters).
    """

    shift: float = 2 / 28
    rotation: float = 10.0
    zoom: float = 0.1
    flip: bool = False

    def __post_init__(self):
        for name, limit in (("shift", 0.5), ("rotation", 180), ("zoom", 0.9)):
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"augmentation {name} must be from 0 to {limit}, got {getattr(self, name)!r}")

    def draw(self, key, count, size):
        """One random transform for each of `count` images of `size` (height, width): float32 (count, 8).

        A pure function of its arguments. It is drawn for a whole epoch at once because the last bit of a sine depends
        on how many are computed together.
        """
        return self.transforms(tf.random.stateless_uniform((count, 5), key, alg="philox"), size)

    def transforms(self, random, size):
        """Transforms (count, 8) from uniform numbers (count, 5): shift down, shift right, rotation, zoom, flip."""
        height, width = size
        down, right, turn, zoom = tf.unstack(2 * random[:, :4] - 1, axis=1)
        angle = turn * self.rotation * math.pi / 180
        scale = 1 / (1 + zoom * self.zoom)
        mirror = tf.where(random[:, 4] < 0.5, -1.0, 1.0) if self.flip else tf.ones_like(scale)
        # Output pixel p is sampled at R (p - c) + c + shift, with c the centre of the image.
        xx, xy = scale * tf.cos(angle) * mirror, -scale * tf.sin(angle)
        yx, yy = scale * tf.sin(angle) * mirror, scale * tf.cos(angle)
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        offset_x = centre_x - xx * centre_x - xy * centre_y + right * self.shift * width
        offset_y = centre_y - yx * centre_x - yy * centre_y + down * self.shift * height
        zero = tf.zeros_like(xx)
        return tf.stack([xx, xy, offset_x, yx, yy, offset_y, zero, zero], axis=1)


def move(images, transforms):
    """Float images (batch, height, width, channels), each sampled by its transform: bilinear, edges repeated."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )

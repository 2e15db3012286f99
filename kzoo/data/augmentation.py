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

    num_random = 5

    def __post_init__(self):
        for name, limit in (("shift", 0.5), ("rotation", 180), ("zoom", 0.9)):
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"augmentation {name} must be from 0 to {limit}, got {getattr(self, name)!r}")

    def __call__(self, images, random):
        """Float images (batch, height, width, channels), moved by one affine sampling each (bilinear, edges repeated).

        `random` (batch, 5) holds uniform numbers in [0, 1): shift down, shift right, rotation, zoom, flip.
        """
        size = tf.shape(images)
        height, width = tf.cast(size[1], tf.float32), tf.cast(size[2], tf.float32)
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
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=tf.stack([xx, xy, offset_x, yx, yy, offset_y, zero, zero], axis=1),
            output_shape=size[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )

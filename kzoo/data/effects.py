"""What augmentation does to a batch of float32 images (batch, height, width, channels) in [0, 1].

Every function works on the whole batch at once, with one row of previously drawn numbers per example.
"""

import numpy as np
import tensorflow as tf

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
# The colour space YIQ: brightness, and two axes of colour, in whose plane hue is an angle.
_YIQ = np.stack([LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_RGB = np.linalg.inv(_YIQ)
GREY = _RGB @ np.diag([1, 0, 0]) @ _YIQ
CHROMA = _RGB @ np.diag([0, 1, 1]) @ _YIQ
CHROMA_TURNED = _RGB @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ _YIQ


def move(images, transforms, size=None) -> tf.Tensor:
    """Images of `size` (height, width), each sampled by its transform, bilinearly and with its edges repeated."""
    size = tf.shape(images)[1:3] if size is None else tf.constant(size, tf.int32)
    how = {"fill_value": 0.0, "interpolation": "BILINEAR", "fill_mode": "NEAREST"}
    return tf.raw_ops.ImageProjectiveTransformV3(images=images, transforms=transforms, output_shape=size, **how)


def recolour(images, colours) -> tf.Tensor:
    """Contrast, brightness, saturation and hue in one step; the result is clipped to [0, 1].

    Args:
        colours: (batch, 11): a 3x3 matrix that rotates and stretches colours but keeps greys, the gain of every pixel,
            and the gain of the image's mean brightness, which is added.
    """
    gain, offset = colours[:, 9, None, None, None], colours[:, 10, None, None, None]
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    if images.shape[-1] == 3:
        mean = tf.reduce_sum(mean * tf.constant(LUMA, tf.float32), axis=-1, keepdims=True)
        # Not a matrix product: oneDNN rounds its last rows differently, so a pixel would depend on the batch size.
        matrix = tf.reshape(colours[:, :9], (-1, 3, 3)) * gain[..., 0]
        planes = tf.unstack(images, axis=-1)
        rows = ([plane * matrix[:, row, None, None, column] for column, plane in enumerate(planes)] for row in range(3))
        images = tf.stack([tf.add_n(row) for row in rows], axis=-1)
    else:
        images = images * gain
    return tf.clip_by_value(images + offset * mean, 0.0, 1.0)


def autocontrast(images) -> tf.Tensor:
    """Every channel stretched to the range 0 to 1; a constant channel stays as it is."""
    low = tf.reduce_min(images, axis=(1, 2), keepdims=True)
    span = tf.reduce_max(images, axis=(1, 2), keepdims=True) - low
    return tf.where(span > 0, tf.math.divide_no_nan(images - low, span), images)


def equalize(images) -> tf.Tensor:
    """Every channel with its histogram of 256 values equalized as Pillow does it, in steps of 1/255."""
    levels = tf.cast(tf.round(images * 255), tf.int32)
    shape = tf.shape(levels)
    num_histograms = shape[0] * shape[3]
    which = tf.reshape(tf.range(num_histograms), (shape[0], 1, 1, shape[3])) * 256
    flat = tf.reshape(levels + which, [-1])
    histograms = tf.math.unsorted_segment_sum(tf.ones_like(flat), flat, num_histograms * 256)
    histograms = tf.reshape(histograms, (-1, 256))
    last = tf.reduce_max(tf.where(histograms > 0, tf.range(256), 0), axis=1)
    step = (tf.reduce_sum(histograms, axis=1) - tf.gather(histograms, last, batch_dims=1)) // 255
    before = tf.cumsum(histograms, axis=1, exclusive=True)
    tables = tf.clip_by_value((before + step[:, None] // 2) // tf.maximum(step, 1)[:, None], 0, 255)
    tables = tf.where(step[:, None] > 0, tables, tf.range(256))
    return tf.cast(tf.reshape(tf.gather(tf.reshape(tables, [-1]), flat), shape), tf.float32) / 255


def solarize(images, threshold) -> tf.Tensor:
    """Values from `threshold` on inverted."""
    return tf.where(images >= threshold, 1 - images, images)


def posterize(images, bits) -> tf.Tensor:
    """Only the highest `bits` of 8 kept."""
    step = float(2 ** (8 - bits))
    return tf.floor(tf.round(images * 255) / step) * step / 255


def sharpen(images, factors) -> tf.Tensor:
    """A blend of the image and its smoothed copy, as in Pillow: factor 0 is smooth, 1 unchanged, above 1 sharper."""
    if images.shape[1] < 3 or images.shape[2] < 3:
        return images
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    box = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = images[:, 1:-1, 1:-1]
    change = (1 - factors[:, None, None, None]) * ((box + 4 * inner) / 13 - inner)
    return tf.clip_by_value(images + tf.pad(change, [[0, 0], [1, 1], [1, 1], [0, 0]]), 0.0, 1.0)


def operate(images, kinds, signs, magnitude) -> tf.Tensor:
    """One operation per image: 0 none, 1 autocontrast, 2 equalize, 3 solarize, 4 posterize, 5 sharpness.

    Args:
        kinds: int32 (batch,). Each operation runs only on the images that drew it.
        signs: float32 (batch,), -1 or 1: smooth or sharpen.
        magnitude: from 0 to 1.
    """
    parts = tf.dynamic_partition(images, kinds, 6)
    factors = 1 + 0.9 * magnitude * tf.dynamic_partition(signs, kinds, 6)[5]
    positions = tf.dynamic_partition(tf.range(tf.shape(images)[0]), kinds, 6)
    solarized, posterized = solarize(parts[3], 1 - magnitude), posterize(parts[4], 8 - round(4 * magnitude))
    done = [parts[0], autocontrast(parts[1]), equalize(parts[2]), solarized, posterized, sharpen(parts[5], factors)]
    return tf.ensure_shape(tf.dynamic_stitch(positions, done), images.shape)


def inside(boxes, height, width) -> tf.Tensor:
    """Which pixels have their centre in the box (top, left, bottom, right) of their example: bool (batch, h, w, 1)."""
    top, left, bottom, right = (boxes[:, index, None] for index in range(4))
    rows, columns = ((tf.range(side, dtype=tf.float32) + 0.5) / tf.cast(side, tf.float32) for side in (height, width))
    vertical, horizontal = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return (vertical[:, :, None] & horizontal[:, None, :])[..., None]


def erase(images, boxes) -> tf.Tensor:
    """Boxes (batch, 4) in fractions of the size, filled with the image's mean colour (Zhong et al. 2020, section 3)."""
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return tf.where(inside(boxes, tf.shape(images)[1], tf.shape(images)[2]), mean, images)


def mix(images, targets, shares) -> tuple:
    """Every example mixed with the one before it in its batch: `(images, targets)`.

    The order of a batch is random already, so the neighbour is a random partner. Targets are mixed like the pixels.

    Args:
        targets: float32 (batch, num_classes).
        shares: (batch, 5): the share of the example itself in all pixels (mixup; Zhang et al. 2018, section 2), and
            the box in which only the partner is seen (cutmix; Yun et al. 2019, equation 1), empty for none.
    """
    partners = tf.roll(images, 1, axis=0)
    own = shares[:, :1, None, None]
    images = own * images + (1 - own) * partners
    boxes = inside(shares[:, 1:], tf.shape(images)[1], tf.shape(images)[2])
    images = tf.where(boxes, partners, images)
    own = shares[:, :1] * (1 - tf.reduce_mean(tf.cast(boxes, tf.float32), axis=(1, 2)))
    return images, own * targets + (1 - own) * tf.roll(targets, 1, axis=0)

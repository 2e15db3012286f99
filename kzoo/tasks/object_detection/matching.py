"""Boxes against anchors: overlaps, which anchor answers for which object, offsets and back, detections.

TensorFlow operations: they run within data pipelines and exports, whatever backend the model runs on.
"""

import math

import tensorflow as tf

FOREGROUND, BACKGROUND = 0.5, 0.4  # section 4 of the paper: an anchor of an object overlaps it so much, of none less
NOTHING, BETWEEN = -1, -2
LARGEST_GROWTH = math.log(1000 / 16)  # so that an exponential stays finite, as torchvision has it
SCORE_THRESHOLD, OVERLAP_THRESHOLD = 0.05, 0.5  # section 4, and torchvision's defaults; below too
MAX_DETECTIONS = 300
CANDIDATES = 1000  # scores a level from which the detections are chosen


def overlaps(first, second) -> tf.Tensor:
    """Intersection over union of all pairs of boxes: (n, 4) and (m, 4) to (n, m); 0 where both have no area."""
    low = tf.maximum(first[:, None, :2], second[None, :, :2])
    high = tf.minimum(first[:, None, 2:], second[None, :, 2:])
    common = tf.reduce_prod(tf.maximum(high - low, 0), axis=-1)
    areas = [tf.reduce_prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (first, second)]
    return tf.math.divide_no_nan(common, areas[0][:, None] + areas[1][None] - common)


def match(boxes, anchors) -> tf.Tensor:
    """Which box each anchor answers for: int32 (num_anchors,), its index, `NOTHING` or `BETWEEN`.

    An anchor takes the box it overlaps most if that is at least 0.5, nothing below 0.4, and does not count in between.
    For every box, though, the anchors that overlap it most keep the box that they overlap most. Boxes (n, 4), n >= 0.
    """
    shared = overlaps(boxes, anchors)
    # A row that overlaps nothing, so that no box at all is no special case.
    shared = tf.concat([shared, tf.zeros_like(anchors[None, :, 0])], axis=0)
    best, index = tf.reduce_max(shared, axis=0), tf.argmax(shared, axis=0, output_type=tf.int32)
    most = tf.reduce_max(shared, axis=1, keepdims=True)
    is_best = tf.reduce_any((shared == most) & (most > 0), axis=0)
    matched = tf.where(best >= FOREGROUND, index, tf.where(best < BACKGROUND, NOTHING, BETWEEN))
    return tf.where(is_best, index, matched)


def targets(boxes, labels, anchors) -> tuple:
    """What every anchor is to say: labels int32 (num_anchors,), and offsets with 1 for an object, (num_anchors, 5).

    Labels are the class, `NOTHING` (-1) or `BETWEEN` (-2); where the last column is 0, so are the offsets.
    """
    matched = match(boxes, anchors)
    found = matched >= 0
    boxes = tf.concat([boxes, anchors[:1]], axis=0)  # something to gather where there is none
    labels = tf.concat([labels, [NOTHING]], axis=0)
    index = tf.maximum(matched, 0)
    offsets = tf.where(found[:, None], encode(tf.gather(boxes, index), anchors), 0.0)
    classes = tf.where(found, tf.gather(labels, index), matched)
    return classes, tf.concat([offsets, tf.cast(found, tf.float32)[:, None]], axis=1)


def encode(boxes, anchors) -> tf.Tensor:
    """Boxes as offsets of anchors, both (n, 4): centre by the anchor's size, and logarithms of the sizes' ratios."""
    (centre, size), (from_centre, from_size) = _middle(boxes), _middle(anchors)
    return tf.concat([(centre - from_centre) / from_size, tf.math.log(size / from_size)], axis=-1)


def decode(offsets, anchors) -> tf.Tensor:
    """The inverse of `encode`."""
    from_centre, from_size = _middle(anchors)
    centre = offsets[..., :2] * from_size + from_centre
    size = tf.exp(tf.minimum(offsets[..., 2:], LARGEST_GROWTH)) * from_size
    return tf.concat([centre - size / 2, centre + size / 2], axis=-1)


def _middle(boxes):
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + size / 2, size


def detect(outputs, anchors, score_threshold=SCORE_THRESHOLD, max_detections=MAX_DETECTIONS) -> dict:
    """The objects that a detector reports for a batch of images.

    Of every level the 1,000 best scores count; of boxes of one class that overlap by more than 0.5 the best stays.

    Args:
        outputs: dict of `class_logits` (batch, num_anchors, num_classes) and `box_regression` (batch, num_anchors, 4).
        anchors: the `Anchors` for the images' size.

    Returns a dict, rows from the best score on: `boxes` float32 (batch, max_detections, 4), `scores` float32 and
    `labels` int32 (batch, max_detections), zeros and -1 after the last, and how many there are, `count` int32 (batch,).
    """

    def of_one(pair):
        return _detect_one(*pair, anchors, score_threshold, max_detections)

    signature = {
        "boxes": tf.TensorSpec((max_detections, 4), tf.float32),
        "scores": tf.TensorSpec((max_detections,), tf.float32),
        "labels": tf.TensorSpec((max_detections,), tf.int32),
        "count": tf.TensorSpec((), tf.int32),
    }
    pair = tuple(tf.convert_to_tensor(outputs[key], tf.float32) for key in ("class_logits", "box_regression"))
    return tf.map_fn(of_one, pair, fn_output_signature=signature)


def _detect_one(logits, offsets, anchors, score_threshold, max_detections):
    num_classes, start, found = logits.shape[-1], 0, []
    limit = tf.constant([anchors.size[1], anchors.size[0]] * 2, tf.float32)
    for count in anchors.per_level:
        scores = tf.reshape(tf.sigmoid(logits[start : start + count]), [-1])
        scores, index = tf.math.top_k(scores, min(CANDIDATES, count * num_classes))
        place = start + index // num_classes
        boxes = decode(tf.gather(offsets, place), tf.gather(tf.constant(anchors.boxes), place))
        found.append((tf.clip_by_value(boxes, 0.0, limit), scores, index % num_classes))
        start += count
    boxes, scores, labels = (tf.concat(parts, axis=0) for parts in zip(*found, strict=True))
    good = scores > score_threshold
    boxes, scores, labels = (tf.boolean_mask(part, good) for part in (boxes, scores, labels))
    # Each class gets a place of its own, so that boxes of different classes do not overlap.
    apart = boxes + tf.cast(labels, tf.float32)[:, None] * (tf.reduce_max(limit) + 1)
    keep = tf.image.non_max_suppression(apart, scores, max_detections, OVERLAP_THRESHOLD)
    missing = max_detections - tf.shape(keep)[0]
    parts = {
        "boxes": tf.pad(tf.gather(boxes, keep), [[0, missing], [0, 0]]),
        "scores": tf.pad(tf.gather(scores, keep), [[0, missing]]),
        "labels": tf.pad(tf.gather(labels, keep), [[0, missing]], constant_values=-1),
    }
    shapes = {"boxes": (max_detections, 4)}
    parts = {key: tf.ensure_shape(part, shapes.get(key, (max_detections,))) for key, part in parts.items()}
    return {**parts, "count": tf.shape(keep)[0]}

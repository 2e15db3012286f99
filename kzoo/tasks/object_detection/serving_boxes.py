"""Boxes for a server: `serve_images` of a detector."""

import tensorflow as tf

from kzoo.tasks.endpoints import of_images
from kzoo.tasks.object_detection.anchors import anchors_of
from kzoo.tasks.object_detection.matching import MAX_DETECTIONS, detect


def endpoints(model) -> dict:
    """Boxes in pixels of the images as they come, scores and labels, the best first, and how many there are."""
    anchors = anchors_of(model)

    def finish(outputs, height, width):
        found = detect(outputs, anchors)
        scale = tf.stack([tf.cast(width, tf.float32) / anchors.size[1], tf.cast(height, tf.float32) / anchors.size[0]])
        return {**found, "boxes": found["boxes"] * tf.tile(scale, [2])}

    words = {"boxes": f"float32 (None, {MAX_DETECTIONS}, 4)", "scores": f"float32 (None, {MAX_DETECTIONS})"}
    words |= {"labels": f"int32 (None, {MAX_DETECTIONS})", "count": "int32 (None,)"}
    return of_images(model, finish, words, "scores")  # boxes of like scores may change places

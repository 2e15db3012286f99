"""Weights and images that NumPy draws alike on both sides of a comparison, so that golden files need not store them."""

import hashlib
import json

import numpy as np


def draw_weights(shapes, seed=0):
    """Arrays {name: array} for shapes {name: shape} of the reference's tensors, batch-norm statistics among them."""
    random = np.random.default_rng(seed)
    arrays = {}
    for name in sorted(shapes):
        shape, leaf = tuple(shapes[name]), name.rpartition(".")[2]
        if len(shape) > 1:  # kernels keep the size of what passes through a ReLU
            arrays[name] = random.standard_normal(shape, "float32") * np.float32((2 / np.prod(shape[1:])) ** 0.5)
        elif leaf in ("running_var", "weight"):
            arrays[name] = random.random(shape, "float32") + np.float32(0.5)
        else:
            arrays[name] = random.standard_normal(shape, "float32") * np.float32(0.1)
    return arrays


def draw_images(height, width, channels=3, seed=1):
    """Two images (2, height, width, channels): coloured patches, for pooling not to average away, under fine noise."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((2, height, width, channels), "float32")
    patches = random.standard_normal((2, height // 16 + 1, width // 16 + 1, channels), "float32")
    patches *= np.array([0.5, 3], "float32")[:, None, None, None]
    return noise + patches.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]


def draw_clips(lengths, seed=3):
    """A padded batch of sounds whose pitch rises, and their lengths: (clips, longest) float32 and (clips,) int32."""
    random = np.random.default_rng(seed)
    batch = np.zeros((len(lengths), max(lengths)), "float32")
    for row, length in zip(batch, lengths, strict=True):
        tone = np.sin(np.arange(length) ** 1.5 / random.uniform(20, 60))
        row[:length] = 0.3 * tone + 0.05 * random.standard_normal(length)
    return batch, np.array(lengths, "int32")


def draw_detector_outputs(num_anchors, num_classes, seed=7):
    """Class logits and box regression of two images, as a detector halfway through its training may give them."""
    random = np.random.default_rng(seed)
    logits = 2 * random.standard_normal((2, num_anchors, num_classes), "float32") - 1
    return {"class_logits": logits, "box_regression": 0.4 * random.standard_normal((2, num_anchors, 4), "float32")}


def digest(shapes):
    """One short text for all names and shapes of a checkpoint."""
    listed = json.dumps(sorted((name, list(shape)) for name, shape in shapes.items()))
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def reference_shapes(model):
    """Names and shapes of a kzoo model's tensors as in the reference's checkpoints."""
    from kzoo.weights.layouts import find_slots

    return {
        name: tuple(shape) for slot in find_slots(model) for name, shape in zip(slot.names, slot.shapes, strict=True)
    }


def load_drawn_weights(model, folder):
    """Puts drawn weights into a kzoo model by way of a checkpoint in the reference's names and layout."""
    import safetensors.numpy

    import kzoo

    safetensors.numpy.save_file(draw_weights(reference_shapes(model)), folder / "drawn.safetensors")
    kzoo.load_weights(model, folder / "drawn.safetensors")
    return model


def draw_video(frames, height, width, channels=3, seed=5):
    """Two clips (2, frames, height, width, channels) of patches that fade, under fine noise."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((2, frames, height, width, channels), "float32")
    patches = random.standard_normal((2, frames, height // 8 + 1, width // 8 + 1, channels), "float32") * np.float32(2)
    return noise + patches.repeat(8, axis=2).repeat(8, axis=3)[:, :, :height, :width]

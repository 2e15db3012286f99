"""Random batches shaped by a model's inputs and outputs, for benchmarks and tests. NumPy only."""

import numpy as np

from kzoo.data import checks


def synthetic_batch(model, batch_size, seed=0, sequence_length=32):
    """One batch `(x, y, weight or None)` of NumPy arrays, a pure function of its arguments.

    Float inputs are uniform in [0, 1), token ids uniform over the vocabulary without the padding id 0, segments 0 or 1,
    masks ones; axes of unknown size get `sequence_length`. Labels: (batch, 1) float32 zeros and ones for binary
    classification, (batch,) int32 for classes, (batch, length) int32 with weights of one where every token has a label;
    several outputs of one head have labels by name. For a detector one anchor in 30 stands for an object, and as many
    do not count.

    Raises ValueError for a `batch_size` or `sequence_length` below 1.
    """
    batch_size = checks.check_count("batch_size", batch_size)
    sequence_length = checks.check_count("sequence_length", sequence_length)
    random = np.random.default_rng(seed)
    x = {}
    for name, (shape, dtype) in checks.inputs(model).items():
        shape = (batch_size, *(sequence_length if size is None else size for size in shape))
        if "mask" in name:
            x[name] = np.ones(shape, np.int32)
        elif "int" in dtype:
            first = 0 if "segment" in name else 1
            x[name] = random.integers(first, checks.id_limit(model, name) or 2, shape, dtype=np.int32)
        else:
            x[name] = random.random(shape, dtype=np.float32)
    if len(x) == 1:
        (x,) = x.values()
    if checks.task(model) == "binary_classification":
        return x, random.integers(0, 2, (batch_size, 1)).astype(np.float32), None

    def labels(output):
        shape = (batch_size, *(sequence_length if size is None else size for size in output.shape[1:-1]))
        first = 1 if output.shape[-1] == checks.vocabulary_size(model) else 0
        return random.integers(first, max(2, output.shape[-1]), shape, dtype=np.int32)

    if checks.task(model) == "object_detection":
        return x, _anchor_targets(model, x.shape, random), None
    if isinstance(model.output, list | tuple):  # auxiliary heads learn the same
        return x, (labels(model.outputs[0]),) * len(model.output), None
    if isinstance(model.output, dict):
        y = {name: labels(output) for name, output in model.output.items()}
        return x, y, {name: np.ones(array.shape, np.float32) for name, array in y.items()}
    y = labels(model.output)
    return x, y, np.ones(y.shape, np.float32) if y.ndim > 1 else None


def _anchor_targets(model, shape, random):
    from kzoo.tasks.detection.anchors import anchors_of  # needs Keras

    num_anchors = len(anchors_of(model, *shape[1:3]).boxes)
    lot = random.integers(-1, 29, (shape[0], num_anchors))
    classes = random.integers(0, model.output["class_logits"].shape[-1], lot.shape)
    is_object = lot == 0
    offsets = 0.3 * random.standard_normal((*lot.shape, 4)) * is_object[..., None]
    return {
        "class_logits": np.where(is_object, classes, np.where(lot < 0, -2, -1)).astype(np.int32),
        "box_regression": np.concatenate([offsets, is_object[..., None]], axis=-1).astype(np.float32),
    }

"""Random batches shaped by a model's inputs and outputs, for benchmarks and tests. NumPy only."""

import numpy as np

from kzoo.data import checks


def synthetic_batch(model, batch_size, seed=0, sequence_length=32):
    """One batch `(x, y, weight or None)` of NumPy arrays, a pure function of its arguments.

    Float inputs are uniform in [0, 1), token ids uniform over the vocabulary without the padding id 0, masks ones; axes
    of unknown size get `sequence_length`. Labels: (batch, 1) float32 zeros and ones for binary classification, (batch,)
    int32 for classes, (batch, length) int32 with weights of one for translation.

    Raises ValueError for a `batch_size` or `sequence_length` below 1.
    """
    batch_size = checks.check_count("batch_size", batch_size)
    sequence_length = checks.check_count("sequence_length", sequence_length)
    random = np.random.default_rng(seed)
    vocabulary = checks.vocabulary_size(model)
    x = {}
    for name, (shape, dtype) in checks.inputs(model).items():
        shape = (batch_size, *(sequence_length if size is None else size for size in shape))
        if "mask" in name:
            x[name] = np.ones(shape, np.int32)
        elif "int" in dtype:
            x[name] = random.integers(1, vocabulary or 2, shape, dtype=np.int32)
        else:
            x[name] = random.random(shape, dtype=np.float32)
    if len(x) == 1:
        (x,) = x.values()
    task = checks.task(model)
    if task == "translation":
        shape = x["decoder_token_ids"].shape
        return x, random.integers(1, vocabulary, shape, dtype=np.int32), np.ones(shape, np.float32)
    if task == "binary_classification":
        return x, random.integers(0, 2, (batch_size, 1)).astype(np.float32), None
    labels = random.integers(0, checks.num_classes(model), batch_size, dtype=np.int32)
    return x, (labels,) * len(model.output) if isinstance(model.output, list | tuple) else labels, None

"""What pairs of pictures and texts are learned by, and how well they are found again."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.data import checks, columns

RANKS = (1, 5, 10)


class PairIds(columns.Label):
    """Which pairs are the same: a number per example, int32 (examples,), equal for equal captions."""

    mixes = False

    def __init__(self):
        super().__init__(2**31 - 1)

    def encode(self, label, y, class_names) -> tuple:
        """Captions become numbers, equal for equal ones; they are no names of classes."""
        if not checks.are_words(y):
            return y, None
        return np.unique(np.asarray(y).astype(str), return_inverse=True)[1].astype(np.int32), None

    def draw(self, random, batch_size, length) -> tuple:
        return np.arange(batch_size, dtype=np.int32), None


@keras.saving.register_keras_serializable("kzoo")
class ContrastiveLoss(keras.losses.Loss):
    """The cross-entropy of finding a picture's text among those of its batch, and a text's picture, halved.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020, figure 3. Targets are ids of pairs (batch,), outputs (batch,
    2, dim) whose products are logits. Pairs of one id are equally right, so that no caption is told apart from itself.
    Gives a value for each example (batch,).
    """

    def __init__(self, name="contrastive_loss", reduction="mean_with_sample_weight", dtype="float32"):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred) -> Any:
        ids = ops.reshape(y_true, (-1,))
        logits = ops.matmul(y_pred[:, 0], ops.transpose(y_pred[:, 1]))
        same = ops.cast(ops.equal(ids[:, None], ids[None, :]), logits.dtype)
        shares = same / ops.sum(same, axis=1, keepdims=True)  # symmetric in what is the same
        image_to_text = -ops.sum(shares * ops.log_softmax(logits, axis=1), axis=1)
        text_to_image = -ops.sum(shares * ops.log_softmax(ops.transpose(logits), axis=1), axis=1)
        return (image_to_text + text_to_image) / 2

    def get_config(self) -> dict:
        return {"name": self.name, "reduction": self.reduction, "dtype": self.dtype}


def recalls(pairs, ids) -> dict:
    """How often the right one of a split is among the first 1, 5 and 10, and how often it is by chance.

    Args:
        pairs: float (examples, 2, dim), as the model gives them.
        ids: int (examples,), equal for equal texts.

    `text_recall_at_1` is of the texts that are found for a picture, among all different ones; `image_recall_at_1` of
    the pictures that are found for a text, of which any of its own counts. What is equally near counts as nearer.
    """
    _, first, place = np.unique(ids, return_index=True, return_inverse=True)
    images, texts = pairs[:, 0], pairs[first, 1]
    near = images.astype(np.float64) @ texts.T.astype(np.float64)  # (pictures, different texts)
    own = near[np.arange(len(near)), place]
    text_ranks = (near >= own[:, None]).sum(axis=1)
    mine = place[:, None] == np.arange(len(texts))
    best = np.where(mine, near, -np.inf).max(axis=0)
    image_ranks = ((near >= best) & ~mine).sum(axis=0) + 1
    counts, found = mine.sum(axis=0), {}
    for prefix, ranks, chance in (
        ("text", text_ranks, lambda rank: min(rank / len(texts), 1.0)),
        ("image", image_ranks, lambda rank: float(np.mean([_drawn(len(images), own, rank) for own in counts]))),
    ):
        found |= {f"{prefix}_recall_at_{rank}": float((ranks <= rank).mean()) for rank in RANKS}
        found |= {f"chance_{prefix}_recall_at_{rank}": round(chance(rank), 4) for rank in RANKS}
    return found


def _drawn(total, own, rank):
    """The probability that some of `own` among `total` are drawn in `rank` draws."""
    missed = 1.0
    for draw in range(min(rank, total)):
        missed *= max(total - own - draw, 0) / (total - draw)
    return 1 - missed

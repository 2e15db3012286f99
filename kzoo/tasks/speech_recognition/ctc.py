"""Connectionist temporal classification: the loss, and which transcripts a clip has too few frames for.

Graves et al. 2006, "Connectionist temporal classification: labelling unsegmented sequence data with recurrent neural
networks". Id 0 is the blank and pads targets; frames beyond a clip's end are certain blanks.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

IMPOSSIBLE = -1e9  # the logarithm of no probability, with a gradient of zero
CERTAIN = -1e8  # a logit below this says that a label cannot be: frames beyond a clip's end hold -1e9


@keras.saving.register_keras_serializable("kzoo")
class CTCLoss(keras.losses.Loss):
    """The negative logarithm of a transcript's probability, summed over all its alignments, in float32.

    Targets (batch, labels) int with 0 after the end, or empty; logits (batch, frames, num_labels). Averaged over the
    clips, as in Hannun et al. 2014 and Amodei et al. 2015, and not first divided by each transcript's length, as
    `torch.nn.CTCLoss` does by default. A transcript that needs more frames than its clip has costs infinity, with a
    gradient of zero: `check_alignments` finds it before the first step.
    """

    def __init__(self, name="ctc_loss"):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype="float32")

    def call(self, y_true, y_pred) -> Any:
        labels = ops.cast(y_true, "int32")
        loss = -log_likelihood(y_pred, labels)
        return ops.where(real_frames(y_pred) < min_frames(labels), float("inf"), loss)

    def get_config(self) -> dict:
        return {"name": self.name}


def log_likelihood(logits, labels) -> Any:
    """The logarithm of the probability of transcripts, summed over their alignments, float32 (batch,).

    The forward recursion of section 4.1, whose cost grows with the length of a transcript and not with its square, as
    that of `keras.ops.ctc_loss` does on TensorFlow; the gradient is that of section 4.2, by the backward recursion.

    Args:
        logits: (batch, frames, num_labels); all frames count, and certain blanks after a clip's end change nothing.
        labels: int32 (batch, labels), 0 after the end.
    """
    batch, length = ops.shape(labels)
    # A blank before, between and after the labels
    states = ops.reshape(ops.stack([ops.zeros_like(labels), labels], axis=-1), (batch, 2 * length))
    states = ops.pad(states, [[0, 0], [0, 1]])
    before = ops.pad(states, [[0, 0], [2, 0]])[:, :-2]
    skips = ops.logical_and(ops.not_equal(states, 0), ops.not_equal(states, before))
    places = ops.arange(2 * length + 1, dtype="int32")[None]
    end = 2 * ops.sum(ops.cast(ops.not_equal(labels, 0), "int32"), axis=-1, keepdims=True)
    first = _logarithms(ops.logical_and(places == 0, end >= 0))
    last = _logarithms(ops.logical_or(places == end, places == end - 1))
    scores = ops.take_along_axis(ops.log_softmax(ops.cast(logits, "float32")), states[:, None], axis=2)

    @ops.custom_gradient
    def total(scores):
        frames = ops.transpose(scores, (1, 0, 2))
        forward = _forward(frames, first, skips)
        found = ops.logsumexp(forward[-1] + last, axis=-1)

        def gradient(*arguments, upstream=None):
            (upstream,) = arguments if upstream is None else (upstream,)
            backward = _backward(frames, last, skips)
            through = forward + backward
            share = ops.exp(
                through - ops.logsumexp(through, axis=-1, keepdims=True)
            )  # of all states, one has the frame
            return ops.transpose(share, (1, 0, 2)) * upstream[:, None, None]

        return found, gradient

    return total(scores)


def _logarithms(chosen):
    return ops.where(chosen, 0.0, IMPOSSIBLE)


def _forward(frames, first, skips):
    """The logarithm of how likely the frames so far end in each state, (frames, batch, states)."""

    def advance(before, frame):
        padded = ops.pad(before, [[0, 0], [2, 0]], constant_values=IMPOSSIBLE)
        skipped = ops.where(skips, padded[:, :-2], IMPOSSIBLE)
        here = ops.logaddexp(ops.logaddexp(before, padded[:, 1:-1]), skipped) + frame
        here = ops.maximum(here, IMPOSSIBLE)
        return here, here

    return ops.scan(advance, first, frames)[1]


def _backward(frames, last, skips):
    """The logarithm of how likely the frames after this one are from each state, (frames, batch, states)."""

    def retreat(after, frame):
        reached = ops.maximum(after + frame, IMPOSSIBLE)
        padded = ops.pad(reached, [[0, 0], [0, 2]], constant_values=IMPOSSIBLE)
        skipped = ops.where(ops.pad(skips, [[0, 0], [0, 2]])[:, 2:], padded[:, 2:], IMPOSSIBLE)
        return ops.logaddexp(ops.logaddexp(reached, padded[:, 1:-1]), skipped), after

    return ops.scan(retreat, last, frames, reverse=True)[1]


def real_frames(logits) -> Any:
    """How many frames of each clip, int32 (batch,), are not the certain blanks that follow its end.

    Takes logits (batch, frames, num_labels).
    """
    can_speak = ops.any(logits[..., 1:] > CERTAIN, axis=-1)
    return ops.sum(ops.cast(can_speak, "int32"), axis=-1)


def min_frames(labels) -> Any:
    """The fewest frames that transcripts (batch, labels) padded with 0 fit into, int32 (batch,).

    One a label, and one for the blank between two equal ones.
    """
    labels = ops.convert_to_tensor(labels)
    is_label = ops.not_equal(labels, 0)
    repeats = ops.logical_and(ops.equal(labels[:, 1:], labels[:, :-1]), is_label[:, 1:])
    return ops.sum(ops.cast(is_label, "int32"), axis=-1) + ops.sum(ops.cast(repeats, "int32"), axis=-1)


def check_alignments(rows, num_frames, clips, skip_bad=False) -> tuple:
    """Which clips have frames enough for their transcripts, bool (clips,), and a note about those left out.

    Args:
        rows: a list of ids for each transcript.
        num_frames: how many frames the model gives for each clip, ints (clips,).
        clips: what each is called, in the same order.
        skip_bad: whether clips that are too short are left out and counted instead of refused.

    Raises ValueError that names the first clip, its frames and its labels.
    """
    needed = np.array([len(row) + sum(a == b for a, b in zip(row, row[1:], strict=False)) for row in rows], np.int64)
    num_frames = np.asarray(num_frames, np.int64)
    keep = num_frames >= needed
    if keep.all():
        return keep, []
    first, count = int(np.argmin(keep)), int((~keep).sum())
    told = (
        f"{clips[first]} has {num_frames[first]} frames for {len(rows[first])} labels, which need "
        f"{needed[first]} (one a label, and a blank between equal ones)"
    )
    if not skip_bad:
        raise ValueError(
            f"{told}; {count:,} of {len(keep):,} clips are too short for their transcripts: correct these, or leave "
            "them out with skip_bad (--skip-bad)"
        )
    return keep, [f"{count:,} of {len(keep):,} clips were left out as too short for their transcripts (first: {told})"]

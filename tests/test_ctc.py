"""CTC: the loss and both decoders against sums over every alignment, and transcripts that no alignment gives."""

import functools
import itertools

import keras
import numpy as np
import pytest
from backends import compiled, gradients

from kzoo.tasks.losses import MeanLoss
from kzoo.tasks.speech_recognition import ctc, greedy

# (frames of the clip, labels): repeats, an empty transcript, one that fits exactly and two that cannot be
CASES = ((5, [1, 2]), (4, [1, 1]), (3, []), (3, [2, 2]), (2, [1, 2, 1]), (2, [1, 1]))


def collapsed(path):
    return tuple(label for label, _ in itertools.groupby(path) if label)


def every_transcript(logits):
    """{labels: probability} by a sum over all paths of logits (frames, num_labels)."""
    shares = np.exp(logits - logits.max(-1, keepdims=True).astype("float64"))
    shares /= shares.sum(-1, keepdims=True)
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        labels = collapsed(path)
        found[labels] = found.get(labels, 0) + np.prod(shares[range(len(path)), path])
    return found


def batch(num_labels=3):
    """Logits with certain blanks after the end, and targets with zeros."""
    logits = np.random.default_rng(0).normal(0, 2, (len(CASES), 5, num_labels)).astype("float32")
    targets = np.zeros((len(CASES), 3), "int32")
    for row, (frames, labels) in enumerate(CASES):
        logits[row, frames:] = [0, *[-1e9] * (num_labels - 1)]
        targets[row, : len(labels)] = labels
    return logits, targets


@functools.cache
def losses():
    """What the cases cost, in one compiled program."""
    logits, targets = batch()
    return keras.ops.convert_to_numpy(compiled(lambda x: ctc.CTCLoss().call(targets, x))(logits))


def slopes(logits, targets):
    """The gradient of the sum of the clips' losses."""
    slope = compiled(lambda x: gradients(lambda y: keras.ops.sum(ctc.CTCLoss().call(targets, y)), x))
    return keras.ops.convert_to_numpy(slope(logits)[0])


def test_the_loss_is_the_sum_over_all_alignments():
    logits, targets = batch()
    found = losses()
    for row, (frames, labels) in enumerate(CASES):
        share = every_transcript(logits[row, :frames]).get(tuple(labels), 0)
        np.testing.assert_allclose(found[row], -np.log(share) if share else np.inf, rtol=1e-5)
    mean = ctc.CTCLoss()(targets[:4], logits[:4])
    np.testing.assert_allclose(mean, found[:4].mean(), rtol=1e-6)


def test_padding_changes_neither_loss_nor_gradient():
    logits, targets = batch()
    slope = slopes(logits, targets)
    assert np.isfinite(slope).all() and np.abs(slope[:4]).max(axis=(1, 2)).min() > 0.01
    assert not slope[4:].any(), "what cannot be moves something"
    for row in (1, 2):
        frames, labels = CASES[row]
        alone, target = logits[row : row + 1, :frames], np.array([labels], "int32").reshape(1, -1)
        np.testing.assert_allclose(slope[row, :frames], slopes(alone, target)[0], atol=1e-6)
        assert not slope[row, frames:].any()


def test_means_do_not_depend_on_batches():
    logits, targets = batch()
    metric = MeanLoss(ctc.CTCLoss())
    for part in (slice(0, 3), slice(3, 4)):
        metric.update_state(targets[part], logits[part])
    np.testing.assert_allclose(metric.result(), losses()[:4].mean(), rtol=1e-6)


def test_impossible_transcripts_are_named_or_left_out():
    _, targets = batch()
    assert keras.ops.convert_to_numpy(ctc.min_frames(targets)).tolist() == [2, 3, 0, 3, 3, 3]
    clips = [f"clip_{row}.wav" for row in range(len(CASES))]
    rows, frames = [labels for _, labels in CASES], [frames for frames, _ in CASES]
    with pytest.raises(ValueError, match=r"clip_4.wav has 2 frames for 3 labels, which need 3 .*; 2 of 6 clips"):
        ctc.check_alignments(rows, frames, clips)
    keep, notes = ctc.check_alignments(rows, frames, clips, skip_bad=True)
    assert keep.tolist() == [True] * 4 + [False] * 2
    assert len(notes) == 1 and notes[0].startswith("2 of 6 clips were left out") and "clip_4.wav" in notes[0]
    assert ctc.check_alignments(rows[:4], frames[:4], clips[:4])[1] == []


def test_greedy_gives_the_collapsed_best_path():
    random = np.random.default_rng(1)
    logits = random.normal(0, 2, (6, 9, 3)).astype("float32")
    logits[1, 4:] = [0, -1e9, -1e9]
    logits[2] = [0, -1e9, -1e9]
    ids, lengths = (keras.ops.convert_to_numpy(each) for each in compiled(greedy.decode)(logits))
    assert ids.shape == (6, 9) and ids.dtype == lengths.dtype == np.int32
    for row, best in enumerate(logits.argmax(-1)):
        assert tuple(ids[row, : lengths[row]]) == collapsed(best) and not ids[row, lengths[row] :].any()
    assert lengths[2] == 0


def test_words_have_times():
    path = [3, 0, 1, 1, 0, 2, 3, 0, 3, 1, 0, 1, 0]  # 3 is the space
    words = greedy.word_times(np.eye(4)[path], space=3)
    assert words == [([1, 2], 2, 6), ([1, 1], 9, 12)]
    assert greedy.word_times(np.eye(4)[path], None)[0][1:] == (0, 12)
    assert greedy.word_times(np.eye(4)[[0, 0]], 3) == greedy.word_times(np.zeros((0, 4)), 3) == []

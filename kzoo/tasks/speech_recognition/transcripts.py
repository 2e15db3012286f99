"""The column of transcripts, and how many frames a model gives for a clip."""

from typing import Any

import keras
import numpy as np

from kzoo.data import checks, columns

SHARE = 8  # a random transcript has a letter for so many steps of its clip


class Transcript(columns.Label):
    """Ids of letters, int32 (examples, labels), 0 after the end."""

    mixes = False

    def encode(self, label, y, class_names) -> tuple:
        """Transcripts stay texts until a tokenizer spells them."""
        return y, class_names

    def check(self, label, y, x) -> tuple:
        y = checks.check_array(label, y)
        if y.ndim != 2:
            raise ValueError(f"{label} have shape {y.shape}; wanted ids of letters (examples, labels), 0 after the end")
        y = checks.check_token_ids(label, y, self.num_classes)
        inside = np.argwhere((y[:, :-1] == 0) & (y[:, 1:] != 0))
        if len(inside):
            raise ValueError(f"{label}: example {inside[0][0]} has a 0 before its end; 0 is the blank of CTC")
        return y, None

    def draw(self, random, batch_size, length) -> tuple:
        shape = (batch_size, max(1, length // SHARE))
        return random.integers(1, self.num_classes, shape, dtype=np.int32), None

    def to_batch(self, labels) -> Any:
        import tensorflow as tf

        return tf.cast(labels, tf.int32)


def frame_counter(model) -> Any:
    """A function from numbers of samples (clips,) to how many frames the model gives for them, both int NumPy arrays.

    It is the part of the model that leads from `num_samples` to what its last layer knows of frames.
    """
    counts = [
        model.get_layer(name).output for name, one in columns.inputs_of(model).items() if one.kind == "num_samples"
    ]
    told = keras.tree.flatten(model.layers[-1].input)
    if not counts or len(told) != 2:
        raise ValueError(
            f"{model.name} does not say how many frames a clip has: its last layer must take logits and those, as "
            "kzoo.layers.BlankPadding does"
        )
    counter = keras.Model(counts[0], told[1])

    def count(num_samples):
        return np.asarray(keras.ops.convert_to_numpy(counter(np.asarray(num_samples, np.int32))))

    return count


def seconds_per_frame(model) -> float:
    """How far apart the frames of a model's outputs are, in seconds."""
    heard = columns.heard(model)
    first, last = frame_counter(model)(np.array([100, 200]) * heard.sample_rate)
    return 100 / float(last - first)

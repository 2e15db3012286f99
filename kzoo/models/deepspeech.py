"""Deep Speech: five layers, one of them recurrent in both directions, from spectra of speech to letters.

Hannun et al. 2014, https://arxiv.org/abs/1412.5567, section 2, in the form of torchaudio's `DeepSpeech`, whose names
the layers have. That class begins at features; here the graph begins at the waveform. Its front end has the sizes of
Mozilla's DeepSpeech, 26 MFCC of 32 ms every 20 ms, with 9 frames of context on either side in `deepspeech_context9`;
MFCC are torchaudio's, and each coefficient is normalised over its clip.
"""

import keras
from keras import layers

from kzoo.layers.frames import BlankPadding, FrameContext
from kzoo.layers.recurrent import Recurrence
from kzoo.layers.spectra import MFCC, NumWindows

TASK = "speech_recognition"
INPUTS = {"waveform": "waveform", "num_samples": "num_samples"}
AGREES_WITH = "torchaudio"
VARIANTS = {"deepspeech": {}, "deepspeech_context9": {"context": 9}}
HEAD = ("out",)


def fully_connected(x, hidden_dim, dropout, name) -> keras.KerasTensor:
    """Dense, ReLU cut off at 20, dropout: equation 1."""
    x = layers.ReLU(max_value=20, name=f"{name}.relu")(layers.Dense(hidden_dim, name=f"{name}.fc")(x))
    return layers.Dropout(dropout, name=f"{name}.dropout")(x)


def build(
    sample_rate=16000, num_features=26, context=0, hidden_dim=2048, dropout=0.0, num_labels=29, name="deepspeech"
) -> keras.Model:
    """Sound to letters: logits float32 (batch, frames, num_labels), a frame every 20 ms, with the blank as label 0.

    Inputs: `waveform` float32 (batch, samples) in [-1, 1] at `sample_rate` Hz, zeros after the end of a clip;
    `num_samples` int32 (batch,). Frames after a clip's end are certain blanks.

    Args:
        num_features: MFCC a frame.
        context: neighbouring frames on either side that the first layer sees as well.
    """
    waveform = keras.Input((None,), name="waveform")
    num_samples = keras.Input((), dtype="int32", name="num_samples")
    mfcc = MFCC(sample_rate, sample_rate * 32 // 1000, sample_rate // 50, num_features, max(40, num_features),
                normalize="feature", name="mfcc")  # fmt: skip
    x = mfcc(waveform, num_samples)
    num_frames = NumWindows(mfcc.fft_length, mfcc.hop, mfcc.pad, name="num_frames")(num_samples)
    x = FrameContext(context, name="context")(x)
    for index in (1, 2, 3):
        x = fully_connected(x, hidden_dim, dropout, f"fc{index}")
    x = Recurrence("simple", hidden_dim, activation="relu", name="bi_rnn")(x, num_frames)
    x = fully_connected(x, hidden_dim, dropout, "fc4")
    x = layers.Dense(num_labels, dtype="float32", name="out")(x)
    logits = BlankPadding(name="logits")(x, num_frames)
    return keras.Model({"waveform": waveform, "num_samples": num_samples}, logits, name=name)

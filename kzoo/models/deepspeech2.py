"""Deep Speech 2: two convolutions over a spectrogram and deep recurrent layers, from speech to letters.

Amodei et al. 2015, https://arxiv.org/abs/1512.02595, section 3, in the form of SeanNaren's `deepspeech.pytorch`, whose
names the layers have and whose front end stands in the graph: log(1 + |STFT|) of 20 ms every 10 ms under a Hamming
window, normalised over each clip. As there, frames after a clip's end are zeros after every module, and batch
normalisation counts them while it trains.
"""

import keras
from keras import layers

from kzoo.layers.frames import BlankPadding, FrameMask
from kzoo.layers.images import batch_norm
from kzoo.layers.recurrent import GATES, Recurrence
from kzoo.layers.spectra import LogSpectrogram, NumWindows

TASK = "speech_recognition"
INPUTS = {"waveform": "waveform", "num_samples": "num_samples"}
AGREES_WITH = "SeanNaren's deepspeech.pytorch"
VARIANTS = {
    "deepspeech2": {},
    "deepspeech2_gru": {"cell": "gru"},
    "deepspeech2_lookahead": {"bidirectional": False},
}
HEAD = ("fc.0.module.1",)
# (kernel, strides) over (frequency, time)
_CONVOLUTIONS = (((41, 11), (2, 2)), ((21, 11), (2, 1)))


def convolution(x, num_frames, index, name) -> tuple:
    """Convolution, batch norm and ReLU cut off at 20, masked to the clips' own frames: (x, their number)."""
    kernel, strides = _CONVOLUTIONS[index]
    padding = tuple(size // 2 for size in kernel)
    conv, norm, relu = (f"{name}.{3 * index + place}" for place in range(3))
    x = layers.ZeroPadding2D(padding, name=f"{conv}.pad")(x)
    x = layers.Conv2D(32, kernel, strides, name=conv)(x)
    num_frames = NumWindows(kernel[1], strides[1], padding[1], name=f"{conv}.num_frames")(num_frames)
    x = FrameMask(2, name=f"{conv}.mask")(x, num_frames)
    x = FrameMask(2, name=f"{norm}.mask")(batch_norm(x, norm), num_frames)
    return layers.ReLU(max_value=20, name=relu)(x), num_frames


def build(
    sample_rate=16000,
    num_layers=5,
    hidden_dim=1024,
    cell="lstm",
    bidirectional=True,
    lookahead=20,
    dropout=0.0,
    num_labels=29,
    name="deepspeech2",
) -> keras.Model:
    """Sound to letters: logits float32 (batch, frames, num_labels), a frame every 20 ms, with the blank as label 0.

    Inputs: `waveform` float32 (batch, samples) in [-1, 1] at `sample_rate` Hz, zeros after the end of a clip;
    `num_samples` int32 (batch,). Frames after a clip's end are certain blanks.

    Args:
        cell: "lstm", "gru" or "simple".
        lookahead: frames, its own among them, that each may look ahead if not `bidirectional`.
        dropout: after every recurrent layer; the reference has none.
    """
    if cell not in GATES:
        raise ValueError(f"{name}: cell must be one of {', '.join(GATES)}, got {cell!r}")
    waveform = keras.Input((None,), name="waveform")
    num_samples = keras.Input((), dtype="int32", name="num_samples")
    spectrogram = LogSpectrogram(sample_rate // 50, sample_rate // 100, window="hamming", normalize="clip",
                                 name="spectrogram")  # fmt: skip
    x = spectrogram(waveform, num_samples)
    num_frames = NumWindows(spectrogram.fft_length, spectrogram.hop, spectrogram.pad, name="num_frames")(num_samples)
    # (batch, frames, bins) as a picture of frequency by time, and back with the channels outside the frequencies
    x = layers.Reshape((x.shape[-1], -1, 1), name="picture")(layers.Permute((2, 1), name="frequency_first")(x))
    for index in range(len(_CONVOLUTIONS)):
        x, num_frames = convolution(x, num_frames, index, "conv.seq_module")
    features = x.shape[1] * x.shape[3]
    x = layers.Reshape((-1, features), name="frames")(layers.Permute((2, 3, 1), name="time_first")(x))
    for index in range(num_layers):
        if index:
            x = batch_norm(x, f"rnns.{index}.batch_norm.module")
        x = Recurrence(cell, hidden_dim, bidirectional, name=f"rnns.{index}.rnn")(x, num_frames)
        x = layers.Dropout(dropout, name=f"rnns.{index}.dropout")(x)
    if not bidirectional:
        x = layers.ZeroPadding1D((0, lookahead - 1), name="lookahead.0.pad")(x)
        x = layers.DepthwiseConv1D(lookahead, use_bias=False, name="lookahead.0.conv")(x)
        x = layers.ReLU(max_value=20, name="lookahead.1")(x)
    x = batch_norm(x, "fc.0.module.0")
    x = layers.Dense(num_labels, use_bias=False, dtype="float32", name="fc.0.module.1")(x)
    logits = BlankPadding(name="logits")(x, num_frames)
    return keras.Model({"waveform": waveform, "num_samples": num_samples}, logits, name=name)

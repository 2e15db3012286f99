"""DS-CNN: depthwise separable convolutions over the cepstra of one second of sound, for keywords.

Zhang, Suda, Lai, Chandra 2017, "Hello Edge: keyword spotting on microcontrollers", https://arxiv.org/abs/1711.07128,
section 4 and table 5; the baseline of MLPerf Tiny. Layers are named and sized as in the authors' models
(ARM-software/ML-KWS-for-MCU); batch norm has a scale and dropout stands where MLPerf Tiny's Keras model has them. The
cepstra are taken in the graph: 40 mel bands of 20 to 4,000 Hz, windows of 40 ms every 20 ms.
"""

import keras
from keras import layers

from kzoo.layers.spectra import MFCC, ClipLength, LogMelSpectrogram

TASK = "sound_classification"
INPUTS = {"waveform": "waveform"}
AGREES_WITH = "MLPerf Tiny's Keras model"
VARIANTS = {
    "ds_cnn_s": {},
    "ds_cnn_m": {"filters": 172, "strides": ((2, 1), (2, 2))},
    "ds_cnn_l": {"filters": 276, "num_layers": 6, "strides": ((2, 1), (2, 2))},
}
HEADLESS = "feature_extraction"
HEAD = ("fc1",)
_FEATURES = ("mfcc", "log_mel")
_WINDOW, _HOP, _NUM_MELS, _LOWEST, _HIGHEST = 0.04, 0.02, 40, 20, 4000  # seconds, bands and Hz


def normalized(x, name) -> keras.KerasTensor:
    """Batch norm and rectifier after the convolution `name`."""
    x = layers.BatchNormalization(momentum=0.96, name=f"{name}.batch_norm")(x)
    return layers.ReLU(name=f"{name}.relu")(x)


def separable_block(x, filters, strides, name) -> keras.KerasTensor:
    """A 3x3 convolution of every channel for itself, and a 1x1 convolution across channels."""
    x = layers.DepthwiseConv2D(3, strides, "same", name=f"{name}.dw_conv")(x)
    x = layers.Conv2D(filters, 1, name=f"{name}.pw_conv")(normalized(x, f"{name}.dw_conv"))
    return normalized(x, f"{name}.pw_conv")


def build(
    filters=64,
    num_layers=5,
    strides=((2, 2), (1, 1)),
    features="mfcc",
    num_coefficients=10,
    sample_rate=16000,
    seconds=1.0,
    normalize=None,
    dropout=0.2,
    num_classes=12,
    name="ds_cnn_s",
) -> keras.Model:
    """Waveforms (batch, samples) in [-1, 1] to logits (batch, num_classes) in float32.

    Args:
        filters: of every convolution.
        num_layers: the first convolution and the separable ones after it.
        strides: in time and coefficients, of the first convolution and of the first separable one.
        features: "mfcc", the cepstra, or "log_mel", the logarithms of the mel bands that they are made of.
        num_coefficients: cepstra a frame.
        sample_rate: in Hz.
        seconds: how much of a sound is heard; shorter ones end in zeros.
        normalize: "feature" standardizes each feature over a clip's own frames, which takes away what differs between
            microphones, and also what tells steady sounds apart; "clip" all of them together, which takes away
            loudness; None as in the paper.
        dropout: after the first convolution; twice as much before the average.

    Raises ValueError for sounds shorter than a window, and for other features.
    """
    if features not in _FEATURES:
        raise ValueError(f"{name}: features must be one of {', '.join(_FEATURES)}, got {features!r}")
    window, hop, num_samples = (round(part * sample_rate) for part in (_WINDOW, _HOP, seconds))
    if num_samples < window:
        raise ValueError(f"{name}: seconds={seconds} is shorter than one window of {_WINDOW} s")
    waveform = keras.Input((num_samples,), name="waveform")
    length = [ClipLength(name="num_samples")(waveform)] if normalize else []
    bands = {
        "num_mels": _NUM_MELS, "min_frequency": _LOWEST, "max_frequency": min(_HIGHEST, sample_rate // 2),
        "padding": None, "normalize": normalize,
    }  # fmt: skip
    if features == "mfcc":
        x = MFCC(sample_rate, window, hop, num_coefficients, **bands, name="mfcc")(waveform, *length)
    else:
        x = LogMelSpectrogram(sample_rate, window, hop, **bands, name="log_mel")(waveform, *length)
    x = layers.Reshape((*x.shape[1:], 1), name="channel")(x)
    x = normalized(layers.Conv2D(filters, (10, 4), strides[0], "same", name="conv_1")(x), "conv_1")
    x = layers.Dropout(dropout, name="conv_1.dropout")(x)
    for index in range(1, num_layers):
        x = separable_block(x, filters, strides[1] if index == 1 else (1, 1), f"conv_ds_{index}")
    x = layers.Dropout(2 * dropout, name="dropout")(x)
    x = layers.GlobalAveragePooling2D(dtype="float32", name="avg_pool")(x)
    if num_classes == 0:
        return keras.Model(waveform, layers.Activation("linear", dtype="float32", name="features")(x), name=name)
    return keras.Model(waveform, layers.Dense(num_classes, dtype="float32", name="fc1")(x), name=name)

"""Samples of sound on their way into a network that writes them: mu-law, one-hot, and conditions beside them."""

import math
from typing import Any

import keras
from keras import layers, ops

# A class is decoded this share of its width above its lower edge, or rounding might put it back into the class below.
NUDGE = 2e-4


def mu_law_encode(x, num_levels=256) -> Any:
    """Samples in [-1, 1] as classes of their loudness, int32 in the shape of `x`; what lies outside is clipped.

    mu is `num_levels` - 1 and fractions are cut off, as r9y9's `wavenet_vocoder` does with nnmnkwii's `mulaw_quantize`;
    silence is class 127 of 256. van den Oord et al. 2016, https://arxiv.org/abs/1609.03499, section 2.2.
    """
    mu = num_levels - 1
    x = ops.clip(x, -1.0, 1.0)
    # log1p has no form in ONNX.
    companded = ops.sign(x) * ops.log(1 + mu * ops.abs(x)) / math.log1p(mu)
    return ops.cast((companded + 1) / 2 * mu, "int32")


def mu_law_decode(ids, num_levels=256) -> Any:
    """The samples that classes stand for, float32: the lower edge of each, which `mu_law_encode` puts back into it."""
    mu = num_levels - 1
    companded = ops.minimum(2 * (ops.cast(ids, "float32") + NUDGE) / mu - 1, 1.0)
    return ops.sign(companded) * ops.expm1(math.log1p(mu) * ops.abs(companded)) / mu


@keras.saving.register_keras_serializable("kzoo")
class MuLawOneHot(layers.Layer):
    """Samples (batch, samples) in [-1, 1] as the one-hot vectors of their mu-law classes, (batch, samples, num_levels).

    No weights. Samples are read in float32 whatever the layer computes in, since half precision has fewer levels.
    """

    def __init__(self, num_levels=256, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if type(num_levels) is not int or num_levels < 2:
            raise ValueError(f"num_levels must be an int of at least 2, got {num_levels!r}")
        self.num_levels = num_levels

    def call(self, inputs) -> Any:
        ids = mu_law_encode(ops.cast(inputs, "float32"), self.num_levels)
        return ops.one_hot(ids, self.num_levels, dtype=self.compute_dtype)

    def compute_output_spec(self, inputs) -> Any:
        return keras.KerasTensor((*inputs.shape, self.num_levels), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("kzoo")
class OneChannel(layers.Layer):
    """Samples (batch, samples) as a sequence of one channel, (batch, samples, 1); no weights."""

    def call(self, inputs) -> Any:
        return ops.expand_dims(inputs, -1)

    def compute_output_shape(self, input_shape) -> tuple:
        return (*input_shape, 1)


@keras.saving.register_keras_serializable("kzoo")
class Alongside(layers.Layer):
    """[condition (batch, n, channels), waveform (batch, samples)] to the condition of each sample; no weights.

    The condition is cut to as many places as the waveform has samples, so n must be at least that.
    """

    def call(self, inputs) -> Any:
        condition, waveform = inputs
        return condition[:, : ops.shape(waveform)[1]]

    def compute_output_shape(self, input_shape) -> tuple:
        (batch, length, channels), waveform = input_shape
        if length is not None and waveform[1] is not None and length < waveform[1]:
            raise ValueError(
                f"{self.name}: a condition for {length} samples does not cover a waveform of {waveform[1]}"
            )
        return (batch, waveform[1], channels)


@keras.saving.register_keras_serializable("kzoo")
class Unread(layers.Layer):
    """[outputs, unread] to the outputs alone; no weights.

    It keeps a layer in the graph that a reference has and never reads, so that its checkpoints go in and out whole. In
    training that layer has gradients of zero, without which optimizers warn.
    """

    def call(self, inputs, training=False) -> Any:
        outputs, unread = inputs
        return outputs + 0 * ops.mean(unread) if training else outputs

    def compute_output_shape(self, input_shape) -> tuple:
        return input_shape[0]

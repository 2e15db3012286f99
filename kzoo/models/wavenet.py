"""WaveNet: dilated causal convolutions over the samples of sound, which predict the next one.

van den Oord et al. 2016, https://arxiv.org/abs/1609.03499, figure 4 and sections 2.1 to 2.5. As a vocoder it reads mel
spectrograms, as in Shen et al. 2017, https://arxiv.org/abs/1712.05884, section 2.3, with a mixture of logistics in
place of the softmax. Layer names are those of r9y9's `wavenet_vocoder`, which multiplies every sum of a residual by
sqrt(1/2) and that of the skips by sqrt(1/num_layers); the paper does not, nor does ibab's `tensorflow-wavenet`
(`wavenet_ibab`), whose samples r9y9's mu-law encodes here (it cuts fractions off where ibab's rounds).
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers import Split
from kzoo.layers.waves import Alongside, MuLawOneHot, OneChannel, Unread

TASK = "sound_generation"
INPUTS = {"waveform": "waveform", "mel": "mel", "speaker": "category"}
AGREES_WITH = "r9y9's `wavenet_vocoder`, ibab's `tensorflow-wavenet`"
WRITES = "waveform"
VARIANTS = {
    "wavenet_mulaw": {},
    "wavenet_logistics": {"distribution": "logistics", "num_levels": 65536, "num_layers": 24, "num_stacks": 4},
    "wavenet_gaussian": {"like": "wavenet_logistics", "distribution": "gaussian"},
    "wavenet_ibab": {
        "num_layers": 50,
        "num_stacks": 5,
        "filters": 32,
        "gate_filters": 64,
        "skip_filters": 512,
        "kernel_size": 2,
        "stem_kernel_size": 2,
        "scaled": False,
        "upsample_scales": (),
        "sample_rate": 16000,
    },
    "wavenet_small": {
        "num_layers": 16,
        "num_stacks": 2,
        "filters": 32,
        "gate_filters": 64,
        "skip_filters": 64,
        "kernel_size": 2,
        "upsample_scales": (),
        "num_speakers": 10,
        "sample_rate": 8000,
    },
}
_CHANNELS = {"logistics": 3, "gaussian": 2}  # of each component; mu-law has one for each level


def pointwise(x, filters, name, **kwargs) -> keras.KerasTensor:
    """The same linear map at every place."""
    kwargs = {"kernel_initializer": "he_normal", **kwargs}
    return layers.Conv1D(filters, 1, name=name, **kwargs)(x)


def upsampled(mel, scales, context_frames) -> keras.KerasTensor:
    """Mel frames (batch, frames, num_mels) to one for every sample, (batch, samples, num_mels).

    A convolution reads every frame beside its `context_frames` neighbours on either side, which are lost at the ends;
    then each stage repeats frames and smooths them along time.
    """
    num_mels, name = mel.shape[-1], "upsample_net"
    x = layers.Conv1D(num_mels, 2 * context_frames + 1, use_bias=False, name=f"{name}.conv_in")(mel)
    x = layers.Permute((2, 1), name=f"{name}.channels_first")(x)
    x = layers.Reshape((num_mels, -1, 1), name=f"{name}.picture")(x)
    for index, scale in enumerate(scales):
        width, stage = 2 * scale + 1, f"{name}.upsample.up_layers"
        x = layers.UpSampling2D((1, scale), name=f"{stage}.{2 * index}")(x)
        smooth = partial(layers.Conv2D, 1, (1, width), padding="same", use_bias=False)
        x = smooth(kernel_initializer=keras.initializers.Constant(1 / width), name=f"{stage}.{2 * index + 1}")(x)
    x = layers.Reshape((num_mels, -1), name=f"{name}.sequence")(x)
    return layers.Permute((2, 1), name=f"{name}.channels_last")(x)


def block(x, conditions, dilation, kernel_size, gate_filters, skip_filters, dropout, scaled, name) -> tuple:
    """A gated convolution, section 2.3: the sum of x and its residual, and what it adds to the skips."""
    y = layers.Dropout(dropout, name=f"{name}.dropout")(x) if dropout else x
    sizes = {"padding": "causal", "dilation_rate": dilation, "kernel_initializer": "he_normal"}
    y = layers.Conv1D(gate_filters, kernel_size, name=f"{name}.conv", **sizes)(y)
    for suffix, condition in conditions.items():
        # A term at a time, so that one which is the same at every place is spread over them by the sum.
        term = pointwise(condition, gate_filters, f"{name}.conv1x1{suffix}", use_bias=False)
        y = layers.Add(name=f"{name}.add{suffix}")([y, term])
    content, gate = Split(2, name=f"{name}.split")(y)
    content = layers.Activation("tanh", name=f"{name}.tanh")(content)
    gate = layers.Activation("sigmoid", name=f"{name}.sigmoid")(gate)
    y = layers.Multiply(name=f"{name}.multiply")([content, gate])
    skip = pointwise(y, skip_filters, f"{name}.conv1x1_skip")
    y = layers.Add(name=f"{name}.add")([pointwise(y, x.shape[-1], f"{name}.conv1x1_out"), x])
    return layers.Rescaling(0.5**0.5, name=f"{name}.rescale")(y) if scaled else y, skip


def build(
    distribution="mulaw",
    num_levels=256,
    num_mixtures=10,
    num_layers=30,
    num_stacks=3,
    filters=128,
    gate_filters=256,
    skip_filters=128,
    kernel_size=3,
    stem_kernel_size=1,
    scaled=True,
    upsample_scales=(4, 4, 4, 4),
    num_mels=80,
    context_frames=2,
    num_speakers=0,
    speaker_dim=16,
    dropout=0.0,
    sample_rate=22050,
    name="wavenet_mulaw",
) -> keras.Model:
    """Sound and what it is conditioned on, to the distribution of the next sample at each place, float32.

    Inputs: `waveform` float32 (batch, samples) in [-1, 1]; with `upsample_scales`, `mel` float32 (batch, frames,
    num_mels), of which (frames - 2 * context_frames) times the product of the scales must cover the samples; with
    `num_speakers`, `speaker` int32 (batch,), ids of speakers or of whatever else holds for a whole clip.
    Output: (batch, samples, channels), of which place t sees samples up to t and conditions at t and predicts sample
    t + 1. `distribution` says what the channels are: "mulaw" logits of num_levels classes; "logistics" logits, means
    and log-scales of num_mixtures components, rounded to num_levels; "gaussian" a mean and a log-scale.
    `scaled` multiplies residuals and skips as r9y9's code does; the paper does not.

    Raises ValueError for an unknown distribution, for layers that the stacks do not divide and for odd gate_filters.
    """
    if distribution not in ("mulaw", *_CHANNELS):
        known = ", ".join(("mulaw", *_CHANNELS))
        raise ValueError(f"{name}: distribution must be one of {known}, got {distribution!r}")
    if num_layers % num_stacks:
        raise ValueError(f"{name}: num_stacks={num_stacks} must divide num_layers={num_layers}")
    if gate_filters % 2:
        raise ValueError(f"{name}: gate_filters must be even, a half each for content and gate, got {gate_filters}")
    inputs, conditions = {"waveform": keras.Input((None,), name="waveform")}, {}
    if upsample_scales:
        inputs["mel"] = keras.Input((None, num_mels), name="mel")
        mel = upsampled(inputs["mel"], upsample_scales, context_frames)
        conditions["c"] = Alongside(name="upsample_net.alongside")([mel, inputs["waveform"]])
    if num_speakers:
        inputs["speaker"] = keras.Input((), dtype="int32", name="speaker")
        start = keras.initializers.RandomNormal(stddev=0.1)
        table = layers.Embedding(num_speakers, speaker_dim, embeddings_initializer=start, name="embed_speakers")
        conditions["g"] = layers.Reshape((1, speaker_dim), name="embed_speakers.place")(table(inputs["speaker"]))
    encode = MuLawOneHot(num_levels, name="mu_law") if distribution == "mulaw" else OneChannel(name="channel")
    x = layers.Conv1D(
        filters,
        stem_kernel_size,
        padding="causal",
        use_bias=stem_kernel_size == 1,  # ibab's causal stem has none
        kernel_initializer="he_normal",
        name="first_conv",
    )(encode(inputs["waveform"]))
    sizes = {"kernel_size": kernel_size, "gate_filters": gate_filters, "skip_filters": skip_filters}
    skips = None
    for index in range(num_layers):
        dilation = 2 ** (index % (num_layers // num_stacks))
        place = f"conv_layers.{index}"
        x, skip = block(x, conditions, dilation, **sizes, dropout=dropout, scaled=scaled, name=place)
        skips = skip if skips is None else layers.Add(name=f"{place}.skips")([skips, skip])
    # The reference computes the last residual and reads it nowhere.
    x = Unread(name="skips")([skips, x])
    x = layers.Rescaling(num_layers**-0.5, name="rescale")(x) if scaled else x
    x = pointwise(layers.ReLU(name="last_conv_layers.0")(x), skip_filters, "last_conv_layers.1")
    x = layers.ReLU(name="last_conv_layers.2")(x)
    channels = num_levels if distribution == "mulaw" else _CHANNELS[distribution]
    channels *= num_mixtures if distribution == "logistics" else 1
    outputs = pointwise(x, channels, "last_conv_layers.3", dtype="float32")
    return keras.Model(inputs if len(inputs) > 1 else inputs["waveform"], outputs, name=name)

"""What the U-Nets and autoencoders of diffusion share: the time as a vector, residual blocks, attention over pixels.

Ho et al. 2020, "Denoising Diffusion Probabilistic Models", https://arxiv.org/abs/2006.11239, appendix B; Rombach et al.
2022, https://arxiv.org/abs/2112.10752. Layers are named as `diffusers` names them.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kzoo.layers.attention import DotProductAttention
from kzoo.layers.images import padded_conv


@keras.saving.register_keras_serializable("kzoo")
class SinusoidalTimestep(layers.Layer):
    """Timesteps (batch,) as sines and cosines of falling frequency, (batch, width); no weights.

    Computed in float32 whatever comes in, since half precision has fewer than the usual 1,000 steps.

    Args:
        width: numbers for each timestep; an odd one ends in a zero.
        cosines_first: whether the first half holds the cosines.
        frequency_shift: 1 lets the last frequency reach 1 / 10,000, as in Ho et al.; with 0 it stays above.
    """

    def __init__(self, width, cosines_first=True, frequency_shift=0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.width, self.cosines_first, self.frequency_shift = width, cosines_first, frequency_shift

    def call(self, inputs) -> Any:
        half = self.width // 2
        # In float32, as the reference has them: at timestep 999 the last digit of a frequency is 6e-5 of the angle.
        powers = np.float32(-math.log(10000)) * np.arange(half, dtype="float32")
        frequencies = np.exp(powers / np.float32(half - self.frequency_shift))
        angles = ops.cast(inputs, "float32")[:, None] * frequencies
        waves = [ops.cos(angles), ops.sin(angles)] if self.cosines_first else [ops.sin(angles), ops.cos(angles)]
        waves = ops.concatenate(waves, axis=-1)
        waves = ops.pad(waves, ((0, 0), (0, 1))) if self.width % 2 else waves
        return ops.cast(waves, self.compute_dtype)

    def compute_output_spec(self, inputs) -> Any:
        return keras.KerasTensor((*inputs.shape, self.width), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable("kzoo")
class LikeGrid(layers.Layer):
    """[sequence (batch, height * width, channels), grid (batch, height, width, any)] to the sequence on the grid.

    No weights; (batch, height, width, channels).
    """

    def call(self, inputs) -> Any:
        sequence, grid = inputs
        _, height, width, _ = ops.shape(grid)
        return ops.reshape(sequence, (-1, height, width, sequence.shape[-1]))

    def compute_output_shape(self, input_shape) -> tuple:
        sequence, grid = input_shape
        return (*grid[:3], sequence[-1])


def group_norm(x, num_groups, epsilon, name) -> keras.KerasTensor:
    """Group normalisation; ValueError unless the groups divide the channels of x."""
    if x.shape[-1] % num_groups:
        raise ValueError(
            f"num_groups {num_groups} does not divide the {x.shape[-1]} channels of {name}: choose widths that are "
            f"multiples of {num_groups}, or other groups"
        )
    return layers.GroupNormalization(num_groups, epsilon=epsilon, name=name)(x)


def time_embedding(timestep, width, cosines_first, frequency_shift) -> keras.KerasTensor:
    """Timesteps (batch,) to what residual blocks read of them, (batch, 4 * width)."""
    x = SinusoidalTimestep(width, cosines_first, frequency_shift, name="time_proj")(timestep)
    x = layers.Dense(4 * width, name="time_embedding.linear_1")(x)
    x = layers.Activation("silu", name="time_embedding.act")(x)
    x = layers.Dense(4 * width, name="time_embedding.linear_2")(x)
    # Every residual block begins with it.
    return layers.Activation("silu", name="time_embedding.read")(x)


def residual_block(x, time, filters, num_groups, epsilon, name, dropout=0.0) -> keras.KerasTensor:
    """Two convolutions, each after a group norm and SiLU, added to x; `time` (batch, width) enters between, if given.

    x is (batch, height, width, channels) and becomes (batch, height, width, filters).
    """
    y = group_norm(x, num_groups, epsilon, f"{name}.norm1")
    y = layers.Activation("silu", name=f"{name}.silu1")(y)
    y = layers.Conv2D(filters, 3, padding="same", name=f"{name}.conv1")(y)
    if time is not None:
        shift = layers.Dense(filters, name=f"{name}.time_emb_proj")(time)
        shift = layers.Reshape((1, 1, filters), name=f"{name}.time_emb")(shift)
        y = layers.Add(name=f"{name}.add_time")([y, shift])
    y = group_norm(y, num_groups, epsilon, f"{name}.norm2")
    y = layers.Activation("silu", name=f"{name}.silu2")(y)
    y = layers.Dropout(dropout, name=f"{name}.dropout")(y) if dropout else y
    y = layers.Conv2D(filters, 3, padding="same", name=f"{name}.conv2")(y)
    if x.shape[-1] != filters:
        x = layers.Conv2D(filters, 1, name=f"{name}.conv_shortcut")(x)
    return layers.Add(name=f"{name}.add")([x, y])


def pixel_attention(x, head_dim, num_groups, epsilon, name) -> keras.KerasTensor:
    """Attention of every pixel to all, added to x, (batch, height, width, channels).

    `head_dim` is the width of a head, None for one head. Raises ValueError where it does not divide the channels.
    """
    channels = x.shape[-1]
    if head_dim is not None and (type(head_dim) is not int or head_dim < 1 or channels % head_dim):
        raise ValueError(
            f"head_dim {head_dim!r} must be an int that divides the {channels} channels of {name}, or None"
        )
    y = group_norm(x, num_groups, epsilon, f"{name}.group_norm")
    y = layers.Reshape((-1, channels), name=f"{name}.pixels")(y)
    query, key, value = (layers.Dense(channels, name=f"{name}.to_{part}")(y) for part in "qkv")
    y = DotProductAttention(channels // head_dim if head_dim else 1, name=name)(query, key, value)
    y = layers.Dense(channels, name=f"{name}.to_out.0")(y)
    y = LikeGrid(name=f"{name}.grid")([y, x])
    return layers.Add(name=f"{name}.add")([x, y])


def downsample(x, name, padding=1) -> keras.KerasTensor:
    """A 3x3 convolution of stride 2; padding 0 stands for one row and column after the last alone."""
    if padding:
        return padded_conv(x, x.shape[-1], 3, name, strides=2, padding=padding, kernel_initializer="glorot_uniform")
    x_padded = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}.pad")(x)
    return layers.Conv2D(x.shape[-1], 3, 2, name=name)(x_padded)


def upsample(x, name) -> keras.KerasTensor:
    """Every pixel four times, and a 3x3 convolution."""
    channels = x.shape[-1]
    x = layers.UpSampling2D(2, name=f"{name}.nearest")(x)
    return layers.Conv2D(channels, 3, padding="same", name=name)(x)


def to_channels(x, num_outputs, num_groups, epsilon, prefix="", **kwargs) -> keras.KerasTensor:
    """Group norm, SiLU and a 3x3 convolution, with which these networks end; further options go to the convolution."""
    x = group_norm(x, num_groups, epsilon, f"{prefix}conv_norm_out")
    x = layers.Activation("silu", name=f"{prefix}conv_act")(x)
    return layers.Conv2D(num_outputs, 3, padding="same", name=f"{prefix}conv_out", **kwargs)(x)


def u_net(x, filters, attends, num_layers, downsample_padding, residual, attend) -> keras.KerasTensor:
    """The U: down through the levels, back up, and what every step down gave beside what comes up.

    Args:
        x: (batch, height, width, filters[0]).
        filters: the width of each level.
        attends: two sequences of bools, whether a level attends on the way down, and on the way up from the last.
        num_layers: residual blocks of a level on the way down, one fewer than on the way up.
        residual: `residual(x, filters=width, name=...)`.
        attend: `attend(x, level, name)`, after a residual block.
    """
    levels, (down, up) = list(enumerate(filters)), attends
    skips = [x]
    for level, width in levels:
        place = f"down_blocks.{level}"
        for index in range(num_layers):
            x = residual(x, filters=width, name=f"{place}.resnets.{index}")
            x = attend(x, level, f"{place}.attentions.{index}") if down[level] else x
            skips.append(x)
        if level < len(levels) - 1:
            x = downsample(x, f"{place}.downsamplers.0.conv", downsample_padding)
            skips.append(x)
    x = residual(x, filters=filters[-1], name="mid_block.resnets.0")
    x = attend(x, len(levels) - 1, "mid_block.attentions.0")
    x = residual(x, filters=filters[-1], name="mid_block.resnets.1")
    for order, (level, width) in enumerate(reversed(levels)):
        place = f"up_blocks.{order}"
        for index in range(num_layers + 1):
            x = layers.Concatenate(name=f"{place}.resnets.{index}.concat")([x, skips.pop()])
            x = residual(x, filters=width, name=f"{place}.resnets.{index}")
            x = attend(x, level, f"{place}.attentions.{index}") if up[order] else x
        x = upsample(x, f"{place}.upsamplers.0.conv") if level else x
    return x


def check_levels(model, filters, **others) -> None:
    """ValueError unless each keyword has as many items as there are levels, that is, `filters`."""
    for keyword, items in others.items():
        if len(items) != len(filters):
            raise ValueError(
                f"{model}: {keyword} has {len(items)} items, and filters {len(filters)}: each names what a level has"
            )


def check_kinds(model, **chosen) -> None:
    """ValueError unless the items of each keyword are among those known: `keyword=(items, known)`."""
    for keyword, (items, known) in chosen.items():
        if wrong := [item for item in items if item not in known]:
            raise ValueError(f"{model}: {keyword} must hold {' or '.join(known)}, got {wrong[0]!r}")


def check_halves(model, input_shape, num_levels) -> None:
    """ValueError for a height or width that cannot be halved between all levels; None is checked when it is known."""
    factor = 2 ** (num_levels - 1)
    for size in input_shape[:2]:
        if size is not None and size % factor:
            raise ValueError(
                f"{model}: input_shape {tuple(input_shape)}: height and width must be multiples of {factor}, since "
                f"{num_levels} levels halve them {num_levels - 1} times; choose {factor * max(1, round(size / factor))}"
            )

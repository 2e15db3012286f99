"""The encoder and the decoder of autoencoders whose latents diffusion works on.

Rombach et al. 2022, https://arxiv.org/abs/2112.10752, section 3.1 and appendix E. Layers are named as `diffusers` names
them.
"""

from functools import partial
from typing import Any

import keras
from keras import layers, ops

from kzoo.layers import unets

EPSILON = 1e-6  # of group norms, a tenth of that in the U-Nets
HALVES = ("both", "encoder", "decoder")


def encoder(image, filters, num_layers, num_groups, with_attention, num_outputs) -> keras.KerasTensor:
    """Pictures (batch, height, width, channels) to (batch, height / 2^n, width / 2^n, num_outputs), n + 1 levels."""
    residual = partial(unets.residual_block, time=None, num_groups=num_groups, epsilon=EPSILON)
    x = layers.Conv2D(filters[0], 3, padding="same", name="encoder.conv_in")(image)
    for level, width in enumerate(filters):
        place = f"encoder.down_blocks.{level}"
        for index in range(num_layers):
            x = residual(x, filters=width, name=f"{place}.resnets.{index}")
        x = unets.downsample(x, f"{place}.downsamplers.0.conv", padding=0) if level < len(filters) - 1 else x
    x = _middle(x, residual, num_groups, with_attention, "encoder.mid_block")
    return unets.to_channels(x, num_outputs, num_groups, EPSILON, "encoder.")


def decoder(latents, filters, num_layers, num_groups, with_attention, num_outputs) -> keras.KerasTensor:
    """The way back: latents (batch, height, width, channels) to pictures, float32."""
    residual = partial(unets.residual_block, time=None, num_groups=num_groups, epsilon=EPSILON)
    x = layers.Conv2D(filters[-1], 3, padding="same", name="decoder.conv_in")(latents)
    x = _middle(x, residual, num_groups, with_attention, "decoder.mid_block")
    for level, width in enumerate(reversed(filters)):
        place = f"decoder.up_blocks.{level}"
        for index in range(num_layers + 1):
            x = residual(x, filters=width, name=f"{place}.resnets.{index}")
        x = unets.upsample(x, f"{place}.upsamplers.0.conv") if level < len(filters) - 1 else x
    return unets.to_channels(x, num_outputs, num_groups, EPSILON, "decoder.", dtype="float32")


def _middle(x, residual, num_groups, with_attention, name):
    x = residual(x, filters=x.shape[-1], name=f"{name}.resnets.0")
    if with_attention:
        x = unets.pixel_attention(x, None, num_groups, EPSILON, f"{name}.attentions.0")
    return residual(x, filters=x.shape[-1], name=f"{name}.resnets.1")


def check(model, half, filters, input_shape) -> None:
    """ValueError for an unknown half, and for pictures that the levels cannot halve."""
    if half not in HALVES:
        raise ValueError(f"{model}: half must be one of {', '.join(HALVES)}, got {half!r}")
    unets.check_halves(model, input_shape, len(filters))


def inputs_of(half, filters, input_shape, latent_channels) -> dict:
    """The inputs of a half, or of both, by name: `image` and `latents`."""
    factor = 2 ** (len(filters) - 1)
    small = (*(None if size is None else size // factor for size in input_shape[:2]), latent_channels)
    shapes = {"image": input_shape, "latents": small}
    wanted = {"encoder": ["image"], "decoder": ["latents"], "both": [*shapes]}[half]
    return {name: keras.Input(shapes[name], name=name) for name in wanted}


def model_of(inputs, outputs, name) -> keras.Model:
    """The model of these inputs and outputs by name; a single one is taken and given by itself."""
    inputs, outputs = (next(iter(one.values())) if len(one) == 1 else one for one in (inputs, outputs))
    return keras.Model(inputs, outputs, name=name)


@keras.saving.register_keras_serializable("kzoo")
class VectorQuantizer(layers.Layer):
    """Every vector of (batch, height, width, width of a code) becomes the nearest of a codebook; the shape stays.

    van den Oord et al. 2017, https://arxiv.org/abs/1711.00937, section 3.1. Distances are computed in float32. The
    gradient passes as if nothing had been replaced; the codebook learns by a loss of its own.

    Weight: `embeddings` (num_codes, width of a code).
    """

    TENSORS = {"embeddings": ("embedding.weight", "same")}

    def __init__(self, num_codes, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if type(num_codes) is not int or num_codes < 1:
            raise ValueError(f"num_codes must be an int of at least 1, got {num_codes!r}")
        self.num_codes = num_codes

    def build(self, input_shape) -> None:
        start = keras.initializers.RandomUniform(-1 / self.num_codes, 1 / self.num_codes)
        shape = (self.num_codes, input_shape[-1])
        self.embeddings = self.add_weight(shape, initializer=start, autocast=False, name="embeddings")

    def codes(self, inputs) -> Any:
        """The number of the nearest code for each vector, int32 (batch, height, width)."""
        vectors, table = ops.cast(inputs, "float32"), ops.convert_to_tensor(self.embeddings)
        # The squared length of the vector itself is the same for all codes.
        distances = ops.sum(table * table, axis=-1) - 2 * ops.matmul(vectors, ops.transpose(table))
        return ops.argmin(distances, axis=-1)

    def call(self, inputs) -> Any:
        vectors = ops.cast(inputs, "float32")
        nearest = ops.take(ops.convert_to_tensor(self.embeddings), self.codes(inputs), axis=0)
        return ops.cast(vectors + ops.stop_gradient(nearest - vectors), self.compute_dtype)

    def compute_output_spec(self, inputs) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

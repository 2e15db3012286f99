"""AutoencoderKL: pictures to the mean and variance of small latents, and latents back to pictures.

Rombach et al. 2022, https://arxiv.org/abs/2112.10752, section 3.1, as Stable Diffusion has it (KL-f8). Layer names
follow `diffusers`' `AutoencoderKL`.
"""

import keras
from keras import layers

from kzoo.layers import autoencoders

TASK = "image_autoencoding"
INPUTS = {"image": "sample", "latents": "sample"}
AGREES_WITH = "`diffusers.AutoencoderKL`"
VARIANTS = {
    "autoencoder_kl_f8": {},
    "autoencoder_kl_small": {"filters": (32, 64, 64), "num_layers": 1, "num_groups": 8, "input_shape": (32, 32, 3)},
}
OTHER_HEADS = (r"(encoder|quant_conv|decoder|post_quant_conv)\.",)  # of the other half, where one is built alone
NAMES = {
    "diffusers": {},
    "older": {
        "{}.attentions.{}.query.{}": "{}.attentions.{}.to_q.{}",
        "{}.attentions.{}.key.{}": "{}.attentions.{}.to_k.{}",
        "{}.attentions.{}.value.{}": "{}.attentions.{}.to_v.{}",
        "{}.attentions.{}.proj_attn.{}": "{}.attentions.{}.to_out.0.{}",
    },
}
CONFIG = {
    "diffusers": {
        "models": {"AutoencoderKL": {}},
        "keywords": {
            "block_out_channels": "filters",
            "layers_per_block": "num_layers",
            "latent_channels": "latent_channels",
            "norm_num_groups": "num_groups",
            "mid_block_add_attention": "with_attention",
            "scaling_factor": "scaling_factor",
            "in_channels": ("input_shape", 2),
            "out_channels": ("input_shape", 2),
            "sample_size": ("input_shape", 0, 1),
        },
        "defaults": {"norm_num_groups": 32, "mid_block_add_attention": True, "scaling_factor": 0.18215},
        "each": {
            "down_block_types": ("DownEncoderBlock2D", "filters"),
            "up_block_types": ("UpDecoderBlock2D", "filters"),
        },
        "values": {
            "act_fn": ("silu", None),
            "latents_mean": (None,),
            "latents_std": (None,),
            "shift_factor": (None,),
            "use_post_quant_conv": (True, None),
            "use_quant_conv": (True, None),
        },
        "ignored": ("force_upcast",),
    },
}


def build(
    filters=(128, 256, 512, 512),
    num_layers=2,
    latent_channels=4,
    num_groups=32,
    with_attention=True,
    scaling_factor=0.18215,
    half="both",
    input_shape=(512, 512, 3),
    name="autoencoder_kl_f8",
) -> keras.Model:
    """Pictures to the moments of their latents, and latents to pictures: two graphs side by side in one model.

    Inputs: `image` float32 (batch, height, width, channels) in [-1, 1], and `latents` float32 (batch, height / 8,
    width / 8, latent_channels) with the four levels of the usual `filters`, which need not belong to each other.
    Outputs, float32: `moments` (batch, height / 8, width / 8, 2 * latent_channels), the means and then the logarithms
    of the variances, to be cut to [-30, 20]; `decoded` in the shape of `image`.

    `half` is "both", or "encoder" or "decoder" for one of them alone, from its one input to its one output, which reads
    a file of both. Diffusion works on latents times `scaling_factor`, which the graph leaves to its caller.

    Raises ValueError for an unknown half, a height or width that cannot be halved, and groups that do not divide a
    width.
    """
    autoencoders.check(name, half, filters, input_shape)
    inputs, outputs = autoencoders.inputs_of(half, filters, input_shape, latent_channels), {}
    sizes = {"filters": filters, "num_layers": num_layers, "num_groups": num_groups, "with_attention": with_attention}
    if "image" in inputs:
        x = autoencoders.encoder(inputs["image"], num_outputs=2 * latent_channels, **sizes)
        outputs["moments"] = layers.Conv2D(2 * latent_channels, 1, dtype="float32", name="quant_conv")(x)
    if "latents" in inputs:
        x = layers.Conv2D(latent_channels, 1, name="post_quant_conv")(inputs["latents"])
        outputs["decoded"] = autoencoders.decoder(x, num_outputs=input_shape[2], **sizes)
    return autoencoders.model_of(inputs, outputs, name)

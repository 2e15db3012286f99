"""VQModel: pictures to latents, and latents by way of the nearest vectors of a codebook back to pictures.

Rombach et al. 2022, https://arxiv.org/abs/2112.10752, section 3.1 and table 8 (VQ-f4), after Esser et al. 2020,
https://arxiv.org/abs/2012.09841. Layer names follow `diffusers`' `VQModel`.
"""

import keras
from keras import layers

from kzoo.layers import autoencoders

TASK = "image_autoencoding"
INPUTS = {"image": "sample", "latents": "sample"}
AGREES_WITH = "`diffusers.VQModel`"
VARIANTS = {
    "vq_f4": {},
    "vq_small": {
        "filters": (32, 64, 64),
        "num_layers": 1,
        "num_codes": 256,
        "num_groups": 8,
        "input_shape": (32, 32, 3),
    },
}
OTHER_HEADS = (r"(encoder|quant_conv|quantize|decoder|post_quant_conv)\.",)  # of the other half, where one is alone
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
        "models": {"VQModel": {}},
        "keywords": {
            "block_out_channels": "filters",
            "layers_per_block": "num_layers",
            "latent_channels": "latent_channels",
            "num_vq_embeddings": "num_codes",
            "vq_embed_dim": "code_dim",
            "norm_num_groups": "num_groups",
            "mid_block_add_attention": "with_attention",
            "scaling_factor": "scaling_factor",
            "in_channels": ("input_shape", 2),
            "out_channels": ("input_shape", 2),
            "sample_size": ("input_shape", 0, 1),
        },
        # Files from before there was a factor are of models that need none, whatever diffusers takes for it.
        "defaults": {"norm_num_groups": 32, "mid_block_add_attention": True, "scaling_factor": 1.0},
        "follows": {"code_dim": "latent_channels"},
        "each": {
            "down_block_types": ("DownEncoderBlock2D", "filters"),
            "up_block_types": ("UpDecoderBlock2D", "filters"),
        },
        "values": {"act_fn": ("silu", None), "lookup_from_codebook": (False, None), "norm_type": ("group", None)},
        "ignored": ("force_upcast",),
    },
}


def build(
    filters=(128, 256, 512),
    num_layers=2,
    latent_channels=3,
    num_codes=8192,
    code_dim=None,
    num_groups=32,
    with_attention=True,
    scaling_factor=1.0,
    half="both",
    input_shape=(256, 256, 3),
    name="vq_f4",
) -> keras.Model:
    """Pictures to latents, and latents to pictures: two graphs side by side in one model.

    Inputs: `image` float32 (batch, height, width, channels) in [-1, 1], and `latents` float32 (batch, height / 4,
    width / 4, code_dim) with the three levels of the usual `filters`, which need not belong to each other.
    Outputs, float32: `encoded` in the shape of `latents`, before anything is replaced by the codebook; `decoded` in the
    shape of `image`, from the nearest of `num_codes` vectors. `code_dim` is `latent_channels` by default.

    `half` is "both", or "encoder" or "decoder" for one of them alone, from its one input to its one output, which reads
    a file of both. Diffusion works on latents times `scaling_factor`, which the graph leaves to its caller.

    Raises ValueError for an unknown half, a height or width that cannot be halved, and groups that do not divide a
    width.
    """
    code_dim = latent_channels if code_dim is None else code_dim
    autoencoders.check(name, half, filters, input_shape)
    inputs, outputs = autoencoders.inputs_of(half, filters, input_shape, code_dim), {}
    sizes = {"filters": filters, "num_layers": num_layers, "num_groups": num_groups, "with_attention": with_attention}
    if "image" in inputs:
        x = autoencoders.encoder(inputs["image"], num_outputs=latent_channels, **sizes)
        outputs["encoded"] = layers.Conv2D(code_dim, 1, dtype="float32", name="quant_conv")(x)
    if "latents" in inputs:
        x = autoencoders.VectorQuantizer(num_codes, name="quantize")(inputs["latents"])
        x = layers.Conv2D(latent_channels, 1, name="post_quant_conv")(x)
        outputs["decoded"] = autoencoders.decoder(x, num_outputs=input_shape[2], **sizes)
    return autoencoders.model_of(inputs, outputs, name)

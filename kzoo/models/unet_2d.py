"""UNet2D: a U-Net that finds the noise in a picture, or in its latents, at a step of diffusion.

Ho et al. 2020, https://arxiv.org/abs/2006.11239, appendix B, and Rombach et al. 2022,
https://arxiv.org/abs/2112.10752. Layer names follow `diffusers`' `UNet2DModel`.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers import unets

TASK = "image_diffusion"
INPUTS = {"sample": "sample", "timestep": "timestep"}
AGREES_WITH = "`diffusers.UNet2DModel`"
VARIANTS = {
    "unet_2d_cifar10": {
        "filters": (128, 256, 256, 256),
        "down_blocks": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_blocks": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        "epsilon": 1e-6,
        "downsample_padding": 0,
        "cosines_first": False,
        "frequency_shift": 1,
        "input_shape": (32, 32, 3),
    },
    "unet_2d_celebahq": {"head_dim": 32},
    "unet_2d_tiny": {
        "filters": (32, 64),
        "down_blocks": ("DownBlock2D", "AttnDownBlock2D"),
        "up_blocks": ("AttnUpBlock2D", "UpBlock2D"),
        "head_dim": 8,
        "input_shape": (32, 32, 3),
    },
}
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
        "models": {"UNet2DModel": {}},
        "keywords": {
            "block_out_channels": "filters",
            "down_block_types": "down_blocks",
            "up_block_types": "up_blocks",
            "layers_per_block": "num_layers",
            "attention_head_dim": "head_dim",
            "norm_num_groups": "num_groups",
            "norm_eps": "epsilon",
            "downsample_padding": "downsample_padding",
            "flip_sin_to_cos": "cosines_first",
            "freq_shift": "frequency_shift",
            "in_channels": ("input_shape", 2),
            "sample_size": ("input_shape", 0, 1),
            "out_channels": "num_outputs",
        },
        "defaults": {"attention_head_dim": 8},
        "values": {
            "act_fn": ("silu", None),
            "add_attention": (True, None),
            "attn_norm_num_groups": (None,),
            "center_input_sample": (False, None),
            "class_embed_type": (None,),
            "downsample_type": ("conv", None),
            "mid_block_scale_factor": (1, None),
            "mid_block_type": ("UNetMidBlock2D", None),
            "num_class_embeds": (None,),
            "resnet_time_scale_shift": ("default", None),
            "time_embedding_dim": (None,),
            "time_embedding_type": ("positional", None),
            "upsample_type": ("conv", None),
        },
        "ignored": ("num_train_timesteps",),  # of a learned embedding of time
    },
}
_DOWN, _UP = ("DownBlock2D", "AttnDownBlock2D"), ("UpBlock2D", "AttnUpBlock2D")


def build(
    filters=(224, 448, 672, 896),
    down_blocks=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
    up_blocks=("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    num_layers=2,
    head_dim=None,
    num_groups=32,
    epsilon=1e-5,
    downsample_padding=1,
    cosines_first=True,
    frequency_shift=0,
    dropout=0.0,
    input_shape=(64, 64, 3),
    num_outputs=3,
    name="unet_2d_cifar10",
) -> keras.Model:
    """A noisy picture and how far its diffusion has gone, to what the network predicts, such as the noise in it.

    Inputs: `sample` float32 (batch, height, width, channels), `timestep` (batch,), whole or not, from 0.
    Output: float32 (batch, height, width, num_outputs).

    `filters` has the width of each level, from the full size down; every level but the last halves height and width.
    `down_blocks` and `up_blocks` are, in the order of the graph, `diffusers`' names of what a level has: `DownBlock2D`
    and `UpBlock2D`, or `AttnDownBlock2D` and `AttnUpBlock2D` with attention after each of the `num_layers` residual
    blocks. `head_dim` is the width of a head; by default there is one. `downsample_padding` is 1, or 0 for one row and
    column at the end alone.

    Raises ValueError for another number of blocks than filters, an unknown block, groups or heads that do not divide a
    width, and a height or width that cannot be halved.
    """
    unets.check_levels(name, filters, down_blocks=down_blocks, up_blocks=up_blocks)
    unets.check_kinds(name, down_blocks=(down_blocks, _DOWN), up_blocks=(up_blocks, _UP))
    unets.check_halves(name, input_shape, len(filters))
    sample, timestep = keras.Input(input_shape, name="sample"), keras.Input((), name="timestep")
    time = unets.time_embedding(timestep, filters[0], cosines_first, frequency_shift)
    norms = {"num_groups": num_groups, "epsilon": epsilon}
    residual = partial(unets.residual_block, time=time, dropout=dropout, **norms)

    def attend(x, level, place):
        return unets.pixel_attention(x, head_dim, **norms, name=place)

    attends = [kind == _DOWN[1] for kind in down_blocks], [kind == _UP[1] for kind in up_blocks]
    x = layers.Conv2D(filters[0], 3, padding="same", name="conv_in")(sample)
    x = unets.u_net(x, filters, attends, num_layers, downsample_padding, residual, attend)
    x = unets.to_channels(x, num_outputs, **norms, dtype="float32")
    return keras.Model({"sample": sample, "timestep": timestep}, x, name=name)

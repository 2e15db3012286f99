"""UNetCondition: a U-Net that finds the noise in a picture's latents, given what a text encoder says of a text.

Rombach et al. 2022, https://arxiv.org/abs/2112.10752, section 3.3 and figure 3, as Stable Diffusion has it. Layer names
follow `diffusers`' `UNet2DConditionModel`.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers import DotProductAttention, Split, gelu, unets
from kzoo.layers.attention import check_heads

TASK = "image_diffusion"
INPUTS = {"sample": "sample", "timestep": "timestep", "encoder_hidden_states": "hidden_states"}
AGREES_WITH = "`diffusers.UNet2DConditionModel`"
VARIANTS = {
    "unet_condition_sd1": {},
    "unet_condition_sd2": {
        "num_heads": (5, 10, 20, 20),
        "context_dim": 1024,
        "linear_projection": True,
        "input_shape": (96, 96, 4),
    },
    "unet_condition_tiny": {
        "filters": (32, 64),
        "down_blocks": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_blocks": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "num_heads": (8, 8),
        "context_dim": 32,
        "input_shape": (32, 32, 4),
    },
}
LORA_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
CONFIG = {
    "diffusers": {
        "models": {"UNet2DConditionModel": {}},
        "keywords": {
            "block_out_channels": "filters",
            "down_block_types": "down_blocks",
            "up_block_types": "up_blocks",
            "layers_per_block": "num_layers",
            "attention_head_dim": "num_heads",  # which is what the name means there
            "cross_attention_dim": "context_dim",
            "use_linear_projection": "linear_projection",
            "norm_num_groups": "num_groups",
            "norm_eps": "epsilon",
            "downsample_padding": "downsample_padding",
            "flip_sin_to_cos": "cosines_first",
            "freq_shift": "frequency_shift",
            "in_channels": ("input_shape", 2),
            "sample_size": ("input_shape", 0, 1),
            "out_channels": "num_outputs",
        },
        "defaults": {"attention_head_dim": 8, "use_linear_projection": False, "downsample_padding": 1},
        "repeated": {"num_heads": "filters"},
        "values": {
            "act_fn": ("silu", None),
            "addition_embed_type": (None,),
            "attention_type": ("default", None),
            "center_input_sample": (False, None),
            "class_embed_type": (None,),
            "class_embeddings_concat": (False, None),
            "conv_in_kernel": (3, None),
            "conv_out_kernel": (3, None),
            "cross_attention_norm": (None,),
            "dual_cross_attention": (False, None),
            "encoder_hid_dim": (None,),
            "encoder_hid_dim_type": (None,),
            "mid_block_only_cross_attention": (None, False),
            "mid_block_scale_factor": (1, None),
            "mid_block_type": ("UNetMidBlock2DCrossAttn", None),
            "num_attention_heads": (None,),
            "num_class_embeds": (None,),
            "only_cross_attention": (False, None),
            "resnet_out_scale_factor": (1.0, None),
            "resnet_skip_time_act": (False, None),
            "resnet_time_scale_shift": ("default", None),
            "reverse_transformer_layers_per_block": (None,),
            "time_cond_proj_dim": (None,),
            "time_embedding_act_fn": (None,),
            "time_embedding_dim": (None,),
            "time_embedding_type": ("positional", None),
            "timestep_post_act": (None,),
            "transformer_layers_per_block": (1, None),
        },
        # the softmax is always in float32 here; the rest means something only beside embeddings that are refused
        "ignored": (
            "upcast_attention",
            "addition_embed_type_num_heads",
            "addition_time_embed_dim",
            "projection_class_embeddings_input_dim",
        ),
    },
}
_DOWN, _UP = ("DownBlock2D", "CrossAttnDownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")


def attention(x, context, num_heads, name) -> keras.KerasTensor:
    """Attention of the places of x to those of `context`; only the last projection has a bias."""
    sources = {"q": x, "k": context, "v": context}
    projected = [
        layers.Dense(x.shape[-1], use_bias=False, name=f"{name}.to_{part}")(source) for part, source in sources.items()
    ]
    return layers.Dense(x.shape[-1], name=f"{name}.to_out.0")(DotProductAttention(num_heads, name=name)(*projected))


def feed_forward(x, name) -> keras.KerasTensor:
    """A linear map gated by another (Shazeer 2020, https://arxiv.org/abs/2002.05202), and one back."""
    width = x.shape[-1]
    both = layers.Dense(8 * width, name=f"{name}.net.0.proj")(x)
    content, gate = Split(2, name=f"{name}.net.0.split")(both)
    gate = layers.Activation(gelu, name=f"{name}.net.0.gelu")(gate)
    x = layers.Multiply(name=f"{name}.net.0")([content, gate])
    return layers.Dense(width, name=f"{name}.net.2")(x)


def transformer_block(x, context, num_heads, name) -> keras.KerasTensor:
    """Attention to all pixels, attention to the text, and a feed-forward network, each added to x."""
    norm = partial(layers.LayerNormalization, epsilon=1e-5)
    steps = {
        "attn1": lambda y, place: attention(y, y, num_heads, place),
        "attn2": lambda y, place: attention(y, context, num_heads, place),
        "ff": feed_forward,
    }
    for index, (part, step) in enumerate(steps.items(), 1):
        y = step(norm(name=f"{name}.norm{index}")(x), f"{name}.{part}")
        x = layers.Add(name=f"{name}.add{index}")([x, y])
    return x


def text_attention(x, context, num_heads, num_groups, linear_projection, name) -> keras.KerasTensor:
    """A Transformer block over the pixels of x (batch, height, width, channels), added to x."""
    channels = x.shape[-1]
    check_heads(num_heads, channels)
    y = unets.group_norm(x, num_groups, 1e-6, f"{name}.norm")
    # The same function twice: what differs is how a checkpoint stores the two projections.
    project = partial(layers.Dense, channels) if linear_projection else partial(layers.Conv2D, channels, 1)
    y = y if linear_projection else project(name=f"{name}.proj_in")(y)
    y = layers.Reshape((-1, channels), name=f"{name}.pixels")(y)
    y = project(name=f"{name}.proj_in")(y) if linear_projection else y
    y = transformer_block(y, context, num_heads, f"{name}.transformer_blocks.0")
    y = project(name=f"{name}.proj_out")(y) if linear_projection else y
    y = unets.LikeGrid(name=f"{name}.grid")([y, x])
    y = y if linear_projection else project(name=f"{name}.proj_out")(y)
    return layers.Add(name=f"{name}.add")([x, y])


def build(
    filters=(320, 640, 1280, 1280),
    down_blocks=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    up_blocks=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    num_layers=2,
    num_heads=(8, 8, 8, 8),
    context_dim=768,
    linear_projection=False,
    num_groups=32,
    epsilon=1e-5,
    downsample_padding=1,
    cosines_first=True,
    frequency_shift=0,
    dropout=0.0,
    input_shape=(64, 64, 4),
    num_outputs=4,
    name="unet_condition_sd1",
) -> keras.Model:
    """Noisy latents, how far their diffusion has gone and a text's hidden states, to what the network predicts.

    Inputs: `sample` float32 (batch, height, width, channels), `timestep` (batch,), whole or not, from 0,
    `encoder_hidden_states` float32 (batch, length, context_dim), all of whose places are read.
    Output: float32 (batch, height, width, num_outputs).

    `filters` has the width of each level, from the full size down, and `num_heads` its attention heads; every level but
    the last halves height and width. `down_blocks` and `up_blocks` are, in the order of the graph, `diffusers`' names
    of what a level has: `DownBlock2D` and `UpBlock2D`, or `CrossAttnDownBlock2D` and `CrossAttnUpBlock2D` with a
    Transformer block after each of the `num_layers` residual blocks. `linear_projection` says how a checkpoint stores
    the projections around that block.

    Raises ValueError for another number of blocks or heads than filters, an unknown block, groups or heads that do not
    divide a width, and a height or width that cannot be halved.
    """
    unets.check_levels(name, filters, down_blocks=down_blocks, up_blocks=up_blocks, num_heads=num_heads)
    unets.check_kinds(name, down_blocks=(down_blocks, _DOWN), up_blocks=(up_blocks, _UP))
    unets.check_halves(name, input_shape, len(filters))
    inputs = {
        "sample": keras.Input(input_shape, name="sample"),
        "timestep": keras.Input((), name="timestep"),
        "encoder_hidden_states": keras.Input((None, context_dim), name="encoder_hidden_states"),
    }
    time = unets.time_embedding(inputs["timestep"], filters[0], cosines_first, frequency_shift)
    norms = {"num_groups": num_groups, "epsilon": epsilon}
    residual = partial(unets.residual_block, time=time, dropout=dropout, **norms)

    def attend(x, level, place):
        return text_attention(
            x, inputs["encoder_hidden_states"], num_heads[level], num_groups, linear_projection, place
        )

    attends = [kind == _DOWN[1] for kind in down_blocks], [kind == _UP[1] for kind in up_blocks]
    x = layers.Conv2D(filters[0], 3, padding="same", name="conv_in")(inputs["sample"])
    x = unets.u_net(x, filters, attends, num_layers, downsample_padding, residual, attend)
    x = unets.to_channels(x, num_outputs, **norms, dtype="float32")
    return keras.Model(inputs, x, name=name)

"""ViT: a Transformer over image patches, for image classification.

Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929, figure 1 and table 1: pre-norm, exact GELU, a class token,
learned positions. Tiny and small are the sizes of DeiT (Touvron et al. 2021, https://arxiv.org/abs/2012.12877, table
1). Layer names follow torchvision's checkpoints; those of timm and DeiT are renamed when they are loaded.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers import ClassToken, DotProductAttention, LearnedPositions, Split, gelu
from kzoo.layers.images import image_input, logits_or_features

TASK = "image_classification"
INPUTS = {"image": "image"}
AGREES_WITH = "torchvision, timm"
VARIANTS = {
    "vit_b_16": {"patch_size": 16, "num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072},
    "vit_b_32": {"patch_size": 32, "num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072},
    "vit_l_16": {"patch_size": 16, "num_layers": 24, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096},
    "vit_l_32": {"patch_size": 32, "num_layers": 24, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096},
    "vit_ti_16": {"patch_size": 16, "num_layers": 12, "hidden_dim": 192, "num_heads": 3, "intermediate_dim": 768},
    "vit_s_16": {"patch_size": 16, "num_layers": 12, "hidden_dim": 384, "num_heads": 6, "intermediate_dim": 1536},
}
HEADLESS = "feature_extraction"
LORA_LAYERS = ("in_proj",)
# parameters that torch keeps in a module without one of their own
LAYOUTS = {
    "in_proj": {"kernel": ("{}_weight", "kernel"), "bias": ("{}_bias", "same")},
    "pos_embedding": {"embeddings": ("{}", "row")},
}
GRIDS = {"encoder.pos_embedding": "patch_size"}
HEAD = ("heads.head",)
OTHER_HEADS = (r"(vit\.)?pooler\.",)  # a map of the class token that `ViTModel` has and classifiers have not
CONFIG = {
    "vit": {
        "models": {
            "ViTForImageClassification": {"num_classes": "id2label"},
            "ViTModel": {"num_classes": 0},
        },
        "problems": {
            "one label": "regression",
            "regression": "regression",
            "multi_label_classification": "multilabel_classification",
        },
        "keywords": {
            "num_hidden_layers": "num_layers",
            "hidden_size": "hidden_dim",
            "num_attention_heads": "num_heads",
            "intermediate_size": "intermediate_dim",
            "hidden_dropout_prob": "dropout",
            "patch_size": "patch_size",
            "layer_norm_eps": "epsilon",
            "image_size": ("input_shape", 0, 1),
            "num_channels": ("input_shape", 2),
        },
        "values": {
            "hidden_act": ("gelu", "gelu_python", None),
            "qkv_bias": (True, None),
        },
        "ignored": ("encoder_stride", "pooler_*"),  # of the head that masks patches, and of one that is not built
    },
    "timm": {
        "models": {
            "vit_base_patch16_224": {"model": "vit_b_16"},
            "vit_base_patch16_384": {"model": "vit_b_16", "input_shape": (384, 384, 3)},
            "vit_base_patch32_224": {"model": "vit_b_32"},
            "vit_base_patch32_384": {"model": "vit_b_32", "input_shape": (384, 384, 3)},
            "vit_large_patch16_224": {"model": "vit_l_16"},
            "vit_large_patch16_384": {"model": "vit_l_16", "input_shape": (384, 384, 3)},
            "vit_large_patch32_224": {"model": "vit_l_32"},
            "vit_large_patch32_384": {"model": "vit_l_32", "input_shape": (384, 384, 3)},
            "vit_small_patch16_224": {"model": "vit_s_16"},
            "vit_small_patch16_384": {"model": "vit_s_16", "input_shape": (384, 384, 3)},
            "vit_small_patch32_224": {"model": "vit_s_16", "patch_size": 32},
            "vit_small_patch32_384": {"model": "vit_s_16", "patch_size": 32, "input_shape": (384, 384, 3)},
            "vit_tiny_patch16_224": {"model": "vit_ti_16"},
            "vit_tiny_patch16_384": {"model": "vit_ti_16", "input_shape": (384, 384, 3)},
            "deit_base_patch16_224": {"model": "vit_b_16"},
            "deit_base_patch16_384": {"model": "vit_b_16", "input_shape": (384, 384, 3)},
            "deit_small_patch16_224": {"model": "vit_s_16"},
            "deit_tiny_patch16_224": {"model": "vit_ti_16"},
            "vit_b_16": {"model": "vit_b_16"},
            "vit_b_32": {"model": "vit_b_32"},
            "vit_l_16": {"model": "vit_l_16"},
            "vit_l_32": {"model": "vit_l_32"},
        },
        "keywords": {
            "num_classes": "num_classes",
            "pretrained_cfg.input_size": ("input_shape", 2, 0, 1),
            "model_args.num_classes": "num_classes",
            "model_args.in_chans": ("input_shape", 2),
            "model_args.img_size": ("input_shape", 0, 1),
            "model_args.depth": "num_layers",
            "model_args.embed_dim": "hidden_dim",
            "model_args.num_heads": "num_heads",
        },
        "values": {"global_pool": ("token", None), "model_args.global_pool": ("token", None)},
        "ignored": ("model_args.*_rate", "model_args.mlp_ratio"),  # the shapes of the weights say the latter
    },
}
NAMES = {
    "torchvision": {},
    "torchvision_0.13": {
        "encoder.layers.encoder_layer_{}.mlp.linear_1.{}": "encoder.layers.encoder_layer_{}.mlp.0.{}",
        "encoder.layers.encoder_layer_{}.mlp.linear_2.{}": "encoder.layers.encoder_layer_{}.mlp.3.{}",
    },
    "timm": {
        "cls_token": "class_token",
        "pos_embed": "encoder.pos_embedding",
        "patch_embed.proj.{}": "conv_proj.{}",
        "blocks.{}.norm1.{}": "encoder.layers.encoder_layer_{}.ln_1.{}",
        "blocks.{}.attn.qkv.{}": "encoder.layers.encoder_layer_{}.self_attention.in_proj_{}",
        "blocks.{}.attn.proj.{}": "encoder.layers.encoder_layer_{}.self_attention.out_proj.{}",
        "blocks.{}.norm2.{}": "encoder.layers.encoder_layer_{}.ln_2.{}",
        "blocks.{}.mlp.fc1.{}": "encoder.layers.encoder_layer_{}.mlp.0.{}",
        "blocks.{}.mlp.fc2.{}": "encoder.layers.encoder_layer_{}.mlp.3.{}",
        "norm.{}": "encoder.ln.{}",
        "head.{}": "heads.head.{}",
    },
    # three projections in place of one
    "transformers": {
        "like": "timm",
        "vit.embeddings.cls_token": "cls_token",
        "vit.embeddings.position_embeddings": "pos_embed",
        "vit.embeddings.patch_embeddings.projection.{}": "patch_embed.proj.{}",
        "vit.encoder.layer.{}.layernorm_before.{}": "blocks.{}.norm1.{}",
        "vit.encoder.layer.{}.attention.attention.query.{}": "blocks.{}.attn.qkv.{}[0]",
        "vit.encoder.layer.{}.attention.attention.key.{}": "blocks.{}.attn.qkv.{}[1]",
        "vit.encoder.layer.{}.attention.attention.value.{}": "blocks.{}.attn.qkv.{}[2]",
        "vit.encoder.layer.{}.attention.output.dense.{}": "blocks.{}.attn.proj.{}",
        "vit.encoder.layer.{}.layernorm_after.{}": "blocks.{}.norm2.{}",
        "vit.encoder.layer.{}.intermediate.dense.{}": "blocks.{}.mlp.fc1.{}",
        "vit.encoder.layer.{}.output.dense.{}": "blocks.{}.mlp.fc2.{}",
        "vit.layernorm.{}": "norm.{}",
        "classifier.{}": "head.{}",
    },
    # ViTModel by itself
    "base_model": {
        "like": "transformers",
        "embeddings.{}": "vit.embeddings.{}",
        "encoder.layer.{}": "vit.encoder.layer.{}",
        "layernorm.{}": "vit.layernorm.{}",
        "classifier.{}": None,
    },
}


def self_attention(x, num_heads, name) -> keras.KerasTensor:
    """Multi-head self-attention whose query, key and value come from one projection, as torch stores them."""
    hidden_dim = x.shape[-1]
    projected = layers.Dense(3 * hidden_dim, name=f"{name}.in_proj")(x)
    query, key, value = Split(3, name=f"{name}.split")(projected)
    x = DotProductAttention(num_heads, name=name)(query, key, value)
    return layers.Dense(hidden_dim, name=f"{name}.out_proj")(x)


def encoder_layer(x, norm, num_heads, intermediate_dim, dropout, name) -> keras.KerasTensor:
    """Attention, then a two-layer network, each over normalised input and added to it: equations 2 and 3."""
    y = self_attention(norm(name=f"{name}.ln_1")(x), num_heads, f"{name}.self_attention")
    y = layers.Dropout(dropout, name=f"{name}.dropout")(y)
    x = layers.Add(name=f"{name}.add")([x, y])
    y = layers.Dense(intermediate_dim, activation=gelu, name=f"{name}.mlp.0")(norm(name=f"{name}.ln_2")(x))
    y = layers.Dropout(dropout, name=f"{name}.mlp.2")(y)
    y = layers.Dropout(dropout, name=f"{name}.mlp.4")(layers.Dense(x.shape[-1], name=f"{name}.mlp.3")(y))
    return layers.Add(name=name)([x, y])


def build(
    patch_size=16,
    num_layers=12,
    hidden_dim=768,
    num_heads=12,
    intermediate_dim=3072,
    dropout=0.0,
    epsilon=1e-6,
    input_shape=(224, 224, 3),
    num_classes=1000,
    name="vit_b_16",
) -> keras.Model:
    """Images (batch, height, width, channels) to logits (batch, num_classes) in float32.

    `num_classes=0` returns the class token's features; `epsilon` is that of layer normalisation. Raises ValueError for
    an image that `patch_size` does not divide or a hidden_dim that `num_heads` does not divide.
    """
    image = image_input(input_shape, patch_size, name)
    height, width, _ = input_shape
    if None in (height, width) or height % patch_size or width % patch_size:
        raise ValueError(
            f"{name}: the height and width of input_shape {tuple(input_shape)} must be known multiples of patch_size "
            f"{patch_size}; resize the images or choose another patch_size"
        )
    norm = partial(layers.LayerNormalization, epsilon=epsilon)
    num_patches = (height // patch_size) * (width // patch_size)
    # lecun_normal is torchvision's truncated normal of variance 1 / fan_in
    x = layers.Conv2D(hidden_dim, patch_size, patch_size, kernel_initializer="lecun_normal", name="conv_proj")(image)
    x = layers.Reshape((num_patches, hidden_dim), name="patches")(x)
    x = ClassToken(name="class_token")(x)
    x = LearnedPositions(num_patches + 1, keras.initializers.RandomNormal(stddev=0.02), name="encoder.pos_embedding")(x)
    x = layers.Dropout(dropout, name="encoder.dropout")(x)
    for index in range(num_layers):
        x = encoder_layer(x, norm, num_heads, intermediate_dim, dropout, f"encoder.layers.encoder_layer_{index}")
    x = norm(name="encoder.ln")(x)
    x = layers.Flatten(name="class_features")(layers.Cropping1D((0, num_patches), name="class_position")(x))
    return keras.Model(image, logits_or_features(x, num_classes, "heads.head"), name=name)

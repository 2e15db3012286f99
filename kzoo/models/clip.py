"""CLIP: a tower for pictures and one for texts, whose vectors are close where a text describes a picture.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4 and table 20: a ViT whose class token is projected,
and a causal Transformer whose last token is. OpenAI's towers have the GELU of sigmoids, LAION's (Cherti et al. 2022,
https://arxiv.org/abs/2212.07143) the exact one. Layer names follow Hugging Face's CLIPModel, `pre_layrnorm` included.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers import ClassToken, EndToken, LearnedPositions, Temperature, gelu, multi_head_attention, quick_gelu
from kzoo.layers.attention import check_heads
from kzoo.layers.images import image_input
from kzoo.support.suggest import did_you_mean

TASK = {"both": "image_text_matching", "image": "feature_extraction", "text": "sentence_embedding"}
INPUTS = {"image": "image", "token_ids": "tokens"}
AGREES_WITH = "`transformers.CLIPModel`"
VARIANTS = {
    "clip_b_32": {},
    "clip_b_16": {"patch_size": 16},
    "clip_l_14": {
        "patch_size": 14,
        "num_layers": (24, 12),
        "hidden_dim": (1024, 768),
        "num_heads": (16, 12),
        "intermediate_dim": (4096, 3072),
        "embedding_dim": 768,
    },
    "clip_l_14_336": {"like": "clip_l_14", "input_shape": (336, 336, 3)},
    "clip_laion_b_32": {"activation": "gelu"},
    "clip_laion_l_14": {"like": "clip_l_14", "activation": "gelu"},
    "clip_laion_h_14": {
        "patch_size": 14,
        "num_layers": (32, 24),
        "hidden_dim": (1280, 1024),
        "num_heads": (16, 16),
        "intermediate_dim": (5120, 4096),
        "embedding_dim": 1024,
        "activation": "gelu",
    },
    # for pictures of 32 pixels and short captions, in word pieces that kzoo learns
    "clip_small": {
        "patch_size": 8,
        "num_layers": (4, 2),
        "hidden_dim": (128, 96),
        "num_heads": (4, 3),
        "intermediate_dim": (512, 384),
        "embedding_dim": 96,
        "vocabulary_size": 2000,
        "max_length": 24,
        "end_id": 3,
        "input_shape": (32, 32, 3),
    },
}
LORA_LAYERS = ("q_proj", "v_proj")
LAYOUTS = {"class_embedding": {"embedding": ("{}", "flat")}}
GRIDS = {"vision_model.embeddings.position_embedding": "patch_size"}
# of the other tower, where one is built alone; and the places of tokens and patches that early files number
OTHER_HEADS = (r"(text_model|vision_model|text_projection|visual_projection)\.", r"logit_scale$")
TRAINING_ONLY = (r"(text_model|vision_model)\.embeddings\.position_ids$",)
CONFIG = {
    "clip": {
        "models": {"CLIPModel": {"head": "both"}},
        "keywords": {
            "projection_dim": "embedding_dim",
            "vision_config.num_hidden_layers": ("num_layers", 0),
            "vision_config.hidden_size": ("hidden_dim", 0),
            "vision_config.num_attention_heads": ("num_heads", 0),
            "vision_config.intermediate_size": ("intermediate_dim", 0),
            "vision_config.patch_size": "patch_size",
            "vision_config.image_size": ("input_shape", 0, 1),
            "vision_config.num_channels": ("input_shape", 2),
            "vision_config.hidden_act": "activation",
            "vision_config.layer_norm_eps": "epsilon",
            "text_config.num_hidden_layers": ("num_layers", 1),
            "text_config.hidden_size": ("hidden_dim", 1),
            "text_config.num_attention_heads": ("num_heads", 1),
            "text_config.intermediate_size": ("intermediate_dim", 1),
            "text_config.vocab_size": "vocabulary_size",
            "text_config.max_position_embeddings": "max_length",
            "text_config.hidden_act": "activation",
            "text_config.layer_norm_eps": "epsilon",
            "text_config.eos_token_id": "end_id",
        },
        # what transformers leaves out because it is usual
        "defaults": {
            "projection_dim": 512,
            "vision_config.num_hidden_layers": 12,
            "vision_config.hidden_size": 768,
            "vision_config.num_attention_heads": 12,
            "vision_config.intermediate_size": 3072,
            "vision_config.patch_size": 32,
            "vision_config.image_size": 224,
            "vision_config.num_channels": 3,
            "vision_config.hidden_act": "quick_gelu",
            "vision_config.layer_norm_eps": 1e-5,
            "text_config.num_hidden_layers": 12,
            "text_config.hidden_size": 512,
            "text_config.num_attention_heads": 8,
            "text_config.intermediate_size": 2048,
            "text_config.vocab_size": 49408,
            "text_config.max_position_embeddings": 77,
            "text_config.hidden_act": "quick_gelu",
            "text_config.layer_norm_eps": 1e-5,
            "text_config.eos_token_id": 49407,
        },
        # OpenAI's first configurations say 2 and mean the highest id of a text
        "stands_for": {"text_config.eos_token_id": {2: None}},
        "values": {"vision_config.attention_dropout": (0.0, None), "text_config.attention_dropout": (0.0, None)},
        # the towers' own numbers of the same name are read by networks of one tower
        "ignored": ("logit_scale_init_value", "*_config.projection_dim"),
    },
    "clip_vision_model": {
        "models": {"CLIPVisionModelWithProjection": {"head": "image"}},
        "keywords": {
            "projection_dim": "embedding_dim",
            "num_hidden_layers": ("num_layers", 0),
            "hidden_size": ("hidden_dim", 0),
            "num_attention_heads": ("num_heads", 0),
            "intermediate_size": ("intermediate_dim", 0),
            "patch_size": "patch_size",
            "image_size": ("input_shape", 0, 1),
            "num_channels": ("input_shape", 2),
            "hidden_act": "activation",
            "layer_norm_eps": "epsilon",
        },
        "defaults": {"projection_dim": 512, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
        "values": {"attention_dropout": (0.0, None)},
    },
    "clip_text_model": {
        "models": {"CLIPTextModelWithProjection": {"head": "text"}},
        "keywords": {
            "projection_dim": "embedding_dim",
            "num_hidden_layers": ("num_layers", 1),
            "hidden_size": ("hidden_dim", 1),
            "num_attention_heads": ("num_heads", 1),
            "intermediate_size": ("intermediate_dim", 1),
            "vocab_size": "vocabulary_size",
            "max_position_embeddings": "max_length",
            "hidden_act": "activation",
            "layer_norm_eps": "epsilon",
            "eos_token_id": "end_id",
        },
        "defaults": {
            "projection_dim": 512,
            "vocab_size": 49408,
            "max_position_embeddings": 77,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "eos_token_id": 49407,
        },
        "stands_for": {"eos_token_id": {2: None}},
        "values": {"attention_dropout": (0.0, None)},
    },
}
_ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": gelu}


def normal(stddev) -> dict:
    """Initial weights, as OpenAI's code draws them."""
    return {"class_name": "RandomNormal", "config": {"stddev": stddev}}


def block(x, norm, activation, num_heads, intermediate_dim, num_layers, causal, dropout, name) -> keras.KerasTensor:
    """Attention, then a two-layer network, each over normalised input and added to it."""
    hidden_dim = x.shape[-1]
    start = normal((2 * num_layers * hidden_dim) ** -0.5)
    y = norm(name=f"{name}.layer_norm1")(x)
    y = multi_head_attention(y, y, num_heads, f"{name}.self_attn", causal=causal, kernel_initializer=start)
    y = layers.Dropout(dropout, name=f"{name}.self_attn.dropout")(y)
    x = layers.Add(name=f"{name}.self_attn.add")([x, y])
    y = norm(name=f"{name}.layer_norm2")(x)
    wide = normal((2 * hidden_dim) ** -0.5)
    y = layers.Dense(intermediate_dim, activation, kernel_initializer=wide, name=f"{name}.mlp.fc1")(y)
    y = layers.Dense(hidden_dim, kernel_initializer=start, name=f"{name}.mlp.fc2")(y)
    y = layers.Dropout(dropout, name=f"{name}.mlp.dropout")(y)
    return layers.Add(name=f"{name}.mlp.add")([x, y])


def image_tower(image, patch_size, hidden_dim, norm, encode) -> keras.KerasTensor:
    """Pictures to the class token's features (batch, hidden_dim)."""
    start, prefix = normal(hidden_dim**-0.5), "vision_model.embeddings"
    options = {"use_bias": False, "kernel_initializer": normal(0.02), "name": f"{prefix}.patch_embedding"}
    x = layers.Conv2D(hidden_dim, patch_size, patch_size, **options)(image)
    num_patches = x.shape[1] * x.shape[2]
    x = layers.Reshape((num_patches, hidden_dim), name="vision_model.patches")(x)
    x = ClassToken(name=f"{prefix}.class_embedding")(x)
    x = LearnedPositions(num_patches + 1, start, name=f"{prefix}.position_embedding")(x)
    x = encode(norm(name="vision_model.pre_layrnorm")(x), causal=False, name="vision_model.encoder.layers")
    x = layers.Flatten(name="vision_model.pooled")(layers.Cropping1D((0, num_patches), name="vision_model.first")(x))
    return norm(name="vision_model.post_layernorm")(x)


def text_tower(token_ids, vocabulary_size, max_length, end_id, hidden_dim, norm, encode) -> keras.KerasTensor:
    """Token ids to the features of the token that ends each text (batch, hidden_dim)."""
    prefix = "text_model.embeddings"
    options = {"embeddings_initializer": normal(0.02), "name": f"{prefix}.token_embedding"}
    x = layers.Embedding(vocabulary_size, hidden_dim, **options)(token_ids)
    x = LearnedPositions(max_length, normal(0.01), name=f"{prefix}.position_embedding")(x)
    x = encode(x, causal=True, name="text_model.encoder.layers")
    return EndToken(end_id, name="text_model.end")(norm(name="text_model.final_layer_norm")(x), token_ids)


def projected(x, embedding_dim, name) -> keras.KerasTensor:
    """Features in the space that both towers share, float32."""
    start = normal(x.shape[-1] ** -0.5)
    return layers.Dense(embedding_dim, use_bias=False, kernel_initializer=start, dtype="float32", name=name)(x)


def build(
    patch_size=32,
    num_layers=(12, 12),
    hidden_dim=(768, 512),
    num_heads=(12, 8),
    intermediate_dim=(3072, 2048),
    embedding_dim=512,
    activation="quick_gelu",
    vocabulary_size=49408,
    max_length=77,
    end_id=None,
    dropout=0.0,
    epsilon=1e-5,
    input_shape=(224, 224, 3),
    head="both",
    name="clip_b_32",
) -> keras.Model:
    """Pictures (batch, height, width, channels) and token ids (batch, length) to vectors, float32.

    Pairs of numbers are of the tower of pictures and of that of texts. With `head="both"` the output is (batch, 2,
    embedding_dim): the picture's vector of length 1, and the text's times the learned temperature, so that the products
    of the two are the paper's logits. "image" and "text" give what the tower of one kind projects (batch,
    embedding_dim), of any length, as CLIPVisionModelWithProjection and CLIPTextModelWithProjection do; both load the
    file of the whole. A text ends at the first `end_id`, by default at its highest id, and nothing after it counts.

    Raises ValueError for an unknown head or activation, a picture that `patch_size` does not divide, and a width that
    its heads do not divide.
    """
    if head not in TASK:
        raise ValueError(f"{name}: {did_you_mean('head', head, list(TASK))}")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"{name}: {did_you_mean('activation', activation, list(_ACTIVATIONS))}")
    for key, value in {"num_layers": num_layers, "hidden_dim": hidden_dim, "num_heads": num_heads,
                       "intermediate_dim": intermediate_dim}.items():  # fmt: skip
        if len(value) != 2:
            raise ValueError(f"{name}: {key} must have two numbers, of pictures and of texts, got {value!r}")
    if end_id is not None and not 0 <= end_id < vocabulary_size:
        raise ValueError(f"{name}: end_id must be None or an id below vocabulary_size {vocabulary_size}, got {end_id}")
    norm = partial(layers.LayerNormalization, epsilon=epsilon)

    def encode(x, which, causal, name):
        check_heads(num_heads[which], hidden_dim[which])
        for index in range(num_layers[which]):
            x = block(x, norm, _ACTIVATIONS[activation], num_heads[which], intermediate_dim[which], num_layers[which],
                      causal, dropout, f"{name}.{index}")  # fmt: skip
        return x

    inputs, towers = {}, []
    if head != "text":
        inputs["image"] = image_input(input_shape, patch_size, name)
        if None in input_shape or any(size % patch_size for size in input_shape[:2]):
            raise ValueError(
                f"{name}: the height and width of input_shape {tuple(input_shape)} must be known multiples of "
                f"patch_size {patch_size}; choose another input_shape or patch_size"
            )
        x = image_tower(inputs["image"], patch_size, hidden_dim[0], norm, partial(encode, which=0))
        towers.append(projected(x, embedding_dim, "visual_projection"))
    if head != "image":
        inputs["token_ids"] = keras.Input((None,), dtype="int32", name="token_ids")
        encode_text = partial(encode, which=1)
        x = text_tower(inputs["token_ids"], vocabulary_size, max_length, end_id, hidden_dim[1], norm, encode_text)
        towers.append(projected(x, embedding_dim, "text_projection"))
    if head != "both":
        return keras.Model(next(iter(inputs.values())), towers[0], name=name)
    image, text = (
        layers.UnitNormalization(dtype="float32", name=f"{kind}_embedding")(x)
        for kind, x in zip(("image", "text"), towers, strict=True)
    )
    text = Temperature(dtype="float32", name="logit_scale")(text)
    rows = [
        layers.Reshape((1, embedding_dim), dtype="float32", name=f"{kind}_row")(x)
        for kind, x in zip(("image", "text"), (image, text), strict=True)
    ]
    return keras.Model(inputs, layers.Concatenate(axis=1, dtype="float32", name="embeddings")(rows), name=name)

"""CLIPText: the causal text encoder of CLIP, whose hidden states latent diffusion reads.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4. Layer names follow Hugging Face's CLIPTextModel as
its files were published, with `text_model.` before every name; transformers 5 writes them without.
"""

import keras
from keras import layers

from kzoo.layers import LearnedPositions, gelu, multi_head_attention, quick_gelu
from kzoo.layers.attention import check_heads

TASK = "feature_extraction"
INPUTS = {"token_ids": "tokens"}
AGREES_WITH = "`transformers.CLIPTextModel`"
VARIANTS = {
    "clip_text_l_14": {},  # of OpenAI's CLIP ViT-L/14: Stable Diffusion 1
    # of LAION's OpenCLIP ViT-H/14 without its last block: Stable Diffusion 2
    "clip_text_h_14": {
        "num_layers": 23,
        "hidden_dim": 1024,
        "num_heads": 16,
        "intermediate_dim": 4096,
        "activation": "gelu",
    },
    "clip_text_small": {
        "num_layers": 2,
        "hidden_dim": 64,
        "num_heads": 2,
        "intermediate_dim": 256,
        "vocabulary_size": 1000,
        "max_length": 24,
    },
}
LORA_LAYERS = ("q_proj", "v_proj")
DERIVED = {"text_model.embeddings.position_ids": "computed"}
OTHER_HEADS = (r"text_projection\.",)
NAMES = {
    "transformers": {},
    "bare": {
        "embeddings.{}": "text_model.embeddings.{}",
        "encoder.{}": "text_model.encoder.{}",
        "final_layer_norm.{}": "text_model.final_layer_norm.{}",
    },
}
CONFIG = {
    "clip_text_model": {
        "models": {"CLIPTextModel": {}},
        "keywords": {
            "num_hidden_layers": "num_layers",
            "hidden_size": "hidden_dim",
            "num_attention_heads": "num_heads",
            "intermediate_size": "intermediate_dim",
            "hidden_act": "activation",
            "vocab_size": "vocabulary_size",
            "max_position_embeddings": "max_length",
        },
        # what transformers leaves out because it is usual
        "defaults": {
            "num_hidden_layers": 12,
            "hidden_size": 512,
            "num_attention_heads": 8,
            "intermediate_size": 2048,
            "hidden_act": "quick_gelu",
            "vocab_size": 49408,
            "max_position_embeddings": 77,
        },
        "values": {"attention_dropout": (0.0, None), "layer_norm_eps": (1e-5, None)},
        "ignored": ("projection_dim",),
    },
}
_ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": gelu}


def build(
    num_layers=12,
    hidden_dim=768,
    num_heads=12,
    intermediate_dim=3072,
    activation="quick_gelu",
    vocabulary_size=49408,
    max_length=77,
    name="clip_text_l_14",
) -> keras.Model:
    """Token ids, int32 (batch, length), to hidden states after the last norm, float32 (batch, length, hidden_dim).

    A token attends to those before it and to itself, padding included, as Stable Diffusion reads them: texts begin with
    the start token and are filled up to `max_length` with the end token.

    Raises ValueError for an unknown activation, a hidden_dim that num_heads does not divide and a text longer than
    max_length.
    """
    check_heads(num_heads, hidden_dim)
    if activation not in _ACTIVATIONS:
        raise ValueError(f"{name}: activation must be one of {', '.join(_ACTIVATIONS)}, got {activation!r}")
    normal = keras.initializers.RandomNormal

    def norm(x, place, **kwargs):
        return layers.LayerNormalization(epsilon=1e-5, name=f"text_model.{place}", **kwargs)(x)

    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    embedding = layers.Embedding(
        vocabulary_size, hidden_dim, normal(stddev=0.02), name="text_model.embeddings.token_embedding"
    )
    positions = LearnedPositions(max_length, normal(stddev=0.01), name="text_model.embeddings.position_embedding")
    x = positions(embedding(token_ids))
    for index in range(num_layers):
        place = f"encoder.layers.{index}"
        y = norm(x, f"{place}.layer_norm1")
        y = multi_head_attention(y, y, num_heads, f"text_model.{place}.self_attn", causal=True)
        x = layers.Add(name=f"text_model.{place}.add1")([x, y])
        y = norm(x, f"{place}.layer_norm2")
        y = layers.Dense(intermediate_dim, _ACTIVATIONS[activation], name=f"text_model.{place}.mlp.fc1")(y)
        y = layers.Dense(hidden_dim, name=f"text_model.{place}.mlp.fc2")(y)
        x = layers.Add(name=f"text_model.{place}.add2")([x, y])
    return keras.Model(token_ids, norm(x, "final_layer_norm", dtype="float32"), name=name)

"""GPT: a causal Transformer decoder that predicts the next token of a text.

GPT-2, Radford et al. 2019, https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf,
section 2.3: pre-norm, learned positions, output tied to the embedding; GELU in its tanh form, as the authors' code has
it. GPT-3, Brown et al. 2020, https://arxiv.org/abs/2005.14165, table 2.1: the same at other sizes and 2048 positions;
its every other layer attends sparsely, which changes no weight and is dense here. The paper's heads of XL (24 of 128)
and 13B (40 of 128) do not divide their widths of 2048 and 5140: here XL has 16 of 128 and 13B 20 of 257. GPT-1, Radford
et al. 2018, is post-norm. Layer names follow Hugging Face's GPT2LMHeadModel and OpenAIGPTLMHeadModel.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers import DotProductAttention, LearnedPositions, Split, gelu_tanh
from kzoo.layers.attention import check_heads

TASK = "language_modeling"
INPUTS = {"token_ids": "tokens", "padding_mask": "mask"}
AGREES_WITH = "`transformers.GPT2LMHeadModel`"
WRITES = "token_ids"
VARIANTS = {
    "gpt2": {"num_layers": 12, "hidden_dim": 768, "num_heads": 12},
    "gpt2_medium": {"num_layers": 24, "hidden_dim": 1024, "num_heads": 16},
    "gpt2_large": {"num_layers": 36, "hidden_dim": 1280, "num_heads": 20},
    "gpt2_xl": {"num_layers": 48, "hidden_dim": 1600, "num_heads": 25},
    "gpt1": {"like": "gpt2", "vocabulary_size": 40478, "max_length": 512, "post_norm": True},
    "gpt3_small": {"like": "gpt2", "max_length": 2048},
    "gpt3_medium": {"like": "gpt2_medium", "max_length": 2048},
    "gpt3_large": {"like": "gpt3_small", "num_layers": 24, "hidden_dim": 1536, "num_heads": 16},
    "gpt3_xl": {"like": "gpt3_small", "num_layers": 24, "hidden_dim": 2048, "num_heads": 16},
    "gpt3_2_7b": {"like": "gpt3_small", "num_layers": 32, "hidden_dim": 2560, "num_heads": 32},
    "gpt3_6_7b": {"like": "gpt3_small", "num_layers": 32, "hidden_dim": 4096, "num_heads": 32},
    "gpt3_13b": {"like": "gpt3_small", "num_layers": 40, "hidden_dim": 5140, "num_heads": 20},
    "gpt3_175b": {"like": "gpt3_small", "num_layers": 96, "hidden_dim": 12288, "num_heads": 96},
}
LORA_LAYERS = ("c_attn",)
# Hugging Face's "Conv1D" is a linear map whose matrix is stored (inputs, outputs)
LAYOUTS = {
    "c_attn": {"kernel": ("weight", "same")},
    "c_proj": {"kernel": ("weight", "same")},
    "c_fc": {"kernel": ("weight", "same")},
}
DERIVED = {"lm_head.weight": ("transformer.wte.weight", "transformer.tokens_embed.weight")}
# masks that early releases stored beside the weights
TRAINING_ONLY = (r"transformer\.h\.\d+\.attn\.(masked_)?bias$",)
NAMES = {
    "transformers": {},
    # GPT2Model and OpenAIGPTModel by themselves, as the files of OpenAI's releases are
    "base_model": {
        "wte.{}": "transformer.wte.{}",
        "wpe.{}": "transformer.wpe.{}",
        "tokens_embed.{}": "transformer.tokens_embed.{}",
        "positions_embed.{}": "transformer.positions_embed.{}",
        "h.{}": "transformer.h.{}",
        "ln_f.{}": "transformer.ln_f.{}",
    },
}

CONFIG = {
    "gpt2": {
        "models": {"GPT2LMHeadModel": {"post_norm": False}, "GPT2Model": {"post_norm": False}},
        "keywords": {
            "n_layer": "num_layers",
            "n_embd": "hidden_dim",
            "n_head": "num_heads",
            "n_positions": "max_length",
            "vocab_size": "vocabulary_size",
            "resid_pdrop": "dropout",
            "n_inner": "intermediate_dim",
        },
        "values": {
            "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", None),
            "layer_norm_epsilon": (1e-5, None),
            "scale_attn_weights": (True, None),
            "scale_attn_by_inverse_layer_idx": (False, None),
            "add_cross_attention": (False, None),
            "tie_word_embeddings": (True, None),
        },
        "ignored": ("n_ctx", "reorder_and_upcast_attn", "summary_*"),
    },
    "openai-gpt": {
        "models": {"OpenAIGPTLMHeadModel": {"post_norm": True}, "OpenAIGPTModel": {"post_norm": True}},
        "keywords": {
            "n_layer": "num_layers",
            "n_embd": "hidden_dim",
            "n_head": "num_heads",
            "n_positions": "max_length",
            "vocab_size": "vocabulary_size",
            "resid_pdrop": "dropout",
        },
        "values": {
            "afn": ("gelu", None),  # which means the form with tanh in this family
            "layer_norm_epsilon": (1e-5, None),
            "tie_word_embeddings": (True, None),
        },
        "ignored": ("n_ctx", "n_special", "predict_special_tokens", "summary_*"),
    },
}


def normal(stddev=0.02) -> dict:
    """The initial weights of GPT-1, section 4.1."""
    return {"class_name": "RandomNormal", "config": {"stddev": stddev}}


def norm(x, name) -> keras.KerasTensor:
    """Layer normalisation with the reference's epsilon."""
    return layers.LayerNormalization(epsilon=1e-5, name=name)(x)


def self_attention(x, padding_mask, num_heads, dropout, residual_stddev, name) -> keras.KerasTensor:
    """Attention to the real tokens up to the own position; query, key and value come from one projection."""
    hidden_dim = x.shape[-1]
    projected = layers.Dense(3 * hidden_dim, kernel_initializer=normal(), name=f"{name}.c_attn")(x)
    query, key, value = Split(3, name=f"{name}.split")(projected)
    attend = DotProductAttention(num_heads, causal=True, dropout=dropout, name=name)
    x = attend(query, key, value, padding_mask=padding_mask)
    x = layers.Dense(hidden_dim, kernel_initializer=normal(residual_stddev), name=f"{name}.c_proj")(x)
    return layers.Dropout(dropout, name=f"{name}.dropout")(x)


def feed_forward(x, intermediate_dim, dropout, residual_stddev, name) -> keras.KerasTensor:
    """Two position-wise linear maps with a GELU between."""
    y = layers.Dense(intermediate_dim, activation=gelu_tanh, kernel_initializer=normal(), name=f"{name}.c_fc")(x)
    y = layers.Dense(x.shape[-1], kernel_initializer=normal(residual_stddev), name=f"{name}.c_proj")(y)
    return layers.Dropout(dropout, name=f"{name}.dropout")(y)


def pre_norm_block(x, attention, mlp, name) -> keras.KerasTensor:
    """A block of GPT-2 and GPT-3: what is added to x is computed from x normalised."""
    y = attention(norm(x, f"{name}.ln_1"), name=f"{name}.attn")
    x = layers.Add(name=f"{name}.attn.add")([x, y])
    y = mlp(norm(x, f"{name}.ln_2"), name=f"{name}.mlp")
    return layers.Add(name=f"{name}.mlp.add")([x, y])


def post_norm_block(x, attention, mlp, name) -> keras.KerasTensor:
    """A block of GPT-1: every sum is normalised."""
    y = attention(x, name=f"{name}.attn")
    x = norm(layers.Add(name=f"{name}.attn.add")([x, y]), f"{name}.ln_1")
    y = mlp(x, name=f"{name}.mlp")
    return norm(layers.Add(name=f"{name}.mlp.add")([x, y]), f"{name}.ln_2")


def build(
    num_layers=12,
    hidden_dim=768,
    num_heads=12,
    intermediate_dim=None,
    dropout=0.1,
    vocabulary_size=50257,
    max_length=1024,
    post_norm=False,
    name="gpt2",
) -> keras.Model:
    """Token ids and their mask (1 = real), int32 (batch, length), to logits (batch, length, vocabulary_size), float32.

    The logits at position i depend on the tokens 0 ... i and predict token i + 1. Padding may stand on either side:
    positions are counted over real tokens, and no token attends to padding. `intermediate_dim`, the width between the
    two maps of a block, is four times `hidden_dim` by default.

    Raises ValueError for a hidden_dim that num_heads does not divide or a text longer than max_length.
    """
    check_heads(num_heads, hidden_dim)
    inputs = {key: keras.Input((None,), dtype="int32", name=key) for key in ("token_ids", "padding_mask")}
    words, places = ("tokens_embed", "positions_embed") if post_norm else ("wte", "wpe")
    embedding = layers.ReversibleEmbedding(
        vocabulary_size,
        hidden_dim,
        embeddings_initializer=normal(),
        reverse_dtype="float32",
        name=f"transformer.{words}",
    )
    x = embedding(inputs["token_ids"])
    x = LearnedPositions(max_length, normal(), name=f"transformer.{places}")(x, inputs["padding_mask"])
    x = layers.Dropout(dropout, name="transformer.drop")(x)
    # GPT-2, section 2.3: the layers that add to the residual path start smaller, the deeper the network
    start = {"dropout": dropout, "residual_stddev": 0.02 if post_norm else 0.02 * (2 * num_layers) ** -0.5}
    attention = partial(self_attention, padding_mask=inputs["padding_mask"], num_heads=num_heads, **start)
    feed = partial(feed_forward, intermediate_dim=intermediate_dim or 4 * hidden_dim, **start)
    block = post_norm_block if post_norm else pre_norm_block
    for index in range(num_layers):
        x = block(x, attention, feed, f"transformer.h.{index}")
    x = x if post_norm else norm(x, "transformer.ln_f")
    # The embedding declares its own dtype for the logits whatever it computes; this states float32.
    logits = layers.Activation("linear", dtype="float32", name="logits")(embedding(x, reverse=True))
    return keras.Model(inputs, logits, name=name)

"""Transformer: attention only, an encoder and a decoder, for translation.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, figure 1 and table 3: post-norm, ReLU, sinusoidal positions, one
embedding shared by encoder, decoder and output. The class in the founding text (docs/origins.md) means this model but
cannot run as printed: it passes the decoder's mask to torch as the memory, calls a `positional_encoding` that it never
defines, uses `math` without importing it, and puts 8 heads on a width of 8.

Layer names follow Hugging Face's MarianMTModel. `marian` is the size and form of the translation models by
Helsinki-NLP (Tiedemann, Thottingal 2020, https://aclanthology.org/2020.eamt-1.61): SiLU between the feed-forward maps,
sinusoids ordered [sines, cosines] and a fixed bias on the logits, which keeps padding from being predicted. Each
language pair has a vocabulary of its own size, which its config.json says.
"""

import math
from functools import partial

import keras
from keras import layers

from kzoo.layers import Bias, SinusoidalPositions, multi_head_attention
from kzoo.layers.positions import check_ordering

TASK = "translation"
INPUTS = {"encoder_token_ids": "tokens", "encoder_padding_mask": "mask", "decoder_token_ids": "tokens"}
AGREES_WITH = "`transformers.MarianMTModel`"
WRITES = "decoder_token_ids"
LORA_LAYERS = ("q_proj", "v_proj")
LAYOUTS = {"final_logits_bias": {"bias": ("{}", "row")}}  # a buffer of the network itself
VARIANTS = {
    "transformer_base": {"num_layers": 6, "hidden_dim": 512, "num_heads": 8, "intermediate_dim": 2048, "dropout": 0.1},
    "transformer_big": {"num_layers": 6, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096, "dropout": 0.3},
    "transformer_tiny": {
        "like": "transformer_base",
        "num_layers": 2,
        "hidden_dim": 128,
        "num_heads": 4,
        "intermediate_dim": 512,
        "vocabulary_size": 512,
    },
    "marian": {
        "like": "transformer_base",
        "vocabulary_size": 65001,
        "activation": "silu",
        "positions": "half_split",
        "logits_bias": True,
    },
}
# Tensors of the reference's checkpoints that are no weights of their own, and where each comes from.
DERIVED = {
    "lm_head.weight": ("model.shared.weight", "model.decoder.embed_tokens.weight"),
    "model.encoder.embed_tokens.weight": "model.shared.weight",
    "model.decoder.embed_tokens.weight": "model.shared.weight",
    "final_logits_bias": "zeros",
    "model.encoder.embed_positions.weight": "computed",
    "model.decoder.embed_positions.weight": "computed",
}
NAMES = {
    "transformers": {},
    # MarianModel by itself
    "base_model": {
        "shared.{}": "model.shared.{}",
        "encoder.{}": "model.encoder.{}",
        "decoder.{}": "model.decoder.{}",
        "final_logits_bias": None,
    },
}
CONFIG = {
    "marian": {
        "models": {"MarianMTModel": {"positions": "half_split", "logits_bias": True}},
        "keywords": {
            "encoder_layers": "num_layers",
            "decoder_layers": "num_decoder_layers",
            "d_model": "hidden_dim",
            "encoder_attention_heads": "num_heads",
            "decoder_attention_heads": "num_decoder_heads",
            "encoder_ffn_dim": "intermediate_dim",
            "decoder_ffn_dim": "decoder_intermediate_dim",
            "dropout": "dropout",
            "vocab_size": "vocabulary_size",
            "decoder_vocab_size": "vocabulary_size",
            "activation_function": "activation",
        },
        "follows": {
            "num_decoder_layers": "num_layers",
            "num_decoder_heads": "num_heads",
            "decoder_intermediate_dim": "intermediate_dim",
        },
        "otherwise": {
            "share_encoder_decoder_embeddings": {
                False: {"vocab_size": "source_vocabulary_size", "decoder_vocab_size": "vocabulary_size"},
            },
        },
        "values": {
            "scale_embedding": (True,),
            "static_position_embeddings": (True, None),
            "normalize_before": (False, None),
            "normalize_embedding": (False, None),
            "add_final_layer_norm": (False, None),
            "add_bias_logits": (False, None),
            "is_encoder_decoder": (True, None),
            "is_decoder": (False, None),
            "tie_word_embeddings": (True, None),
        },
        "ignored": ("num_hidden_layers", "max_position_embeddings", "extra_pos_embeddings"),
    },
}
# Keras's names, and Marian's other name for the last
_ACTIVATIONS = ("relu", "gelu", "silu", "swish")


def add_and_norm(x, update, dropout, name) -> keras.KerasTensor:
    """LayerNorm(x + Dropout(update)), sections 3.1 and 5.4."""
    update = layers.Dropout(dropout, name=f"{name}.dropout")(update)
    x = layers.Add(name=f"{name}.add")([x, update])
    return layers.LayerNormalization(epsilon=1e-5, name=name)(x)


def feed_forward(x, intermediate_dim, activation, name) -> keras.KerasTensor:
    """Two position-wise linear maps with a ReLU (equation 2) or another activation between."""
    y = layers.Dense(intermediate_dim, activation=activation, name=f"{name}.fc1")(x)
    return layers.Dense(x.shape[-1], name=f"{name}.fc2")(y)


def embed(token_ids, embedding, positions, dropout, name) -> keras.KerasTensor:
    """Token embeddings times sqrt(hidden_dim), plus positions, sections 3.4 and 3.5."""
    x = layers.Rescaling(math.sqrt(embedding.output_dim), name=f"{name}.embed_scale")(embedding(token_ids))
    x = SinusoidalPositions(positions, name=f"{name}.embed_positions")(x)
    return layers.Dropout(dropout, name=f"{name}.dropout")(x)


def word_vectors(vocabulary_size, hidden_dim, name) -> keras.Layer:
    """A table of word vectors that can also give logits."""
    return layers.ReversibleEmbedding(
        vocabulary_size,
        hidden_dim,
        embeddings_initializer={"class_name": "RandomNormal", "config": {"stddev": hidden_dim**-0.5}},
        reverse_dtype="float32",
        name=name,
    )


def encoder_layer(x, padding_mask, num_heads, intermediate_dim, activation, dropout, name) -> keras.KerasTensor:
    """Self-attention over the real tokens, then the feed-forward network."""
    y = multi_head_attention(x, x, num_heads, f"{name}.self_attn", padding_mask=padding_mask)
    x = add_and_norm(x, y, dropout, f"{name}.self_attn_layer_norm")
    return add_and_norm(x, feed_forward(x, intermediate_dim, activation, name), dropout, f"{name}.final_layer_norm")


def decoder_layer(
    x, encoded, padding_mask, num_heads, intermediate_dim, activation, dropout, name
) -> keras.KerasTensor:
    """Causal self-attention, attention to the encoded source, then the feed-forward network."""
    y = multi_head_attention(x, x, num_heads, f"{name}.self_attn", causal=True)
    x = add_and_norm(x, y, dropout, f"{name}.self_attn_layer_norm")
    y = multi_head_attention(x, encoded, num_heads, f"{name}.encoder_attn", padding_mask=padding_mask)
    x = add_and_norm(x, y, dropout, f"{name}.encoder_attn_layer_norm")
    return add_and_norm(x, feed_forward(x, intermediate_dim, activation, name), dropout, f"{name}.final_layer_norm")


def build(
    num_layers=6,
    hidden_dim=512,
    num_heads=8,
    intermediate_dim=2048,
    dropout=0.1,
    vocabulary_size=37000,
    source_vocabulary_size=None,
    activation="relu",
    positions="interleaved",
    logits_bias=False,
    num_decoder_layers=None,
    num_decoder_heads=None,
    decoder_intermediate_dim=None,
    name="transformer_base",
) -> keras.Model:
    """Source and target token ids (batch, length) each to logits (batch, target_length, vocabulary_size) in float32.

    The logits at position i depend on the target's tokens 0 ... i, so the target is fed shifted right by one. Padding
    of the target needs no mask, because it comes after the real tokens. `source_vocabulary_size` gives the source a
    table of its own; by default one table serves both languages. `positions` is "interleaved" as in the paper or
    "half_split" as in Marian's checkpoints; `logits_bias` adds their fixed bias, which is not trained. The decoder has
    as many layers and heads as the encoder, and the same inner width, unless its own keywords say otherwise.
    """
    check_ordering(positions, "positions")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"{name}: activation must be one of {', '.join(_ACTIVATIONS)}, got {activation!r}")
    encoder_token_ids = keras.Input((None,), dtype="int32", name="encoder_token_ids")
    encoder_padding_mask = keras.Input((None,), dtype="int32", name="encoder_padding_mask")
    decoder_token_ids = keras.Input((None,), dtype="int32", name="decoder_token_ids")
    if source_vocabulary_size is None:
        source = embedding = word_vectors(vocabulary_size, hidden_dim, "model.shared")
    else:
        source = word_vectors(source_vocabulary_size, hidden_dim, "model.encoder.embed_tokens")
        embedding = word_vectors(vocabulary_size, hidden_dim, "model.decoder.embed_tokens")
    shared = {"padding_mask": encoder_padding_mask, "activation": activation, "dropout": dropout}
    encode = partial(encoder_layer, num_heads=num_heads, intermediate_dim=intermediate_dim, **shared)
    decode = partial(
        decoder_layer,
        num_heads=num_decoder_heads or num_heads,
        intermediate_dim=decoder_intermediate_dim or intermediate_dim,
        **shared,
    )
    encoded = embed(encoder_token_ids, source, positions, dropout, "model.encoder")
    for index in range(num_layers):
        encoded = encode(encoded, name=f"model.encoder.layers.{index}")
    x = embed(decoder_token_ids, embedding, positions, dropout, "model.decoder")
    for index in range(num_decoder_layers or num_layers):
        x = decode(x, encoded, name=f"model.decoder.layers.{index}")
    # The embedding declares its own dtype for the logits whatever it computes; this states float32.
    logits = layers.Activation("linear", dtype="float32", name="logits")(embedding(x, reverse=True))
    if logits_bias:
        logits = Bias(dtype="float32", trainable=False, name="final_logits_bias")(logits)
    inputs = {
        "encoder_token_ids": encoder_token_ids,
        "encoder_padding_mask": encoder_padding_mask,
        "decoder_token_ids": decoder_token_ids,
    }
    return keras.Model(inputs, logits, name=name)

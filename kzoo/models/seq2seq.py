"""Sequence to sequence: stacked LSTMs, an encoder whose last state starts a decoder, for translation.

Sutskever, Vinyals, Le 2014, https://arxiv.org/abs/1409.3215, sections 2 and 3: the source is read backwards, and layer
i of the decoder starts from the last state of layer i of the encoder. The padded source is reversed as a whole, which
puts its padding first, and masked steps leave the zero state as it is: only real tokens matter, wherever they stand.
With `attention`, Luong, Pham, Manning 2015, https://arxiv.org/abs/1508.04025, section 3.1, global attention with the
"general" score, without input feeding: a_t = softmax(h_t W_a h_s / sqrt(hidden_dim)), c_t = sum_s a_t(s) h_s and logits
from tanh(W_c [c_t; h_t]), equations 5 to 8; the root only rescales W_a. Layer names are those of torch.nn.LSTM,
torch.nn.Embedding and torch.nn.Linear in modules `encoder`, `decoder` and `attention`.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers import DotProductAttention, Reverse

TASK = "translation"
INPUTS = {"encoder_token_ids": "tokens", "encoder_padding_mask": "mask", "decoder_token_ids": "tokens"}
AGREES_WITH = "stacked `torch.nn.LSTM`"
WRITES = "decoder_token_ids"
HEAD = ("projection",)
VARIANTS = {
    "seq2seq_small": {"num_layers": 2, "hidden_dim": 256, "dropout": 0.1, "vocabulary_size": 8000},
    "seq2seq_attention": {"like": "seq2seq_small", "attention": True},
    "seq2seq_sutskever": {
        "num_layers": 4,
        "hidden_dim": 1000,
        "vocabulary_size": 80000,
        "source_vocabulary_size": 160000,
    },
}
# Section 3.4: every parameter starts between -0.08 and 0.08
_INITIALIZER = {"class_name": "RandomUniform", "config": {"minval": -0.08, "maxval": 0.08}}


def embed(token_ids, vocabulary_size, hidden_dim, name) -> keras.KerasTensor:
    """A table of word vectors, (batch, length) to (batch, length, hidden_dim)."""
    table = layers.Embedding(vocabulary_size, hidden_dim, embeddings_initializer=_INITIALIZER, name=f"{name}.embedding")
    return table(token_ids)


def stack(x, states, mask, num_layers, dropout, name) -> tuple:
    """LSTM layers, each over the outputs of the one before; returns the last one's outputs and the last states."""
    last_states = []
    for index in range(num_layers):
        if index:
            x = layers.Dropout(dropout, name=f"{name}.dropout.{index}")(x)
        lstm = layers.LSTM(
            x.shape[-1],
            return_sequences=True,
            return_state=True,
            kernel_initializer=_INITIALIZER,
            recurrent_initializer=_INITIALIZER,
            bias_initializer=_INITIALIZER,
            unit_forget_bias=False,
            # cuDNN takes no padding before the text and no row of nothing but padding
            use_cudnn="auto" if mask is None else False,
            name=f"{name}.lstm.l{index}",
        )
        x, *state = lstm(x, initial_state=states[index]) if mask is None else lstm(x, mask=mask)
        last_states.append(state)
    return x, last_states


def attend(x, encoded, mask) -> keras.KerasTensor:
    """Puts beside every output of the decoder the average of the source that it attends to, equation 5."""
    project = partial(layers.Dense, x.shape[-1], use_bias=False, kernel_initializer=_INITIALIZER)
    query = project(name="attention.score")(x)
    context = DotProductAttention(1, name="attention")(query, encoded, encoded, padding_mask=mask)
    x = layers.Concatenate(name="attention.concatenate")([context, x])
    return project(activation="tanh", name="attention.combine")(x)


def build(
    num_layers=2,
    hidden_dim=256,
    dropout=0.0,
    vocabulary_size=8000,
    source_vocabulary_size=None,
    attention=False,
    name="seq2seq_small",
) -> keras.Model:
    """Source and target token ids (batch, length) each to logits (batch, target_length, vocabulary_size) in float32.

    The logits at position i depend on the target's tokens 0 ... i, so the target is fed shifted right by one. Padding
    of the target needs no mask, because it comes after the real tokens. `source_vocabulary_size` is `vocabulary_size`
    by default; the two tables are never shared.
    """
    inputs = {
        key: keras.Input((None,), dtype="int32", name=key)
        for key in ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids")
    }
    x = embed(inputs["encoder_token_ids"], source_vocabulary_size or vocabulary_size, hidden_dim, "encoder")
    x = Reverse(name="encoder.reverse")(x)
    mask = Reverse(name="encoder.reverse_mask")(inputs["encoder_padding_mask"])
    encoded, states = stack(x, None, mask, num_layers, dropout, "encoder")
    x = embed(inputs["decoder_token_ids"], vocabulary_size, hidden_dim, "decoder")
    x, _ = stack(x, states, None, num_layers, dropout, "decoder")
    if attention:
        x = attend(x, encoded, mask)
    logits = layers.Dense(vocabulary_size, kernel_initializer=_INITIALIZER, dtype="float32", name="projection")(x)
    return keras.Model(inputs, logits, name=name)

"""BERT: a bidirectional Transformer encoder over pairs of texts, pre-trained on masked words.

Devlin et al. 2018, https://arxiv.org/abs/1810.04805, sections 3 and 4: post-norm, exact GELU, learned positions and
segments, one head at a time. Tiny to medium are the sizes of Turc et al. 2019 (https://arxiv.org/abs/1908.08962, table
1). Layer names follow Hugging Face's checkpoints; files without the prefix `bert.` and those with the first release's
`gamma` and `beta` are renamed when they are loaded.
"""

import keras
from keras import layers

from kzoo.layers import Bias, DotProductAttention, FirstToken, LearnedPositions, MaskedAveragePooling1D, gelu
from kzoo.layers.attention import check_heads
from kzoo.support.suggest import did_you_mean

# the task by head
TASK = {
    "none": "feature_extraction",
    "pretraining": "sentence_pair_pretraining",
    "masked_words": "masked_language_modeling",
    "classification": "text_classification",
    "token_classification": "token_classification",
    "embedding": "sentence_embedding",
}
INPUTS = {"token_ids": "tokens", "padding_mask": "mask", "segment_ids": "segments"}
AGREES_WITH = "`transformers.BertModel` and its heads"
VARIANTS = {
    "bert_base": {"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "intermediate_dim": 3072},
    "bert_tiny": {"num_layers": 2, "hidden_dim": 128, "num_heads": 2, "intermediate_dim": 512},
    "bert_mini": {"num_layers": 4, "hidden_dim": 256, "num_heads": 4, "intermediate_dim": 1024},
    "bert_small": {"num_layers": 4, "hidden_dim": 512, "num_heads": 8, "intermediate_dim": 2048},
    "bert_medium": {"num_layers": 8, "hidden_dim": 512, "num_heads": 8, "intermediate_dim": 2048},
    "bert_large": {"num_layers": 24, "hidden_dim": 1024, "num_heads": 16, "intermediate_dim": 4096},
    # Ji et al. 2021, https://doi.org/10.1093/bioinformatics/btab083: the same network over words of six letters of DNA
    "dnabert_6": {"like": "bert_base", "vocabulary_size": 4101},
}
KMERS = {"dnabert_6": 6}
HEAD = (
    "cls.predictions.transform.dense",
    "cls.predictions.transform.LayerNorm",
    "cls.predictions",
    "cls.seq_relationship",
    "classifier",
)
LORA_LAYERS = ("query", "value")
HEAD_IF_MISSING = ("bert.pooler.dense",)  # files trained on masked words alone have none
OTHER_HEADS = (r"cls\.", r"classifier\.", r"bert\.pooler\.")
DERIVED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "bert.embeddings.position_ids": "computed",
}
CONFIG = {
    "bert": {
        "models": {
            "BertModel": {"head": "none"},
            "BertForPreTraining": {"head": "pretraining"},
            "BertForMaskedLM": {"head": "masked_words"},
            "BertForSequenceClassification": {"head": "classification", "num_classes": "id2label"},
            "BertForTokenClassification": {"head": "token_classification", "num_classes": "id2label"},
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
            "vocab_size": "vocabulary_size",
            "max_position_embeddings": "max_length",
        },
        "values": {
            "hidden_act": ("gelu", "gelu_python", None),
            "layer_norm_eps": (1e-12, None),
            "position_embedding_type": ("absolute", None),
            "type_vocab_size": (2, None),
            "is_decoder": (False, None),
            "add_cross_attention": (False, None),
            "tie_word_embeddings": (True, None),
        },
        "ignored": ("directionality", "pooler_*"),  # Google's multilingual files have them; no release reads them
        "modules": {
            "Pooling": {
                "mean": {"head": "embedding", "pooling": "mean", "normalize": False},
                "cls": {"head": "embedding", "pooling": "first_token", "normalize": False},
            },
            "Normalize": {"": {"normalize": True}},
        },
    },
}
NAMES = {
    "transformers": {},
    # the first release's names of what LayerNorm learns, as Google's files still have them
    "gamma_beta": {
        "{}.LayerNorm.gamma": "{}.LayerNorm.weight",
        "{}.LayerNorm.beta": "{}.LayerNorm.bias",
    },
    # BertModel by itself
    "base_model": {
        "embeddings.{}": "bert.embeddings.{}",
        "encoder.{}": "bert.encoder.{}",
        "pooler.{}": "bert.pooler.{}",
        "cls.{}": None,
        "classifier.{}": None,
    },
    "base_model_gamma_beta": {
        "like": "gamma_beta",
        "embeddings.{}": "bert.embeddings.{}",
        "encoder.{}": "bert.encoder.{}",
        "pooler.{}": "bert.pooler.{}",
        "cls.{}": None,
        "classifier.{}": None,
    },
}
# Section A.2 and the authors' code
_INITIALIZER = {"class_name": "TruncatedNormal", "config": {"stddev": 0.02}}


def dense(units, name, **options) -> keras.Layer:
    """A linear map with the paper's initial weights."""
    return layers.Dense(units, kernel_initializer=_INITIALIZER, name=name, **options)


def norm(x, name) -> keras.KerasTensor:
    """Layer normalisation with the reference's epsilon."""
    return layers.LayerNormalization(epsilon=1e-12, name=name)(x)


def add_and_norm(x, update, dropout, name) -> keras.KerasTensor:
    """LayerNorm(x + Dropout(update)), where `name` is the reference's `...output`."""
    update = layers.Dropout(dropout, name=f"{name}.dropout")(update)
    return norm(layers.Add(name=f"{name}.add")([x, update]), f"{name}.LayerNorm")


def encoder_layer(x, padding_mask, num_heads, intermediate_dim, dropout, name) -> keras.KerasTensor:
    """Attention to the real tokens, then a two-layer network, each added to its input and normalised."""
    hidden_dim = x.shape[-1]
    query, key, value = (dense(hidden_dim, f"{name}.attention.self.{part}")(x) for part in ("query", "key", "value"))
    attend = DotProductAttention(num_heads, dropout=dropout, name=f"{name}.attention.self")
    y = dense(hidden_dim, f"{name}.attention.output.dense")(attend(query, key, value, padding_mask=padding_mask))
    x = add_and_norm(x, y, dropout, f"{name}.attention.output")
    y = dense(intermediate_dim, f"{name}.intermediate.dense", activation=gelu)(x)
    return add_and_norm(x, dense(hidden_dim, f"{name}.output.dense")(y), dropout, f"{name}.output")


def masked_words(x, embedding) -> keras.KerasTensor:
    """Logits over the vocabulary for every token, from the tied embedding and a bias of their own (section 3.1)."""
    x = dense(x.shape[-1], "cls.predictions.transform.dense", activation=gelu)(x)
    x = norm(x, "cls.predictions.transform.LayerNorm")
    return Bias(dtype="float32", name="cls.predictions")(embedding(x, reverse=True))


def classes(x, num_classes, dropout) -> keras.KerasTensor:
    """Logits of the fine-tuned classifiers (section 4)."""
    x = layers.Dropout(dropout, name="classifier.dropout")(x)
    return dense(num_classes, "classifier", dtype="float32")(x)


def float32(x, name) -> keras.KerasTensor:
    """An output in float32 whatever the layers compute in."""
    return layers.Activation("linear", dtype="float32", name=name)(x)


def sentence_embedding(x, padding_mask, pooling, normalize) -> keras.KerasTensor:
    """One vector for each text, as Reimers, Gurevych 2019 (https://arxiv.org/abs/1908.10084), section 3, make it."""
    if pooling == "mean":
        x = MaskedAveragePooling1D(name="mean_pooling")(x, padding_mask)
    else:
        x = FirstToken(name="first_token_pooling")(x)
    if normalize:
        x = layers.UnitNormalization(dtype="float32", name="normalize")(x)
    return float32(x, "sentence_embedding")


def outputs(head, x, pooled, padding_mask, embedding, num_classes, dropout) -> keras.KerasTensor | dict:
    """The outputs of the other heads, from the last layer's tokens x and the pooled first token."""
    if head == "pretraining":
        next_sentence = dense(2, "cls.seq_relationship", dtype="float32")(pooled)
        return {"masked_words": masked_words(x, embedding), "next_sentence": next_sentence}
    if head == "masked_words":
        return masked_words(x, embedding)
    if head == "classification":
        return classes(pooled, num_classes, dropout)
    if head == "token_classification":
        return classes(x, num_classes, dropout)
    return {"tokens": float32(x, "tokens"), "pooled": float32(pooled, "pooled")}


def build(
    num_layers=12,
    hidden_dim=768,
    num_heads=12,
    intermediate_dim=3072,
    dropout=0.1,
    vocabulary_size=30522,
    max_length=512,
    head="none",
    num_classes=2,
    pooling="mean",
    normalize=False,
    name="bert_base",
) -> keras.Model:
    """Token ids, their mask (1 = real) and segments (0 or 1), int32 (batch, length) each, to what the head gives.

    Heads, all in float32: "none" a dict of `tokens` (batch, length, hidden_dim) and `pooled` (batch, hidden_dim);
    "pretraining" a dict of logits, `masked_words` (batch, length, vocabulary_size) and `next_sentence` (batch, 2), of
    which class 0 says that the second text follows the first; "masked_words" the former alone; "classification"
    (batch, num_classes); "token_classification" (batch, length, num_classes); "embedding" one vector (batch,
    hidden_dim), by `pooling` "mean" that of the real tokens, zeros for a row of padding, or "first_token"; `normalize`
    gives it the length 1. Padding stands on the right, since the first token is pooled.

    Raises ValueError for an unknown head or pooling, a hidden_dim that num_heads does not divide, or a text over
    max_length.
    """
    if head not in TASK:
        raise ValueError(f"{name}: {did_you_mean('head', head, list(TASK))}")
    if pooling not in ("mean", "first_token"):
        raise ValueError(f"{name}: pooling must be 'mean' or 'first_token', got {pooling!r}")
    check_heads(num_heads, hidden_dim)
    inputs = {
        key: keras.Input((None,), dtype="int32", name=key) for key in ("token_ids", "padding_mask", "segment_ids")
    }
    token_ids, padding_mask, segment_ids = inputs.values()
    embedding = layers.ReversibleEmbedding(
        vocabulary_size,
        hidden_dim,
        embeddings_initializer=_INITIALIZER,
        reverse_dtype="float32",
        name="bert.embeddings.word_embeddings",
    )
    segments = layers.Embedding(
        2, hidden_dim, embeddings_initializer=_INITIALIZER, name="bert.embeddings.token_type_embeddings"
    )
    x = layers.Add(name="bert.embeddings.add")([embedding(token_ids), segments(segment_ids)])
    x = LearnedPositions(max_length, _INITIALIZER, name="bert.embeddings.position_embeddings")(x)
    x = layers.Dropout(dropout, name="bert.embeddings.dropout")(norm(x, "bert.embeddings.LayerNorm"))
    for index in range(num_layers):
        x = encoder_layer(x, padding_mask, num_heads, intermediate_dim, dropout, f"bert.encoder.layer.{index}")
    pooled = None
    if head in ("none", "pretraining", "classification"):
        first = FirstToken(name="bert.pooler.first_token")(x)
        pooled = dense(hidden_dim, "bert.pooler.dense", activation="tanh")(first)
    if head == "embedding":
        return keras.Model(inputs, sentence_embedding(x, padding_mask, pooling, normalize), name=name)
    return keras.Model(inputs, outputs(head, x, pooled, padding_mask, embedding, num_classes, dropout), name=name)

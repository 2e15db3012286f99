"""Counting: by hand, against other counters and published figures, and against the arrays that are really kept."""

import json
import pathlib

import keras
import numpy as np
import pytest
from keras import layers, ops

import kzoo
from kzoo import catalog, measure
from kzoo.generation.decoder import Decoder
from kzoo.layers import DotProductAttention

GOLDEN = pathlib.Path(__file__).parent / "golden"
OTHERS = json.loads((GOLDEN / "macs.json").read_text())
# Products of matrices and convolutions; fvcore also counts what costs no product, and kzoo does not.
PRODUCTS = {"conv", "linear", "matmul"}
FREE = {"adaptive_avg_pool2d", "batch_norm", "layer_norm", "upsample_nearest2d"}


def model_of(layer, *shapes, dtype="float32"):
    inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
    return keras.Model(inputs, layer(*inputs))


def row_of(layer, *shapes, **options):
    return measure.measure(model_of(layer, *shapes, **options), layers=True)["layers"][-1]


LAYERS = {
    "dense": (layers.Dense(5), [(7, 3)], 7 * 3 * 5),
    "einsum_dense": (layers.EinsumDense("abc,cde->abde", (7, 2, 4)), [(7, 3)], 7 * 3 * 2 * 4),
    "einsum_dense_open": (layers.EinsumDense("abc,cd->abd", (None, 4)), [(7, 3)], 7 * 3 * 4),
    "einsum_dense_ellipsis": (layers.EinsumDense("...x,xy->...y", 4), [(7, 6, 3)], 7 * 6 * 3 * 4),
    "conv1d": (layers.Conv1D(5, 3, strides=2), [(9, 4)], 4 * 5 * 3 * 4),
    "conv1d_causal": (layers.Conv1D(5, 2, dilation_rate=4, padding="causal"), [(9, 4)], 9 * 5 * 2 * 4),
    "conv2d_groups": (layers.Conv2D(6, 3, groups=2), [(5, 7, 4)], 3 * 5 * 6 * 9 * 2),
    "conv3d": (layers.Conv3D(2, 2), [(3, 4, 5, 6)], 2 * 3 * 4 * 2 * 8 * 6),
    "depthwise1d": (layers.DepthwiseConv1D(3), [(5, 4)], 3 * 4 * 3),
    "depthwise2d": (layers.DepthwiseConv2D(3, depth_multiplier=2), [(5, 5, 4)], 9 * 8 * 9),
    "separable1d": (layers.SeparableConv1D(6, 3), [(5, 4)], 3 * 4 * 3 + 3 * 4 * 6),
    "separable2d": (layers.SeparableConv2D(6, 3, depth_multiplier=2), [(5, 5, 4)], 9 * 8 * 9 + 9 * 8 * 6),
    "conv1d_transpose": (layers.Conv1DTranspose(5, 4, strides=2), [(7, 3)], 7 * 3 * 4 * 5),
    "conv2d_transpose": (layers.Conv2DTranspose(2, 3), [(4, 4, 1)], 16 * 9 * 2),
    "conv3d_transpose": (layers.Conv3DTranspose(2, 3), [(2, 2, 2, 4)], 8 * 4 * 27 * 2),
    "lstm": (layers.LSTM(4), [(7, 3)], 7 * 4 * (3 * 4 + 4 * 4)),
    "gru": (layers.GRU(4, return_sequences=True), [(7, 3)], 7 * 3 * (3 * 4 + 4 * 4)),
    "rnn_of_cells": (layers.RNN([layers.LSTMCell(4), layers.SimpleRNNCell(2)]), [(7, 3)], 7 * (112 + 8 + 4)),
    "bidirectional": (layers.Bidirectional(layers.LSTM(4)), [(7, 3)], 2 * 7 * 4 * (3 * 4 + 4 * 4)),
    "conv_lstm": (layers.ConvLSTM2D(4, 3), [(2, 5, 5, 3)], 2 * 9 * 4 * 4 * 9 * (3 + 4)),
    "conv_lstm_sequence": (
        layers.ConvLSTM1D(4, 3, return_sequences=True), [(2, 5, 3)], 2 * 3 * 4 * 4 * 3 * (3 + 4),
    ),
    "time_distributed": (layers.TimeDistributed(layers.Conv2D(2, 3)), [(6, 5, 5, 3)], 6 * 9 * 2 * 27),
    "dot": (layers.Dot(axes=2), [(3, 4), (5, 4)], 3 * 5 * 4),
    "group_normalization": (layers.GroupNormalization(2), [(5, 4)], 0),
    "max_pooling1d": (layers.MaxPooling1D(2), [(6, 4)], 0),
}  # fmt: skip
NO_STAR = {"dot": lambda layer: lambda a, b: layer([a, b])}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_by_hand(name):
    layer, shapes, macs = LAYERS[name]
    row = row_of(NO_STAR.get(name, lambda layer: layer)(layer), *shapes)
    assert row["macs"] == macs
    assert row["parameters"] + row["non_trainable_parameters"] == layer.count_params()


def test_attention_layers_by_hand():
    query, value = (7, 6), (5, 10)
    attention = layers.MultiHeadAttention(2, 3, value_dim=4)
    projections = 7 * 6 * 6 + 5 * 10 * 6 + 5 * 10 * 8 + 7 * 8 * 6
    assert row_of(attention, query, value)["macs"] == projections + 7 * 5 * 2 * (3 + 4)
    grouped = layers.GroupQueryAttention(3, 4, 2)
    projections = 7 * 6 * 12 + 2 * (5 * 6 * 6) + 7 * 12 * 6
    assert row_of(grouped, query, (5, 6))["macs"] == projections + 7 * 5 * 4 * 6
    assert row_of(lambda q, v: layers.Attention()([q, v]), (7, 6), (5, 6))["macs"] == 2 * 7 * 5 * 6
    assert row_of(DotProductAttention(2), (7, 6), (5, 6), (5, 8))["macs"] == 7 * 5 * (6 + 8)


def test_recurrent_attention_and_embedding_of_keras_agree_with_the_parts():
    """A layer counts what the same thing counts when it is written out in operations."""
    ids = keras.Input((5,), dtype="int32")
    table = layers.ReversibleEmbedding(11, 4)
    model = keras.Model(ids, table(table(ids), reverse=True))
    assert [row["macs"] for row in measure.measure(model, layers=True)["layers"]] == [0, 5 * 4 * 11]


OPERATIONS = {
    "matmul": (ops.matmul, [(3, 4), (4, 5)], 3 * 4 * 5),
    "matmul_of_constant": (lambda x: x @ np.ones((4, 5), "float32"), [(3, 4)], 3 * 4 * 5),
    "einsum": (lambda a, b: ops.einsum("bqd,bkd->bqk", a, b), [(3, 4), (5, 4)], 3 * 5 * 4),
    "einsum_ellipsis": (lambda a, b: ops.einsum("...ij,...jk->...ik", a, b), [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    "dot": (lambda x: ops.dot(x, np.ones((4, 5), "float32")), [(3, 4)], 3 * 4 * 5),
    "tensordot": (
        lambda x: ops.tensordot(x, np.ones((3, 4, 5), "float32"), axes=[[1, 2], [0, 1]]), [(3, 4)], 3 * 4 * 5,
    ),
    "conv": (lambda x: ops.conv(x, np.ones((3, 3, 4, 6), "float32")), [(5, 5, 4)], 9 * 6 * 9 * 4),
    "depthwise_conv": (lambda x: ops.depthwise_conv(x, np.ones((3, 3, 4, 2), "float32")), [(5, 5, 4)], 9 * 8 * 9),
    "conv_transpose": (lambda x: ops.conv_transpose(x, np.ones((3, 3, 2, 4), "float32")), [(5, 5, 4)], 25 * 4 * 9 * 2),
    "attention": (
        ops.dot_product_attention, [(7, 2, 3), (5, 2, 3), (5, 2, 3)], 2 * 7 * 5 * 2 * 3,
    ),
    "elementwise": (lambda x: ops.where(x > 0, ops.exp(x), 1.0), [(4,)], 0),
    "windows_in_the_batch": (
        lambda x: ops.reshape(x, (-1, 2, 4)) @ np.ones((4, 5), "float32"), [(6, 4)], 6 * 4 * 5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_by_hand(name):
    function, shapes, macs = OPERATIONS[name]
    counts = measure.measure(model_of(function, *shapes))
    assert (counts["macs"], counts["uncounted"]) == (macs, [])


class Scaled(layers.Dense):
    """Somebody's own subclass, which may do more than its parent."""


def test_what_no_rule_knows_is_listed_never_zero():
    for layer, shape, kind in (
        (Scaled(3), (4,), "Scaled"),
        (keras.Sequential([layers.Dense(2)]), (4,), "Sequential"),
        (lambda x: ops.einsum("bi,ij,jk->bk", x, np.ones((4, 4)), np.ones((4, 4))), (4,), "Einsum"),
        (lambda x: ops.rfft(x)[0], (8,), "RFFT"),
        (layers.RNN(layers.StackedRNNCells([layers.LSTMCell(2), Cell()])), (3, 2), "RNN"),
    ):
        counts = measure.measure(model_of(layer, shape), layers=True)
        assert counts["uncounted"] == [kind]
        assert [row["macs"] for row in counts["layers"] if row["kind"] == kind] == [None]


class Cell(layers.Layer):
    state_size = output_size = 2

    def call(self, inputs, states):
        return inputs + states[0], [states[0]]


@pytest.mark.parametrize("name", OTHERS)
def test_vision_models_agree_with_other_counters_and_published_figures(name):
    other = OTHERS[name]
    size = other["image_size"]
    facts = kzoo.info(name, layers=True)
    assert facts["inputs"]["image"]["shape"] == [None, size, size, 3]
    assert other["fvcore"].keys() <= PRODUCTS | FREE
    attention = sum(row["macs"] for row in facts["layers"] if row["kind"] == "DotProductAttention")
    # fvcore leaves the fused attention of torchvision's ViT out, and says so; timm's unfused one it counts
    left_out = attention if other["fvcore_left_out"] else 0
    assert facts["macs"] == sum(macs for kind, macs in other["fvcore"].items() if kind in PRODUCTS) + left_out
    assert 2 * facts["macs"] == sum(other["torch_flops"].values())
    if other["published_gmacs"]:
        assert round(facts["macs"] / 1e9, 3) == other["published_gmacs"]


def test_every_variant_that_publishes_a_figure_is_compared():
    named = ("alexnet", "vgg*", "googlenet", "inception_v3", "resnet*", "densenet*", "vit_*", "retinanet*")
    variants = {variant for pattern in named for variant in kzoo.list_models(pattern)}
    assert variants - OTHERS.keys() == {"alexnet_2012", "googlenet_2014"}  # the papers' own forms, in no library


@pytest.mark.parametrize("name", ["googlenet", "recurrent_cnn", "retinanet", "gpt1", "seq2seq_attention", "vit_ti_16"])
def test_rows_add_up_to_the_totals(name):
    facts = kzoo.info(name, layers=True, length=9)
    for key in ("parameters", "non_trainable_parameters", "macs", "activation_bytes"):
        assert sum(row[key] for row in facts["layers"]) == facts[key]
    assert sum(row["cache_bytes"] for row in facts["layers"]) == (facts["cache_bytes"] or 0)
    assert max(row["activation_bytes"] for row in facts["layers"]) < facts["activation_peak_bytes"]
    assert facts["activation_peak_bytes"] < facts["activation_bytes"]
    assert facts["activation_peak_at"] in {row["name"] for row in facts["layers"]}


def test_activation_peak_by_hand():
    """Input 40 bytes, wide 400, narrow 80: the peak is at `sum`, where a branch, its relu and the sum are alive."""
    x = keras.Input((10,), name="x")
    wide = layers.Dense(100, name="wide")(x)
    relu = layers.ReLU(name="relu")(layers.Dropout(0.5, name="dropout")(wide))
    total = layers.Add(name="sum")([wide, relu])
    narrow = layers.Dense(20, name="narrow")(total)
    model = keras.Model(x, narrow)
    counts = measure.measure(model)
    assert (counts["activation_peak_bytes"], counts["activation_peak_at"]) == (1200, "sum")
    assert counts["activation_bytes"] == 4 * (4 * 100 + 20)
    # as an output, `wide` stays to the end
    kept = measure.measure(keras.Model(x, [wide, layers.Dense(300, name="last")(relu)]))
    assert (kept["activation_peak_bytes"], kept["activation_peak_at"]) == (400 + 400 + 1200, "last")


def test_attention_holds_its_scores():
    shape = (6, 4)
    row = measure.measure(model_of(DotProductAttention(2), shape, shape, shape))
    assert row["activation_peak_bytes"] == 4 * 4 * 6 * 4 + 4 * 2 * 6 * 6


def test_half_precision_takes_half_the_bytes():
    model = keras.Model(x := keras.Input((4,)), layers.Dense(6, dtype="float16")(x))
    assert measure.measure(model)["activation_bytes"] == 12


SMALL = {
    "gpt2": {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "vocabulary_size": 20},
    "transformer_tiny": {"num_layers": 2, "hidden_dim": 16, "num_heads": 2},
    "seq2seq_small": {},
    "seq2seq_attention": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_cache_bytes_are_those_of_the_arrays_that_generation_keeps(name):
    model = kzoo.build(name, **SMALL[name])
    decoder = Decoder(model)

    def kept(length):
        sources = {key: np.ones((1, length), "int32") for key in ("encoder_token_ids", "encoder_padding_mask")}
        context = decoder.read({key: x for key, x in sources.items() if key in decoder.inputs})
        caches = decoder.empty_caches(1, length, context)
        arrays = keras.tree.flatten(caches)
        grow = sum(x.numpy().nbytes for x in arrays if len(x.shape) == 3)
        return sum(x.numpy().nbytes for x in [*context, *arrays]), grow

    total, growing = kept(12)
    facts = measure.measure(model, 12)
    assert facts["cache_bytes"] == total
    assert facts["cache_bytes_per_token"] * 12 == growing
    assert (growing > 0) == name.startswith(("gpt", "transformer"))


def test_a_model_that_writes_nothing_has_no_cache():
    facts = kzoo.info("mnist_cnn")
    assert facts["cache_bytes"] is None and facts["cache_bytes_per_token"] is None


def test_the_cache_of_the_largest_gpt_by_hand():
    """Two vectors of 12288 float32 in each of 96 layers for every token."""
    facts = kzoo.info("gpt3_175b", length=2048)
    assert facts["cache_bytes_per_token"] == 2 * 96 * 12288 * 4
    assert facts["cache_bytes"] == 2048 * facts["cache_bytes_per_token"]


def test_models_of_ones_own():
    model = keras.Sequential([keras.Input((8, 4)), layers.Conv1D(3, 3), layers.Flatten(), layers.Dense(2)], name="own")
    facts = kzoo.info(model, layers=True)
    assert (facts["name"], facts["architecture"], facts["length"]) == ("own", None, None)
    assert [row["macs"] for row in facts["layers"]] == [6 * 3 * 3 * 4, 0, 18 * 2]
    keras.utils.clear_session()  # layers without a name of their own are numbered by how many there were
    built = kzoo.build("mnist_cnn", num_classes=3)
    assert kzoo.info(built) == kzoo.info("mnist_cnn", num_classes=3)
    with pytest.raises(TypeError, match="takes no overrides, got num_classes"):
        kzoo.info(built, num_classes=3)
    with pytest.raises(ValueError, match="no graph of layers"):
        kzoo.info(Subclassed(name="free"))
    with pytest.raises(ValueError, match="length must be an int"):
        kzoo.info("gpt2", length=True)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def test_a_mask_that_call_does_not_know_is_no_obstacle():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    model = keras.Model(ids, layers.Dense(2)(layers.LSTM(3)(x)))
    assert measure.measure(model, 5)["macs"] == 5 * 4 * (4 * 3 + 3 * 3) + 3 * 2


def test_catalogue_figures_are_known_to_list():
    for figures in catalog.figures().values():
        assert {"parameters", "macs"} <= set(figures)
        assert all({"inputs", "outputs"} <= set(row) for row in figures.get("parts", {"": figures}).values())

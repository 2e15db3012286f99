"""What layers remember: causal convolutions write by steps what the whole model writes, and the rest is refused."""

import itertools

import keras
import numpy as np
import pytest
from backends import outputs_of
from keras import layers, ops

import kzoo
from kzoo import measure
from kzoo.generation import serving
from kzoo.generation.decoder import Decoder, writes_tokens
from kzoo.layers import DotProductAttention, RelativePositionBias

VOCABULARY_SIZE = 23
ON_JAX = keras.backend.backend() == "jax"
PROMPTS = [[5], [7, 8, 9, 10, 11], [4, 2] * 4]


def token_model(stack, vocabulary_size=VOCABULARY_SIZE, name="own", embedding_size=VOCABULARY_SIZE):
    """Token ids to logits by way of `stack`, a function of (batch, length, 8)."""
    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    x = stack(layers.Embedding(embedding_size, 8, embeddings_initializer="normal")(token_ids))
    model = keras.Model(token_ids, layers.Dense(vocabulary_size, dtype="float32")(x), name=name)
    random = np.random.default_rng(0)
    model.set_weights([random.normal(0, 1.5, value.shape) for value in model.get_weights()])
    return model


def gated(x, kernel_size=2, dilations=(1, 2, 4), groups=1):
    """WaveNet, section 2.3: the product of a tanh and a sigmoid, and a residual connection of width 1."""
    for dilation in dilations:
        sizes = {"padding": "causal", "dilation_rate": dilation, "groups": groups}
        halves = (layers.Conv1D(8, kernel_size, activation=name, **sizes)(x) for name in ("tanh", "sigmoid"))
        x = layers.Add()([x, layers.Conv1D(8, 1)(layers.Multiply()(list(halves)))])
    return layers.ReLU()(x)


def plain(x):
    """Kernels of 3 in a residual network, by operations where layers would do."""
    for dilation in (1, 3):
        x = x + ops.relu(layers.Conv1D(8, 3, padding="causal", dilation_rate=dilation)(x))
    return x


STACKS = {
    "gated": gated,
    "plain": plain,
    "grouped": lambda x: gated(x, 3, (1, 2), groups=4),
    "mixed": lambda x: layers.GRU(8, return_sequences=True)(attention(gated(x))),
}


def attention(x, **kwargs):
    causal = DotProductAttention(2, causal=True)
    return layers.Add()([x, causal(*(layers.Dense(8)(x) for _ in range(3)), **kwargs)])


def recomputed(model, prompt, count):
    """The likeliest tokens, the whole of one sequence run again for each, without memory or padding."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(outputs_of(model, np.array([ids], "int32"))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize(
    ("name", "xla"), [(name, True) for name in STACKS] if ON_JAX
    else [("gated", True), ("gated", False), ("plain", False), ("grouped", True), ("mixed", False)],
)  # fmt: skip
def test_convolutions_write_by_steps_what_the_whole_model_writes(name, xla):
    model = token_model(STACKS[name])
    wanted = [recomputed(model, prompt, 14) for prompt in PROMPTS]
    assert len({token for row in wanted for token in row}) > 3, "the test needs tokens that differ"
    assert [written.ids for written in kzoo.generate(model, PROMPTS, max_new_tokens=14, xla=xla)] == wanted
    alone = [kzoo.generate(model, [prompt], max_new_tokens=14, xla=xla)[0].ids for prompt in PROMPTS[:2]]
    assert alone == wanted[:2]


@pytest.mark.parametrize("lengths", [(5, 1, 1, 1, 1), (1, 3, 2, 3), (9,), (2, 7)])
def test_a_queue_goes_on_from_steps_of_any_length(lengths):
    model = token_model(lambda x: gated(x, 3, (1, 2)))
    tokens = np.random.default_rng(1).integers(0, VOCABULARY_SIZE, (2, sum(lengths)), "int32")
    decoder, num_pads = Decoder(model), np.zeros(2, "int32")
    caches = decoder.empty_caches(2, tokens.shape[1], [])
    for begin, end in itertools.pairwise(np.cumsum([0, *lengths]).tolist()):
        logits, caches = decoder.step(ops.convert_to_tensor(tokens[:, begin:end]), begin, num_pads, [], caches)
        wanted = outputs_of(model, tokens[:, :end])[:, -1]
        np.testing.assert_allclose(ops.convert_to_numpy(logits), wanted, atol=1e-4)


def test_beams_and_streams_carry_the_queue():
    model = token_model(gated)
    (written,) = kzoo.generate(model, [[3, 4]], max_new_tokens=6, num_beams=3)
    scores = []
    for ids in (written.ids, kzoo.generate(model, [[3, 4]], max_new_tokens=6)[0].ids):
        logits = outputs_of(model, np.array([[3, 4, *ids]], "int32"))[0, 1:-1]
        steps = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        scores.append(steps[range(6), ids].sum() / 6)
    assert written.score == pytest.approx(scores[0], abs=1e-5) and scores[0] >= scores[1] - 1e-6
    pieces = []
    streamed = kzoo.generate(model, [[3, 4]], max_new_tokens=9, stream=pieces.append)[0].ids
    assert streamed == recomputed(model, [3, 4], 9) == [token for piece in pieces for token in piece]


@pytest.mark.skipif(ON_JAX, reason="exports are made with TensorFlow")
def test_an_export_holds_the_queue(tmp_path):
    import tensorflow as tf

    model = token_model(gated)
    function, wanted = serving.greedy(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    specs = [tf.TensorSpec(shape, dtype, name) for name, (shape, dtype, _) in wanted.items()]
    archive.add_endpoint(
        "generate", lambda *given: function(**dict(zip(wanted, given, strict=True))), input_signature=specs
    )
    archive.write_out(str(tmp_path), verbose=False)
    given = {
        "max_new_tokens": 11,
        "stops": [-1],
        "token_ids": [[0] * (8 - len(row)) + row for row in PROMPTS],
        "padding_mask": [[0] * (8 - len(row)) + [1] * len(row) for row in PROMPTS],
    }
    loaded = tf.saved_model.load(str(tmp_path))
    found = loaded.generate(*(tf.constant(given[name], tf.int32) for name in wanted))
    assert found["tokens"].numpy().tolist() == [recomputed(model, prompt, 11) for prompt in PROMPTS]


def test_queues_are_counted_and_do_not_grow():
    model = token_model(lambda x: gated(x, 3, (1, 4)))
    kept = Decoder(model).cache_shapes(50)
    assert sorted(shape for rows in kept.values() for shape, _, _ in rows) == [(3, 8), (3, 8), (9, 8), (9, 8)]
    facts = measure.measure(model, 50)
    assert facts["cache_bytes"] == 2 * (3 + 9) * 8 * 4 and facts["cache_bytes_per_token"] == 0


def sees_ahead(kind):
    both = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
    attend = DotProductAttention(2)
    return {
        "same": (layers.Conv1D(8, 3, padding="same", name="ahead"), r"ahead \(Conv1D\) sees later .* padding='causal'"),
        "strided": (layers.Conv1D(8, 3, 2, padding="causal"), "has strides 2"),
        "bidirectional": (both, r"bidirectional\w* \(Bidirectional\) is of a class that .*MEMORIES does not list"),
        "backwards": (layers.LSTM(8, return_sequences=True, go_backwards=True), "LSTM.*go_backwards=False"),
        "pooling": (layers.AveragePooling1D(2, 1, "same"), "AveragePooling1D"),
        "over length": (layers.Softmax(axis=1), "Softmax.* works along axis 1"),
        "sum over length": (lambda x: ops.cumsum(x, axis=1), "Cumsum"),
        "a constant": (lambda x: x * np.ones((1, 4, 8), "float32"), "constant of two or more axes"),
        "attention": (lambda x: attend(x, x, x), "attends to later tokens"),
        "a bias": (lambda x: attention(x, bias=RelativePositionBias(2)(x, x)), "RelativePositionBias"),
        "own layer": (OwnLayer(), r"\(OwnLayer\) is of a class that"),
    }[kind]


class OwnLayer(layers.Layer):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    "kind",
    ["same", "strided", "bidirectional", "backwards", "pooling", "over length", "sum over length", "a constant",
     "attention", "a bias", "own layer"],
)  # fmt: skip
def test_a_layer_that_sees_later_tokens_is_refused_by_name(kind):
    layer, message = sees_ahead(kind)
    model = token_model(lambda x: layer(gated(x)))
    with pytest.raises(ValueError, match=f"^own writes no tokens one after another: layer .*{message}"):
        Decoder(model)
    assert not writes_tokens(model)


def test_which_models_write_tokens():
    assert writes_tokens(token_model(gated))
    assert not writes_tokens(token_model(gated, vocabulary_size=5)), "it labels tokens"
    assert not writes_tokens(token_model(lambda x: x[:, -1])), "it labels a text"
    assert writes_tokens(kzoo.build("gpt2", num_layers=1, hidden_dim=8, num_heads=2, vocabulary_size=11))
    assert not writes_tokens(kzoo.build("bert_tiny", num_layers=1, vocabulary_size=11))
    assert not writes_tokens(kzoo.build("mlp"))
    sequential = keras.Sequential([keras.Input((None,), dtype="int32", name="token_ids"), layers.Embedding(9, 4),
                                   layers.Dense(9)])  # fmt: skip
    assert not writes_tokens(sequential), "it is no functional graph"
    with pytest.raises(ValueError, match="no int input called decoder_token_ids or token_ids"):
        Decoder(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))

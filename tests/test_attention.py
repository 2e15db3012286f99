import keras
import numpy as np
import pytest
from backends import compiled, gradients, to_float64
from keras import ops

from kzoo.layers import DotProductAttention, multi_head_attention, scaled_dot_product_attention
from kzoo.layers.attention import causal_mask

TOLERANCE = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}
BATCH, QUERIES, KEYS, HEADS, DIM = 3, 5, 7, 2, 8


def reference(query, key, value, mask=None, bias=None, causal=False):
    """Attention in float64, one query at a time: (output, scores)."""
    batch, num_queries, num_heads, dim = query.shape
    num_keys = key.shape[1]
    output = np.zeros((batch, num_queries, num_heads, value.shape[-1]))
    scores = np.zeros((batch, num_heads, num_queries, num_keys))
    mask = np.broadcast_to(True if mask is None else mask.astype(bool), scores.shape)
    bias = np.broadcast_to(0.0 if bias is None else bias, scores.shape)
    for b, h, q in np.ndindex(batch, num_heads, num_queries):
        seen = [k for k in range(num_keys) if mask[b, h, q, k] and not (causal and k > q)]
        if seen:
            logits = key[b, seen, h] @ query[b, q, h] / np.sqrt(dim) + bias[b, h, q, seen]
            weights = np.exp(logits - logits.max())
            scores[b, h, q, seen] = weights / weights.sum()
            output[b, q, h] = scores[b, h, q, seen] @ value[b, seen, h]
    return output, scores


def random_heads(dtype="float32", seed=0):
    """Query, key, value as tensors of a dtype."""
    random = np.random.default_rng(seed)
    shapes = [(BATCH, length, HEADS, DIM) for length in (QUERIES, KEYS, KEYS)]
    return [ops.cast(random.normal(size=shape).astype("float32"), dtype) for shape in shapes]


# The second example is all padding.
PADDING = np.array([[1] * 7, [0] * 7, [1, 1, 1, 0, 0, 1, 0]], "int32")[:, None, None, :]
BIAS = np.random.default_rng(1).normal(size=(1, HEADS, QUERIES, KEYS)).astype("float32")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_agrees_with_numpy(dtype, xla, causal, padded):
    query, key, value = random_heads(dtype)
    options = {"causal": causal, "mask": PADDING if padded else None, "bias": ops.cast(BIAS, dtype) if padded else None}

    def attend(query, key, value):
        plain = scaled_dot_product_attention(query, key, value, **options)
        return plain, *scaled_dot_product_attention(query, key, value, return_scores=True, **options)

    plain, output, scores = (compiled(attend) if xla else attend)(query, key, value)
    options["bias"] = None if options["bias"] is None else to_float64(options["bias"])
    wanted, wanted_scores = reference(*map(to_float64, (query, key, value)), **options)
    assert keras.backend.standardize_dtype(plain.dtype) == keras.backend.standardize_dtype(output.dtype) == dtype
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"
    for got, want in ((plain, wanted), (output, wanted), (scores, wanted_scores)):
        np.testing.assert_allclose(to_float64(got), want, rtol=0, atol=TOLERANCE[dtype] * np.abs(want).max())


@pytest.mark.parametrize(
    "dtype, xla", [*((dtype, False) for dtype in TOLERANCE), *((dtype, True) for dtype in list(TOLERANCE)[:1])]
)
@pytest.mark.parametrize("options", [{}, {"return_scores": True}, {"dropout": 0.5, "seed": 1}], ids=str)
def test_fully_masked_rows_are_zero_with_finite_gradients(dtype, xla, options):
    arrays = random_heads(dtype)

    def attend(query, key, value):
        result = scaled_dot_product_attention(query, key, value, mask=PADDING, causal=True, **options)
        return result[0] if "return_scores" in options else result

    def differentiate(*arrays):
        return gradients(attend, *arrays)

    output = (compiled(attend) if xla else attend)(*arrays)
    assert np.isfinite(to_float64(output)).all()
    assert not to_float64(output)[1].any()
    assert to_float64(output)[0].any()
    for gradient in (compiled(differentiate) if xla else differentiate)(*arrays):
        gradient = to_float64(gradient)
        assert np.isfinite(gradient).all()
        assert not gradient[1].any()
        assert gradient[0].any()


def test_gradients_do_not_depend_on_the_path():
    def attend(wants_scores):
        def function(*heads):
            result = scaled_dot_product_attention(*heads, mask=PADDING, bias=BIAS, return_scores=wants_scores)
            return result[0] if wants_scores else result

        return gradients(function, *random_heads())

    for plain, scored in zip(attend(False), attend(True), strict=True):
        np.testing.assert_allclose(plain, scored, rtol=0, atol=1e-6)


def test_large_products_stay_finite_in_float16():
    heads = [ops.full((1, 3, 1, 64), 60.0, dtype="float16") for _ in range(3)]  # products of 230,400 before scaling
    for options in ({}, {"dropout": 0.1, "seed": 0}):
        assert np.isfinite(to_float64(scaled_dot_product_attention(*heads, **options))).all()


def test_no_keys_at_all_give_zeros():
    query, key, value = random_heads()
    output = scaled_dot_product_attention(query, key[:, :0], value[:, :0], mask=np.ones((1, 1, 1, 0)))
    assert output.shape == query.shape
    assert not np.any(output)


def test_scale_replaces_the_default():
    query, key, value = random_heads()
    np.testing.assert_allclose(
        scaled_dot_product_attention(query, key, value, scale=1.0),
        reference(*map(to_float64, (query * DIM**0.5, key, value)))[0],
        atol=1e-5,
    )


def test_causal_mask_of_a_later_position():
    whole = np.asarray(causal_mask(6, 6))
    np.testing.assert_array_equal(whole[0, 0], np.tril(np.ones((6, 6), bool)))
    np.testing.assert_array_equal(np.asarray(causal_mask(2, 6, position=3)), whole[:, :, 3:5])


def random_projected(seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(size=(BATCH, n, HEADS * DIM)).astype("float32") for n in (QUERIES, KEYS, KEYS)]


@pytest.mark.parametrize("mask_dtype", ["int32", "bool", "float32"])
def test_layer_splits_and_joins_heads(mask_dtype):
    inputs = random_projected()
    heads = [x.reshape(BATCH, -1, HEADS, DIM) for x in inputs]
    mask = PADDING[:, 0, 0].astype(mask_dtype)
    output, scores = DotProductAttention(HEADS)(*inputs, padding_mask=mask, return_scores=True)
    wanted, wanted_scores = reference(*heads, mask=PADDING)
    np.testing.assert_allclose(output, wanted.reshape(BATCH, QUERIES, HEADS * DIM), atol=1e-6)
    np.testing.assert_allclose(scores, wanted_scores, atol=1e-6)


def test_layer_gives_one_value_however_it_is_asked():
    inputs, mask = random_projected(), PADDING[:, 0, 0]
    plain = DotProductAttention(HEADS)(*inputs, padding_mask=mask)
    with_dropout = DotProductAttention(HEADS, dropout=0.5)
    np.testing.assert_allclose(with_dropout(*inputs, padding_mask=mask), plain, atol=1e-6)
    np.testing.assert_allclose(with_dropout(*inputs, padding_mask=mask, return_scores=True)[0], plain, atol=1e-6)
    trained, scores = with_dropout(*inputs, padding_mask=mask, return_scores=True, training=True)
    assert np.abs(np.asarray(trained) - np.asarray(plain)).max() > 0.1
    np.testing.assert_allclose(np.asarray(scores)[[0, 2]].sum(-1), 1, atol=1e-6)  # the scores are those before dropout
    assert not np.asarray(scores)[1].any()
    runs = [with_dropout(*inputs, padding_mask=mask, training=True) for _ in range(400)]
    np.testing.assert_allclose(np.mean(runs, axis=0), plain, atol=0.35)
    assert not np.any(np.asarray(runs)[:, 1])


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
def test_functional_graph_of_unknown_sizes_saves_and_loads(policy, tmp_path):
    width = HEADS * DIM
    query, context = keras.Input((None, width), name="query"), keras.Input((None, width), name="context")
    mask = keras.Input((None,), dtype="int32", name="mask")
    layer = DotProductAttention(HEADS, causal=True, dropout=0.1, name="attention", dtype=policy)
    output, scores = layer(query, context, context, padding_mask=mask, return_scores=True)
    assert output.shape == (None, None, width) and scores.shape == (None, HEADS, None, None)
    model = keras.Model([query, context, mask], [output, scores])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.get_layer("attention").causal, loaded.get_layer("attention").dropout) == (True, 0.1)
    for seed, cut in ((0, 7), (1, 4)):
        q, k, _ = random_projected(seed)
        batch = [q, k[:, :cut], PADDING[:, 0, 0, :cut]]
        got, again = model(batch), loaded(batch)
        heads = [x.reshape(BATCH, -1, HEADS, DIM) for x in (batch[0], batch[1], batch[1])]
        wanted = reference(*heads, mask=PADDING[..., :cut], causal=True)[0].reshape(q.shape)
        dtype = keras.DTypePolicy(policy).compute_dtype
        assert keras.backend.standardize_dtype(got[0].dtype) == output.dtype == dtype
        assert keras.backend.standardize_dtype(got[1].dtype) == scores.dtype == "float32"
        np.testing.assert_allclose(to_float64(got[0]), wanted, atol=3 * TOLERANCE[dtype])
        np.testing.assert_array_equal(to_float64(got[0]), to_float64(again[0]))


@pytest.mark.parametrize("num_heads", [0, -1, 2.0, True, None])
def test_number_of_heads_must_be_a_positive_int(num_heads):
    with pytest.raises(ValueError, match=f"num_heads must be an int of at least 1, got {num_heads}"):
        DotProductAttention(num_heads)


@pytest.mark.parametrize("dropout", [1.0, 1.5, -0.1, float("nan"), "0.1", True])
def test_dropout_must_leave_something(dropout):
    with pytest.raises(ValueError, match="dropout must be a number from 0"):
        DotProductAttention(2, dropout=dropout)


def test_heads_must_divide_the_width():
    message = "hidden_dim 10 is not divisible by num_heads 3"
    with pytest.raises(ValueError, match=message):
        DotProductAttention(3)(*[np.zeros((1, 2, 10), "float32")] * 3)
    with pytest.raises(ValueError, match=message):
        DotProductAttention(3)(*[keras.Input((None, 10))] * 3)
    with pytest.raises(ValueError, match=message):
        multi_head_attention(keras.Input((None, 10)), keras.Input((None, 12)), 3, "attention")


def test_multi_head_attention_agrees_with_keras():
    width = HEADS * DIM
    query, context = keras.Input((None, width)), keras.Input((None, 12))
    mask = keras.Input((None,), dtype="int32")
    names = ("self.query", "self.key", "self.value", "output.dense")
    x = multi_head_attention(query, context, HEADS, "block", padding_mask=mask, projections=names)
    model = keras.Model([query, context, mask], x)
    other = keras.layers.MultiHeadAttention(HEADS, DIM)
    other.build((None, None, width), (None, None, 12))
    random = np.random.default_rng(0)
    weights = [random.normal(size=weight.shape).astype("float32") for weight in other.get_weights()]
    other.set_weights(weights)
    for index, name in enumerate(names):
        kernel, bias = weights[2 * index], weights[2 * index + 1]
        layer = model.get_layer(f"block.{name}")
        layer.set_weights([kernel.reshape(layer.kernel.shape), bias.reshape(layer.bias.shape)])
    q, k = random.normal(size=(BATCH, QUERIES, width)), random.normal(size=(BATCH, KEYS, 12))
    padding = PADDING[:, 0, 0].copy()
    padding[1, 2:4] = 1  # Keras attends to padding where a row has nothing else
    wanted = np.asarray(other(q, k, attention_mask=padding[:, None, :].astype(bool)))
    got = np.asarray(model([q, k, padding]))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())

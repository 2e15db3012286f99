import keras
import numpy as np
import pytest
from backends import compiled, gradients, to_float64
from keras import ops

from kzoo.layers import LearnedPositions, RelativePositionBias, RotaryPositions, SinusoidalPositions
from kzoo.layers.attention import scaled_dot_product_attention
from kzoo.layers.positions import position_angles, positions_of_tokens, relative_position_bucket, rotate, sinusoids

TOLERANCE = {"float32": 1e-6, "float16": 4e-3, "bfloat16": 3e-2}


def reference_angles(positions, dim, max_wavelength=10000.0):
    return np.asarray(positions, "float64")[..., None] / max_wavelength ** (np.arange(0, dim, 2) / dim)


def reference_sinusoids(length, dim, ordering):
    """The paper's two formulas, entry by entry."""
    table = np.zeros((length, dim))
    for position, i in np.ndindex(length, dim // 2):
        angle = position / 10000 ** (2 * i / dim)
        sine, cosine = (2 * i, 2 * i + 1) if ordering == "interleaved" else (i, dim // 2 + i)
        table[position, sine], table[position, cosine] = np.sin(angle), np.cos(angle)
    return table


def reference_rotation(x, ordering):
    """Every pair of features as a complex number, multiplied by one of length 1."""
    turn = np.exp(1j * reference_angles(np.arange(x.shape[1]), x.shape[-1]))[:, None, :]
    turned = np.zeros(x.shape)
    if ordering == "interleaved":
        first, second = slice(0, None, 2), slice(1, None, 2)
    else:
        half = x.shape[-1] // 2
        first, second = slice(0, half), slice(half, None)
    pairs = (x[..., first] + 1j * x[..., second]) * turn
    turned[..., first], turned[..., second] = pairs.real, pairs.imag
    return turned


def reference_bucket(distance, num_buckets, max_distance, bidirectional):
    """One distance at a time, in exact arithmetic where the boundaries are whole numbers."""
    bucket = 0
    if bidirectional:
        num_buckets //= 2
        bucket = num_buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = max(-distance, 0)
    exact = num_buckets // 2
    if distance < exact:
        return bucket + distance
    growth = np.log(distance / exact) / np.log(max_distance / exact) * (num_buckets - exact)
    return bucket + min(exact + int(growth + 1e-9), num_buckets - 1)


def random(shape, dtype="float32", seed=0):
    return ops.cast(np.random.default_rng(seed).normal(size=shape).astype("float32"), dtype)


@pytest.mark.parametrize("xla", [False, True])
def test_angles_stay_exact_far_out(xla):
    positions = np.array([0, 1, 511, 512, 5000, 65535, 131071], "int32")

    def function(positions):
        return position_angles(positions, 64)

    turned = np.exp(1j * to_float64((compiled(function) if xla else function)(positions)))
    np.testing.assert_allclose(turned, np.exp(1j * reference_angles(positions, 64)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("ordering", ["interleaved", "half_split"])
@pytest.mark.parametrize("xla", [False, True])
def test_sinusoids_are_the_papers(ordering, xla):
    def function(positions):
        return sinusoids(positions, 32, ordering)

    got = to_float64((compiled(function) if xla else function)(np.arange(600, dtype="int32")))
    np.testing.assert_allclose(got, reference_sinusoids(600, 32, ordering), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("ordering", ["interleaved", "half_split"])
@pytest.mark.parametrize("xla", [False, True])
def test_rotation_agrees_with_numpy(dtype, ordering, xla):
    x = random((2, 9, 3, 8), dtype)

    def function(x):
        return rotate(x, ops.arange(9), ordering)

    got = (compiled(function) if xla else function)(x)
    wanted = reference_rotation(to_float64(x), ordering)
    assert keras.backend.standardize_dtype(got.dtype) == dtype
    np.testing.assert_allclose(to_float64(got), wanted, rtol=0, atol=TOLERANCE[dtype] * np.abs(wanted).max())


@pytest.mark.parametrize("ordering", ["interleaved", "half_split"])
def test_rotated_products_depend_on_the_distance_only(ordering):
    query, key = (random((1, 1, 1, 16), seed=seed) for seed in (0, 1))

    def product(query_position, key_position):
        turned = (rotate(x, ops.array([p]), ordering) for x, p in ((query, query_position), (key, key_position)))
        return float(ops.sum(next(turned) * next(turned)))

    assert product(3, 7) == pytest.approx(product(1003, 1007), abs=1e-4)
    assert abs(product(3, 7) - product(3, 8)) > 1e-2


def test_rotation_takes_a_position_per_example():
    x = random((2, 3, 1, 8))
    got = rotate(x, np.array([[4, 5, 6], [0, 1, 2]]))
    shifted = rotate(ops.concatenate([ops.zeros((1, 4, 1, 8)), x[:1]], axis=1), ops.arange(7))
    np.testing.assert_allclose(got[0], shifted[0, 4:], atol=1e-6)
    np.testing.assert_allclose(got[1], rotate(x, ops.arange(3))[1], atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 128), (8, 20), (64, 256)])
def test_buckets_are_t5s(bidirectional, num_buckets, max_distance):
    distances = np.arange(-300, 301)
    got = np.asarray(relative_position_bucket(distances, num_buckets, max_distance, bidirectional))
    wanted = [reference_bucket(int(d), num_buckets, max_distance, bidirectional) for d in distances]
    np.testing.assert_array_equal(got, wanted)
    assert set(got) == set(range(num_buckets)) - ({num_buckets // 2} if bidirectional else set())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_relative_position_bias_feeds_attention(dtype, xla, bidirectional):
    layer = RelativePositionBias(2, num_buckets=8, max_distance=20, bidirectional=bidirectional, dtype=dtype)
    query, key = random((3, 5, 2, 4), dtype), random((3, 30, 2, 4), dtype, seed=1)
    layer.build(query.shape, key.shape)
    bias = (compiled(layer) if xla else layer)(query, key)
    table = to_float64(layer.embeddings)
    assert table.shape == (8, 2)
    buckets = [[reference_bucket(k - q, 8, 20, bidirectional) for k in range(30)] for q in range(5)]
    np.testing.assert_array_equal(to_float64(bias), table[np.array(buckets)].transpose(2, 0, 1)[None])
    gradient = gradients(lambda b: scaled_dot_product_attention(query, key, key, bias=b), bias)[0]
    assert np.isfinite(to_float64(gradient)).all() and to_float64(gradient).any()


LAYERS = {
    "sinusoidal": (SinusoidalPositions, {"ordering": "half_split"}),
    "learned": (LearnedPositions, {"max_length": 12}),
    "rotary": (RotaryPositions, {"num_heads": 2, "ordering": "interleaved"}),
}


def expected(name, layer, x):
    if name == "sinusoidal":
        return x + reference_sinusoids(x.shape[1], x.shape[2], "half_split")
    if name == "learned":
        return x + to_float64(layer.embeddings)[: x.shape[1]]
    return reference_rotation(x.reshape(*x.shape[:2], 2, -1), "interleaved").reshape(x.shape)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("policy", [*TOLERANCE, "mixed_bfloat16", "mixed_float16"])
def test_layers_in_a_graph_of_unknown_sizes(name, policy, tmp_path):
    kind, arguments = LAYERS[name]
    layer = kind(**arguments, dtype=policy, name="positions")
    inputs = keras.Input((None, 16))
    model = keras.Model(inputs, layer(inputs))
    assert model.output.shape == (None, None, 16)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    dtype = keras.DTypePolicy(policy).compute_dtype
    for shape in ((3, 12, 16), (1, 1, 16), (2, 5, 16)):
        x = random(shape, dtype)
        wanted = expected(name, layer, to_float64(x))
        scale = np.abs(wanted).max()
        for run in (model, compiled(model), loaded):
            got = run(x)
            assert keras.backend.standardize_dtype(got.dtype) == model.output.dtype == dtype
            np.testing.assert_allclose(to_float64(got), wanted, rtol=0, atol=TOLERANCE[dtype] * scale)
    (gradient,) = gradients(model, x)
    assert np.isfinite(to_float64(gradient)).all() and to_float64(gradient).any()


def test_relative_position_bias_in_a_graph_saves_and_loads(tmp_path):
    query, key = keras.Input((None, 4)), keras.Input((None, 6))
    model = keras.Model([query, key], RelativePositionBias(3, num_buckets=16, bidirectional=False)(query, key))
    assert model.output.shape == (1, 3, None, None)
    model.save(tmp_path / "model.keras")
    batch = [random((2, 5, 4)), random((2, 7, 6))]
    assert model(batch).shape == (1, 3, 5, 7)
    np.testing.assert_array_equal(model(batch), keras.models.load_model(tmp_path / "model.keras")(batch))


def test_longer_than_the_table_is_an_error():
    message = "a sequence of length 13 is longer than max_length 12"
    with pytest.raises(ValueError, match=message):
        LearnedPositions(12)(keras.Input((13, 4)))
    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, LearnedPositions(12)(inputs))
    assert model(np.zeros((1, 12, 4), "float32")).shape == (1, 12, 4)
    for run in (model, compiled(model), model.predict_on_batch):
        with pytest.raises(ValueError, match=message):
            run(np.zeros((1, 13, 4), "float32"))


@pytest.mark.parametrize("max_length", [1, 12])
@pytest.mark.parametrize("xla", [False, True])
def test_longer_than_the_table_where_the_length_is_open(max_length, xla):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("only TensorFlow compiles functions for a length that is not known")
    import tensorflow as tf

    inputs = keras.Input((None, 4))
    model = keras.Model(inputs, LearnedPositions(max_length)(inputs))
    run = tf.function(model, input_signature=[tf.TensorSpec((None, None, 4))], jit_compile=xla)
    assert run(tf.zeros((1, max_length, 4))).shape == (1, max_length, 4)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{max_length}.*{max_length + 1}"):
        run(tf.zeros((1, max_length + 1, 4)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: SinusoidalPositions("sorted")(x), "ordering must be one of interleaved, half_split, got 'sorted'"),
        (lambda x: RotaryPositions(2, "sorted")(x), "ordering must be one of interleaved, half_split, got 'sorted'"),
        (lambda x: SinusoidalPositions()(x[..., :9]), "even, got 9"),
        (lambda x: RotaryPositions(6)(x), r"even, got 3 \(hidden_dim 18, num_heads 6\)"),
        (lambda x: RotaryPositions(4)(x), "hidden_dim 18 is not divisible by num_heads 4"),
        (lambda x: RotaryPositions(0)(x), "num_heads must be an int of at least 1, got 0"),
        (lambda x: LearnedPositions(0)(x), "max_length must be an int of at least 1, got 0"),
        (lambda x: RelativePositionBias(2, num_buckets=7)(x, x), "num_buckets 7"),
        (lambda x: RelativePositionBias(2, num_buckets=32, max_distance=8)(x, x), "max_distance 8"),
    ],
)
@pytest.mark.parametrize("symbolic", [False, True])
def test_bad_arguments_are_named(make, message, symbolic):
    with pytest.raises(ValueError, match=message):
        make(keras.Input((None, 18)) if symbolic else np.zeros((1, 2, 18), "float32"))


@pytest.mark.parametrize("make", [SinusoidalPositions, lambda: LearnedPositions(9), lambda: RotaryPositions(2)])
def test_positions_may_be_given(make):
    """As left padding and decoding need them: a part of a sequence gets what it gets within the whole."""
    layer, x = make(), np.random.default_rng(0).random((2, 6, 8), "float32")
    whole = ops.convert_to_numpy(layer(x))
    part = ops.convert_to_numpy(layer(x[:, 3:], positions=np.array([3, 4, 5])))
    np.testing.assert_allclose(part, whole[:, 3:], atol=1e-6)
    rows = ops.convert_to_numpy(layer(x[:, 3:], positions=np.array([[3, 4, 5], [0, 1, 2]])))
    np.testing.assert_allclose(rows[0], whole[0, 3:], atol=1e-6)
    np.testing.assert_allclose(rows[1], ops.convert_to_numpy(layer(x[:, 3:]))[1], atol=1e-6)


def test_positions_of_tokens_do_not_count_padding():
    mask = np.array([[0, 0, 1, 1], [1, 1, 1, 0]])
    np.testing.assert_array_equal(ops.convert_to_numpy(positions_of_tokens(mask)), [[0, 0, 0, 1], [0, 1, 2, 2]])


def test_tables_begin_small():
    bias, learned = RelativePositionBias(64, num_buckets=32), LearnedPositions(100)
    bias.build((1, 4, 64), (1, 4, 64))
    learned.build((1, 4, 64))
    assert ops.convert_to_numpy(bias.embeddings).std() == pytest.approx(0.05, rel=0.1)
    assert np.abs(ops.convert_to_numpy(learned.embeddings)).max() == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SinusoidalPositions("sorted"),
        lambda: RotaryPositions(2, "sorted"),
        lambda: sinusoids(np.arange(3), 4, "sorted"),
        lambda: rotate(np.zeros((1, 3, 2, 4), "float32"), np.arange(3), "sorted"),
    ],
)
def test_an_unknown_ordering_is_refused_at_once(make):
    with pytest.raises(ValueError, match="ordering must be one of interleaved, half_split, got 'sorted'"):
        make()


@pytest.mark.parametrize("make", [RotaryPositions, RelativePositionBias])
def test_no_heads_are_refused_at_once(make):
    with pytest.raises(ValueError, match="num_heads must be an int of at least 1, got 0"):
        make(0)

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled, outputs_of

import kzoo
from kzoo.models import transformer

GOLDEN = pathlib.Path(__file__).with_name("golden") / "transformer.safetensors"
SMALL = {"num_layers": 2, "hidden_dim": 16, "num_heads": 4, "intermediate_dim": 24, "vocabulary_size": 37}


def golden():
    """The reference's tensors by Marian's names, the inputs and the logits."""
    tensors = safetensors.numpy.load_file(GOLDEN)
    inputs = {name: tensors.pop(f"input.{name}") for name in INPUTS}
    logits = tensors.pop("output")
    return tensors, inputs, logits


INPUTS = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids")


@pytest.fixture
def marian(tmp_path):
    return load(tmp_path)


def load(folder):
    """A model with the golden file's weights, its inputs and its logits."""
    tensors, inputs, logits = golden()
    safetensors.numpy.save_file(tensors, folder / "marian.safetensors")
    return kzoo.build("transformer", folder / "marian.safetensors", positions="half_split", **SMALL), inputs, logits


def compare(folder):
    """(ours, the reference's) logits."""
    model, inputs, wanted = load(folder)
    yield run(model, inputs), wanted


def example(batch=3, source=6, target=5, seed=0):
    random = np.random.default_rng(seed)
    return {
        "encoder_token_ids": random.integers(0, 37, (batch, source)).astype("int32"),
        "encoder_padding_mask": np.ones((batch, source), "int32"),
        "decoder_token_ids": random.integers(0, 37, (batch, target)).astype("int32"),
    }


def run(model, inputs):
    return outputs_of(model, inputs)


@pytest.mark.parametrize(
    ("name", "embedding", "stack"),
    [
        ("transformer_base", 37000 * 512, 44_138_496),
        ("transformer_big", 37000 * 1024, 214_245_376 - 37000 * 1024),
        ("transformer_tiny", 512 * 128, 925_696),
    ],
)
def test_parameter_counts(name, embedding, stack):
    with keras.StatelessScope(initialize_variables=False):
        model = kzoo.build(name)
    assert model.count_params() == embedding + stack
    assert model.get_layer("model.shared").count_params() == embedding
    if name == "transformer_base":
        assert model.count_params() == 63_082_496


@pytest.mark.parametrize("xla", [False, True])
def test_agrees_with_marian(marian, xla):
    model, inputs, wanted = marian
    got = np.asarray((compiled(model) if xla else model)(inputs))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_orders_of_the_sinusoids_are_different_models(marian, tmp_path):
    model, inputs, wanted = marian
    kzoo.save_weights(model, tmp_path / "weights.safetensors")
    papers = kzoo.build("transformer", tmp_path / "weights.safetensors", **SMALL)
    assert np.abs(run(papers, inputs) - wanted).max() > 0.1


def test_writes_marians_names_and_values(marian, tmp_path):
    model, inputs, wanted = marian
    tensors, _, _ = golden()
    kzoo.save_weights(model, tmp_path / "ours.safetensors")
    ours = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert set(tensors) - set(ours) == set(transformer.DERIVED)
    assert not set(ours) - set(tensors)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, tensors[name])


@pytest.mark.parametrize("name", ["lm_head.weight", "model.encoder.embed_tokens.weight", "final_logits_bias"])
def test_refuses_a_checkpoint_that_is_not_tied(name, tmp_path):
    tensors, _, _ = golden()
    tensors[name] = tensors[name] + 1
    safetensors.numpy.save_file(tensors, tmp_path / "untied.safetensors")
    with pytest.raises(ValueError, match=name):
        kzoo.build("transformer", tmp_path / "untied.safetensors", positions="half_split", **SMALL)


OTHER_BACKEND = """
import sys, numpy as np, kzoo
inputs = dict(np.load(sys.argv[1]))
model = kzoo.build("transformer", sys.argv[2], num_layers=2, hidden_dim=16, num_heads=4, intermediate_dim=24,
                   vocabulary_size=37)
np.save(sys.argv[3], np.asarray(model(inputs)))
"""


def test_backends_agree(tmp_path):
    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"
    pytest.importorskip(other, reason=f"the {other} backend is not installed")
    model, inputs = kzoo.build("transformer", **SMALL), example()
    inputs["encoder_padding_mask"][0, 3:] = 0
    inputs["encoder_padding_mask"][1] = 0
    kzoo.save_weights(model, tmp_path / "weights.safetensors")
    np.savez(tmp_path / "inputs.npz", **inputs)
    files = [str(tmp_path / name) for name in ("inputs.npz", "weights.safetensors", "logits.npy")]
    environment = {**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", OTHER_BACKEND, *files], env=environment, check=True, timeout=300)
    np.testing.assert_allclose(run(model, inputs), np.load(files[2]), rtol=0, atol=1e-5)


def test_later_target_tokens_change_nothing_earlier():
    model, inputs = kzoo.build("transformer", **SMALL), example()
    before = run(model, inputs)
    for position in range(1, 5):
        changed = {**inputs, "decoder_token_ids": inputs["decoder_token_ids"].copy()}
        changed["decoder_token_ids"][:, position] = (changed["decoder_token_ids"][:, position] + 1) % 37
        after = run(model, changed)
        np.testing.assert_allclose(after[:, :position], before[:, :position], rtol=0, atol=1e-6)
        assert np.abs(after[:, position:] - before[:, position:]).max(axis=(0, 2)).min() > 1e-3


@pytest.mark.parametrize("padding", [1, 7])
@pytest.mark.parametrize("side", ["source", "target"])
def test_padding_changes_nothing(padding, side):
    model, inputs = kzoo.build("transformer", **SMALL), example()
    ids = "encoder_token_ids" if side == "source" else "decoder_token_ids"
    padded = {**inputs, ids: np.pad(inputs[ids], ((0, 0), (0, padding)), constant_values=3)}
    if side == "source":
        padded["encoder_padding_mask"] = np.pad(inputs["encoder_padding_mask"], ((0, 0), (0, padding)))
        unmasked = {**padded, "encoder_padding_mask": np.ones_like(padded["encoder_padding_mask"])}
        assert np.abs(run(model, unmasked) - run(model, inputs)).max() > 1e-2
    np.testing.assert_allclose(run(model, padded)[:, :5], run(model, inputs), rtol=0, atol=1e-5)


def test_a_batch_equals_its_examples_one_by_one():
    model, inputs = kzoo.build("transformer", **SMALL), example(batch=4)
    singles = [run(model, {name: array[i : i + 1] for name, array in inputs.items()}) for i in range(4)]
    np.testing.assert_allclose(run(model, inputs), np.concatenate(singles), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("source", "target"), [(1, 1), (1, 5), (6, 1), (0, 5), (6, 0)])
def test_shortest_sequences(source, target):
    logits = run(kzoo.build("transformer", **SMALL), example(source=source, target=target))
    assert logits.shape == (3, target, 37) and np.isfinite(logits).all()


def test_fully_padded_source_reads_nothing_of_it():
    model, inputs = kzoo.build("transformer", **SMALL), example()
    inputs["encoder_padding_mask"][1] = 0
    other = {**inputs, "encoder_token_ids": inputs["encoder_token_ids"][::-1, ::-1].copy()}
    first, second = run(model, inputs), run(model, other)
    assert np.isfinite(first).all()
    np.testing.assert_allclose(first[1], second[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float16"])
def test_trains_in_every_precision_with_a_fully_padded_source(policy):
    small = {**SMALL, "num_layers": 1}
    model, inputs = kzoo.build("transformer", dtype=policy, **small), example()
    inputs["encoder_padding_mask"][1] = 0
    exact = kzoo.build("transformer", **small)
    exact.set_weights([np.asarray(weight, "float32") for weight in model.get_weights()])
    logits, wanted = run(model, inputs), run(exact, inputs)
    assert model.output.dtype == "float32" and logits.dtype == np.float32
    tolerance = {"float32": 1e-6, "float16": 0.02, "bfloat16": 0.15}[keras.DTypePolicy(policy).compute_dtype]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=tolerance)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=policy == "mixed_bfloat16" or keras.backend.backend() == "jax")
    before = model.get_weights()
    model.fit(inputs, np.ones((3, 5), "int32"), batch_size=3, epochs=2, verbose=0)
    after = model.get_weights()
    assert all(np.isfinite(np.asarray(weight, "float32")).all() for weight in after)
    assert sum(not np.array_equal(a, b) for a, b in zip(after, before, strict=True)) > len(after) / 2


def test_learns_to_copy():
    keras.utils.set_random_seed(0)
    model = kzoo.build("transformer", **{**SMALL, "hidden_dim": 32, "num_layers": 1, "dropout": 0.0})
    random = np.random.default_rng(0)
    source = random.integers(2, 10, (512, 4)).astype("int32")
    inputs = {
        "encoder_token_ids": source,
        "encoder_padding_mask": np.ones_like(source),
        "decoder_token_ids": np.pad(source[:, :-1], ((0, 0), (1, 0)), constant_values=1),
    }
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    history = model.fit(inputs, source, batch_size=64, epochs=20, verbose=0).history
    assert history["accuracy"][0] < 0.5 < 0.95 < history["accuracy"][-1]


def test_dropout_acts_in_training_only():
    model, inputs = kzoo.build("transformer", **SMALL, dropout=0.5), example()
    np.testing.assert_array_equal(run(model, inputs), run(model, inputs))
    first, second = (np.asarray(model(inputs, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 0.1


def test_graph_is_flat_and_saves_and_loads(tmp_path):
    model, inputs = kzoo.build("transformer", **SMALL), example()
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert {name: tensor.shape for name, tensor in model.input.items()} == dict.fromkeys(INPUTS, (None, None))
    assert model.output_shape == (None, None, 37)
    names = {layer.name for layer in model.layers}
    assert names == {layer.name for layer in kzoo.build("transformer", **SMALL).layers}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(loaded, inputs), run(model, inputs))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"num_heads": 3}, "hidden_dim 512 is not divisible by num_heads 3"),
        ({"hidden_dim": 20}, "hidden_dim 20 is not divisible by num_heads 8"),
        ({"num_heads": 1, "hidden_dim": 15}, "even, got 15"),
        ({"num_heads": 0}, "num_heads must be at least 1, got 0"),
        ({"num_layers": -1}, "num_layers must be at least 1, got -1"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"vocabulary_size": 0}, "vocabulary_size must be at least 1, got 0"),
        ({"positions": "learned"}, "positions must be one of interleaved, half_split, got 'learned'"),
    ],
)
def test_bad_sizes_are_named(overrides, message):
    with keras.StatelessScope(initialize_variables=False), pytest.raises(ValueError, match=message):
        kzoo.build("transformer", **overrides)

"""Marian beside transformers, seq2seq beside stacked torch.nn.LSTMs, and what padding may not change in either."""

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled
from golden_files import golden, run, write

import kzoo
from kzoo import catalog

MARIAN = {"num_layers": 2, "hidden_dim": 16, "num_heads": 4, "intermediate_dim": 24, "vocabulary_size": 37}
SEQ2SEQ = {"num_layers": 3, "hidden_dim": 12, "vocabulary_size": 37, "source_vocabulary_size": 31}
# golden file, which is also the name of its output -> what to build
CASES = {
    "marian": ("marian", MARIAN),
    "marian_apart": ("marian", {**MARIAN, "source_vocabulary_size": 31}),
    "marian_uneven": (
        "marian",
        {
            **MARIAN,
            **{"num_layers": 1, "num_heads": 2, "intermediate_dim": 12},
            **{"num_decoder_layers": 2, "num_decoder_heads": 4, "decoder_intermediate_dim": 24},
        },
    ),
    "seq2seq": ("seq2seq_small", SEQ2SEQ),
    "seq2seq_attention": ("seq2seq_attention", SEQ2SEQ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    return load(tmp_path_factory.mktemp("reference"), request.param)


def load(folder, case):
    """A model with the reference's weights, the inputs, the reference's logits and tensors."""
    name, overrides = CASES[case]
    tensors, inputs, outputs = golden(case)
    return kzoo.build(name, write(tensors, folder), **overrides), inputs, outputs[case], tensors


def compare(folder, case):
    """(ours, the reference's) logits."""
    model, inputs, wanted, _ = load(folder, case)
    yield run(model, inputs), wanted


@pytest.mark.parametrize("xla", [False, True])
def test_agrees_with_the_reference(case, xla):
    model, inputs, wanted, _ = case
    got = np.asarray(compiled(model)(inputs)) if xla else run(model, inputs)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_writes_what_the_reference_loads(case, tmp_path):
    """Names and values; scripts/golden/text_models.py and seq2seq.py --check-back do the same with torch itself."""
    model, _, _, tensors = case
    kzoo.save_weights(model, tmp_path / "ours.safetensors")
    ours = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert set(tensors) - set(ours) <= set(catalog.literals(model.kzoo.architecture).get("DERIVED", {}))
    for name, value in ours.items():
        if "bias_ih" in name:  # torch's two biases come back as their sum and zeros
            partner = name.replace("bias_ih", "bias_hh")
            np.testing.assert_allclose(value + ours[partner], tensors[name] + tensors[partner], rtol=1e-6)
        elif "bias_hh" not in name:
            np.testing.assert_array_equal(value, tensors[name])


def test_padding_changes_nothing(case):
    model, inputs, wanted, _ = case
    for before, after in ((0, 1), (0, 7), (3, 0)):
        if before and model.kzoo.architecture == "transformer":
            continue  # Marian counts positions from the first token, padding or not
        widths = ((0, 0), (before, after))
        padded = {
            **inputs,
            "encoder_token_ids": np.pad(inputs["encoder_token_ids"], widths, constant_values=3),
            "encoder_padding_mask": np.pad(inputs["encoder_padding_mask"], widths),
            "decoder_token_ids": np.pad(inputs["decoder_token_ids"], ((0, 0), (0, after)), constant_values=3),
        }
        scale, length = np.abs(wanted).max(), wanted.shape[1]
        np.testing.assert_allclose(run(model, padded)[:, :length], wanted, rtol=0, atol=1e-5 * scale)
        unmasked = {**padded, "encoder_padding_mask": np.ones_like(padded["encoder_padding_mask"])}
        assert np.abs(run(model, unmasked)[:, :length] - wanted).max() > 1e-3 * scale


def test_a_batch_equals_its_examples_one_by_one(case):
    model, inputs, wanted, _ = case
    singles = [run(model, {name: array[i : i + 1] for name, array in inputs.items()}) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(singles), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_a_fully_padded_source_reads_nothing_of_it(case):
    model, inputs, _, _ = case
    empty = {**inputs, "encoder_padding_mask": inputs["encoder_padding_mask"] * np.array([[1], [0], [1]], "int32")}
    other = {**empty, "encoder_token_ids": empty["encoder_token_ids"][:, ::-1].copy()}
    first, second = run(model, empty), run(model, other)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first[1], second[1])


def test_later_target_tokens_change_nothing_earlier(case):
    model, inputs, wanted, _ = case
    changed = {**inputs, "decoder_token_ids": inputs["decoder_token_ids"].copy()}
    changed["decoder_token_ids"][:, 4] = changed["decoder_token_ids"][:, 4] % 36 + 1
    after, scale = run(model, changed), np.abs(wanted).max()
    np.testing.assert_allclose(after[:, :4], wanted[:, :4], rtol=0, atol=1e-5 * scale)
    assert np.abs(after[:, 4] - wanted[:, 4]).min(axis=-1).max() > 1e-5 * scale


def test_the_bias_of_the_logits_is_not_trained():
    model = kzoo.build("marian", **MARIAN)
    layer = model.get_layer("final_logits_bias")
    assert layer.weights and not layer.trainable_weights
    assert not any("final_logits_bias" in variable.path for variable in model.trainable_variables)


def test_other_activations_are_refused_by_name():
    with pytest.raises(ValueError, match="activation must be one of relu, gelu, silu, swish, got 'tanh'"):
        kzoo.build("transformer", activation="tanh", **MARIAN)


def test_a_file_with_one_table_does_not_load_into_a_model_with_two(tmp_path):
    tensors, _, _ = golden("marian")
    with pytest.raises(ValueError, match="model.shared.weight"):
        kzoo.build("marian", write(tensors, tmp_path), **{**MARIAN, "source_vocabulary_size": 37})


def test_a_source_vocabulary_has_its_own_limit():

    model = kzoo.build("seq2seq", **SEQ2SEQ)
    inputs = {
        "encoder_token_ids": np.full((1, 2), 31, "int32"),
        "encoder_padding_mask": np.ones((1, 2), "int32"),
        "decoder_token_ids": np.full((1, 2), 36, "int32"),
    }
    with pytest.raises(ValueError, match="encoder_token_ids.*token id 31 .* outside the vocabulary 0..30"):
        kzoo.data.check_inputs(model, inputs)
    kzoo.data.check_inputs(model, {**inputs, "encoder_token_ids": inputs["encoder_token_ids"] - 1})


def test_trains_with_a_fully_padded_source():
    from kzoo import tasks
    from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

    model = kzoo.build("seq2seq_attention", **{**SEQ2SEQ, "num_layers": 1})
    x, y, weight = synthetic_batch(model, 3, sequence_length=4)
    x["encoder_padding_mask"][0] = 0
    tasks.compile_model(model, keras.optimizers.Adam(0.01))
    losses = [float(model.train_on_batch(x, y, weight, return_dict=True)["loss"]) for _ in range(5)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert all(np.isfinite(variable.numpy()).all() for variable in model.trainable_variables)

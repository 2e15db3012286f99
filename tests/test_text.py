"""Text: tokenizers round-trip, pairs teach the decoder one token at a time, nothing leaks into validation."""

import keras
import numpy as np
import pytest
from prepared_data import needs

import kzoo.data
from kzoo.catalog import Card
from kzoo.data import columns, text_pairs


def make_model(vocabulary_size=64):
    ids = {name: keras.Input((None,), dtype="int32", name=name) for name in ("encoder_token_ids", "decoder_token_ids")}
    mask = keras.Input((None,), dtype="int32", name="encoder_padding_mask")
    embedding = keras.layers.Embedding(vocabulary_size, 4)
    weights = keras.ops.cast(mask, "float32")[..., None]
    source = keras.ops.mean(embedding(ids["encoder_token_ids"]) * weights, axis=1, keepdims=True)
    logits = keras.layers.Dense(vocabulary_size)(embedding(ids["decoder_token_ids"]) + source)
    model = keras.Model({**ids, "encoder_padding_mask": mask}, logits, name="small_translator")
    model.kzoo = Card("small_translator", task="translation")
    return model


MODEL = make_model()


@pytest.fixture(scope="module")
def reverse():
    return kzoo.data.load("reverse_digits", MODEL, batch_size=32)


# Pairs


def test_the_decoder_reads_start_and_tokens_and_is_asked_for_tokens_and_end(reverse):
    x, labels, weight = (value for value in next(iter(reverse.train.epoch(0))))
    x = {name: value.numpy() for name, value in x.items()}
    labels, weight = labels.numpy(), weight.numpy()
    assert set(x) == {"encoder_token_ids", "encoder_padding_mask", "decoder_token_ids"}
    assert all(value.dtype == np.int32 for value in (*x.values(), labels))
    assert weight.dtype == np.float32
    assert {value.shape for value in (*x.values(), labels, weight)} == {(32, 16)}
    sources, targets = reverse.tokenizer.decode(x["encoder_token_ids"]), reverse.tokenizer.decode(labels)
    assert targets == [source[::-1] for source in sources]
    np.testing.assert_array_equal(x["decoder_token_ids"][:, 0], 1)
    for row in range(32):
        count = len(targets[row])
        np.testing.assert_array_equal(x["decoder_token_ids"][row, 1 : count + 1], labels[row, :count])
        assert labels[row, count] == 2
        np.testing.assert_array_equal(weight[row], np.arange(16) <= count)
        np.testing.assert_array_equal(x["encoder_padding_mask"][row], np.arange(16) <= count)
        assert not labels[row, count + 1 :].any()
        assert not x["decoder_token_ids"][row, count + 1 :].any()
    assert MODEL(x).shape == (32, 16, 64)


def test_reverse_digits_is_a_pure_function_of_its_seed_and_does_not_leak():
    splits = text_pairs.reverse_digits()
    assert {name: len(sources) for name, (sources, _) in splits.items()} == {
        "train": 20_000, "validation": 1_000, "test": 1_000,
    }  # fmt: skip
    sets = [set(sources) for sources, _ in splits.values()]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 22_000
    assert splits == text_pairs.reverse_digits(0)
    assert splits["train"][0] != text_pairs.reverse_digits(1)["train"][0]


def test_pairs_repeat_and_can_be_entered_late(reverse):
    again = kzoo.data.load("reverse_digits", MODEL, batch_size=32)
    assert again.fingerprint == reverse.fingerprint
    whole, rest = list(reverse.train.epoch(2)), list(again.train.epoch(2, skip_batches=600))
    assert len(whole) - 600 == len(rest) == 25
    for (x, y, w), (x_rest, y_rest, w_rest) in zip(whole[600:], rest, strict=True):
        np.testing.assert_array_equal(x["encoder_token_ids"], x_rest["encoder_token_ids"])
        np.testing.assert_array_equal(y, y_rest)
        np.testing.assert_array_equal(w, w_rest)
    assert (reverse.train.example_ids(0) != reverse.train.example_ids(1)).any()


def test_long_texts_are_cut_counted_and_reported():
    data = kzoo.data.load("reverse_digits", MODEL, max_length=6, num_examples=1000)
    assert data.notes[0].startswith("reverse_digits train:")
    assert "max_length=6" in data.notes[0]
    x, labels, weight = next(iter(data.train.epoch(0)))
    assert labels.shape == (64, 8)
    assert np.max(np.sum(weight, axis=1)) == 6
    assert not kzoo.data.load("reverse_digits", MODEL, max_length=11).notes, "ten digits and start or end fit"
    with pytest.raises(ValueError, match="max_length must be at least 2"):
        kzoo.data.load("reverse_digits", MODEL, max_length=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_token_ids": np.full((2, 5), 64)}, r"token id 64 at \[0, 0\] is outside the vocabulary 0\.\.63"),
        ({"decoder_token_ids": np.full((2, 5), -1)}, "token id -1"),
        ({"decoder_token_ids": np.full((2, 5), 2**31 + 5)}, "token id 2147483653"),
        ({"decoder_token_ids": np.full((2, 5), 1.5)}, "must be ints"),
        ({"decoder_token_ids": np.ones((3, 5), int)}, "different numbers of examples"),
        ({"decoder_token_ids": np.ones((2, 0), int)}, "is empty"),
        ({"target": np.ones((2, 5))}, r"unexpected \['target'\]"),
    ],
)
def test_bad_token_ids_are_refused(change, message):
    good = {name: np.ones((2, 5), int) for name in columns.inputs_of(MODEL)}
    assert all(value.dtype == np.int32 for value in kzoo.data.check_inputs(MODEL, good).values())
    with pytest.raises(ValueError, match=message):
        kzoo.data.check_inputs(MODEL, {**good, **change})
    with pytest.raises(ValueError, match="takes a dict"):
        kzoo.data.check_inputs(MODEL, np.ones((2, 5), int))


def test_arrays_of_tokens(reverse):
    x, y, _ = kzoo.data.synthetic_batch(MODEL, 40, sequence_length=7)
    data = kzoo.data.from_arrays(x, y, MODEL, batch_size=8)
    assert (data.train.num_examples, data.validation.num_examples) == (36, 4)
    batch, labels = next(iter(data.train.epoch(0)))
    ids = data.train.example_ids(0)[:8]
    np.testing.assert_array_equal(batch["encoder_token_ids"], data.train.rows[0]["encoder_token_ids"].numpy()[ids])
    assert labels.shape == (8, 7)
    with pytest.raises(ValueError, match="token id 64"):
        kzoo.data.from_arrays(x, np.where(y == y[0, 0], 64, y), MODEL)


def test_synthetic_pairs_train():
    data = kzoo.data.load("synthetic", MODEL)
    MODEL.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = MODEL.fit(data.train.dataset.take(2), shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"][0])


@needs("bible_en_es")
def test_prepared_pairs_of_languages():
    data = kzoo.data.load("bible_en_es", make_model(1000), max_length=96, num_examples=4000)
    assert (data.train.num_examples, data.validation.num_examples, data.test.num_examples) == (4000, 1517, 1508)
    assert data.tokenizer.vocabulary_size == 1000
    x, labels, weight = next(iter(data.test.dataset))
    assert labels.shape[1] % 8 == 0
    english = data.tokenizer.decode(x["encoder_token_ids"].numpy())
    assert any(" the " in line for line in english)
    spanish = data.tokenizer.decode(labels.numpy())
    assert any(" de " in line for line in spanish)
    assert data.class_names is None

"""Ids that no table has are refused on the host, before the first step, however a model is compiled.

XLA does not notice them: an id that is too large reads the last row, and -1 reads it everywhere.
"""

import functools

import keras
import numpy as np
import pytest

import kzoo
from kzoo import tasks
from kzoo.data import Tokenizer

SIZES = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "vocabulary_size": 37, "max_length": 16}
BERT = {**SIZES, "intermediate_dim": 8, "head": "classification", "num_classes": 2}
MODELS = {"gpt2": kzoo.build("gpt2", **SIZES), "bert": kzoo.build("bert_tiny", **BERT)}
MODES = {"eager": {"run_eagerly": True}, "graph": {"jit_compile": False}, "xla": {"jit_compile": True}}
BAD = {
    "vocabulary": (37, "token id 37 at .* is outside the vocabulary 0..36"),
    "negative": (-1, "token id -1 at .* is outside the vocabulary 0..36"),
    "beyond_int32": (2**31 + 5, "token id 2147483653 at .* is outside the vocabulary 0..36"),
    "float": (1.5, "token ids must be ints"),
}


@pytest.fixture(params=MODES)
def mode(request, monkeypatch):
    """How kzoo compiles models meanwhile."""
    options = MODES[request.param]
    monkeypatch.setattr(tasks, "compile_model", functools.partial(tasks.compile_model, **options))
    return options


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]


def arrays(model, bad=None):
    """Twelve rows, of which the last one's last token may be bad."""
    ids = np.random.default_rng(0).integers(1, 37, (12, 6))
    ids = ids.astype(np.float64 if isinstance(bad, float) else np.int64)
    y = np.zeros((12, 6), int) if model.kzoo.task == "language_modeling" else np.arange(12) % 2
    if bad is not None:
        ids[-1, -1] = bad
    known = {"token_ids": ids, "padding_mask": np.ones((12, 6), int), "segment_ids": np.zeros((12, 6), int)}
    return {tensor.name: known[tensor.name] for tensor in model.inputs}, y


@pytest.mark.parametrize("bad", BAD)
def test_fit_evaluate_and_predict_refuse_bad_ids(bad, mode, model):
    value, words = BAD[bad]
    before = [array.copy() for array in model.get_weights()]
    x, y = arrays(model, value)
    with pytest.raises(ValueError, match=words):
        kzoo.fit(model, (x, y), epochs=1, batch_size=4, progress=False, deterministic=False)
    tasks.compile_model(model)
    assert (model.run_eagerly, model.jit_compile) == (mode.get("run_eagerly", False), mode.get("jit_compile", False))
    good_x, good_y = arrays(model)
    with pytest.raises(ValueError, match=words):
        kzoo.evaluate(model, kzoo.data.from_arrays(good_x, good_y, model, test=(x, y)))
    with pytest.raises(ValueError, match=words):
        kzoo.predict(model, x)
    for array, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, then)


def test_good_ids_go(mode):
    model = MODELS["bert"]
    x, y = arrays(model)
    tasks.compile_model(model)
    data = kzoo.data.from_arrays(x, y, model, test=(x, y), batch_size=12)
    assert data.id_limits == {"token_ids": 37, "segment_ids": 2}
    assert np.isfinite(kzoo.evaluate(model, data)["loss"])
    assert kzoo.predict(model, x).shape == (12, 2)


def test_data_of_a_model_that_knows_more_ids(mode):
    larger = kzoo.build("bert_tiny", **{**BERT, "vocabulary_size": 99})
    x, y = arrays(larger)
    x["token_ids"][-1, -1] = 98
    data = kzoo.data.from_arrays(x, y, larger, test=(x, y), batch_size=4)
    words = r"data set arrays holds ids 0\.\.98 as 'token_ids' and bert_tiny knows 0\.\.36; load the data with this"
    with pytest.raises(ValueError, match=words):
        kzoo.fit(MODELS["bert"], data, epochs=1, progress=False, deterministic=False)
    with pytest.raises(ValueError, match=words):
        kzoo.evaluate(MODELS["bert"], data)


def test_a_tokenizer_within_the_vocabulary_is_enough():
    larger, texts = kzoo.build("bert_tiny", **{**BERT, "vocabulary_size": 99}), ["a cat", "a dog"] * 6
    tokenizer = Tokenizer.train("characters", texts, 30)
    data = kzoo.data.from_texts(texts, [0, 1] * 6, larger, tokenizer=tokenizer)
    assert data.id_limits["token_ids"] == tokenizer.vocabulary_size < 37
    assert np.isfinite(kzoo.evaluate(MODELS["bert"], data, split="train")["loss"])


def test_xla_itself_says_nothing():
    """What the check is for: if XLA ever refuses such ids, the check may go."""
    model = MODELS["bert"]
    model.compile("sgd", "mse", jit_compile=True)
    x = {name: array.astype("int32") for name, array in arrays(model, 99)[0].items()}
    assert np.isfinite(keras.ops.convert_to_numpy(model.predict_on_batch(x))).all()

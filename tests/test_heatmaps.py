import keras
import numpy as np
import pytest

import kzoo
from kzoo.explaining import heatmaps
from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

SMALL = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "vocabulary_size": 31}
CROSS = "model.decoder.layers.0.encoder_attn"


@pytest.fixture(scope="module")
def model():
    return kzoo.build("transformer", **SMALL)


@pytest.fixture(scope="module")
def batch(model):
    x, _, _ = synthetic_batch(model, 2, sequence_length=5)
    x["encoder_padding_mask"][1, 3:] = 0
    return x


def test_scores_are_those_the_layer_computes_and_the_model_stays_as_it_is(model, batch):
    before = keras.ops.convert_to_numpy(model(batch, training=False))
    maps = kzoo.attention_maps(model, batch)
    assert list(maps) == heatmaps.attention_layers(model) and len(maps) == 3
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(batch, training=False)), before)
    assert all(scores.shape == (2, 2, 5, 5) and scores.dtype == np.float32 for scores in maps.values())
    for scores in maps.values():
        np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)
    assert maps[CROSS][1, ..., 3:].max() == 0 < maps[CROSS][0, ..., 3:].min(), "nothing attends to padding"
    causal = maps["model.decoder.layers.0.self_attn"]
    assert np.triu(causal, 1).max() == 0

    features = kzoo.features(model, [f"model.decoder.layers.0.encoder_attn.{name}_proj" for name in "qk"])
    query, key = (keras.ops.convert_to_numpy(x).reshape(2, 5, 2, 8) for x in features(batch).values())
    products = np.einsum("bqhd,bkhd->bhqk", query, key)[0] / np.sqrt(8)
    by_hand = np.exp(products) / np.exp(products).sum(-1, keepdims=True)
    np.testing.assert_allclose(maps[CROSS][0], by_hand, atol=1e-6)


def test_one_layer_and_unknown_layers(model, batch):
    assert list(kzoo.attention_maps(model, batch, CROSS)) == [CROSS]
    with pytest.raises(ValueError, match="unknown attention layer 'encoder'; did you mean"):
        kzoo.attention_maps(model, batch, "encoder")
    with pytest.raises(ValueError, match="mlp has no attention layers"):
        kzoo.attention_maps(kzoo.build("mlp"), np.zeros((1, 28, 28, 1), "float32"))


def test_heat_map(tmp_path):
    scores = np.random.default_rng(0).random((3, 2, 4))
    heatmaps.draw(tmp_path / "map.png", scores, ["a", "b"], list("wxyz"), "title")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"wanted \(num_heads, 2 queries, 3 keys\)"):
        heatmaps.draw(tmp_path / "map.png", scores, ["a", "b"], list("xyz"))


def test_layers_know_what_their_queries_and_keys_stand_for(model):
    source, target = "encoder_token_ids", "decoder_token_ids"
    assert heatmaps._sides(model) == {
        "model.encoder.layers.0.self_attn": (source, source),
        "model.decoder.layers.0.self_attn": (target, target),
        CROSS: (target, source),
    }


def test_texts_are_drawn_for_every_kind_of_model(model, tmp_path):
    tokenizer = kzoo.data.Tokenizer.train("wordpieces", ["one two three"], 30)
    bert = kzoo.build("bert_tiny", num_layers=1, hidden_dim=16, num_heads=2, intermediate_dim=24, vocabulary_size=31)
    gpt = kzoo.build("gpt2", num_layers=1, hidden_dim=16, num_heads=2, vocabulary_size=31)
    letters = kzoo.data.Tokenizer.train("characters", ["one two three"], 30)
    for network, words, second, chosen in (
        (model, letters, "two", CROSS),
        (model, letters, None, CROSS),
        (bert, tokenizer, "two three", "bert.encoder.layer.0.attention.self"),
        (gpt, letters, None, "transformer.h.0.attn"),
    ):
        found = heatmaps.draw_texts(tmp_path / "map.png", network, words, "one two", second)
        assert found == f"{tmp_path / 'map.png'} ({chosen})"
    with pytest.raises(ValueError, match="reads one text"):
        heatmaps.draw_texts(tmp_path / "map.png", gpt, letters, "one", "two")

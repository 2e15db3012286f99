"""The card: the one thing a model carries, whole through saving, loading, training, rewriting and exporting."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.catalog import card_of, update_card
from kzoo.data import Tokenizer
from kzoo.rewrites.folding import fold_batch_norm

SMALL = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 8, "vocabulary_size": 40}
NAMES = ["bad", "good"]


def facts(model):
    card = card_of(model)
    digest = card.tokenizer and card.tokenizer.digest
    return card.task, card.class_names, card.preprocessing, digest


@pytest.fixture(scope="module")
def reader():
    model = kzoo.build("bert", head="classification", num_classes=2, **SMALL)
    tokenizer = Tokenizer.train("characters", ["a good film", "a bad film"], 40)
    update_card(model, tokenizer=tokenizer, class_names=NAMES)
    return model


def test_saving_and_loading_again_and_again_keep_it_whole(reader, tmp_path):
    kzoo.save(reader, tmp_path / "one")
    kzoo.save(kzoo.load(tmp_path / "one"), tmp_path / "two")
    again = kzoo.load(tmp_path / "two")
    assert facts(again) == facts(reader) and again.kzoo == reader.kzoo
    assert again.kzoo.tokenizer.encode(["good"]) == reader.kzoo.tokenizer.encode(["good"])


def test_rewrites_keep_it_whole(reader):
    small = kzoo.lora(reader, rank=2, train="classifier")
    assert facts(small) == facts(kzoo.merge_lora(small)) == facts(reader)
    network = kzoo.build("resnet20", num_classes=2)
    update_card(network, class_names=NAMES, preprocessing=kzoo.Preprocessing(0.5, 0.25))
    assert facts(fold_batch_norm(network)) == facts(kzoo.prune_filters(network, 0.5)) == facts(network)


def test_a_run_gives_the_model_what_its_data_say(tmp_path):
    x = np.random.default_rng(0).random((40, 28, 28, 1), "float32")
    model, how = kzoo.build("mlp", num_classes=2), kzoo.Preprocessing(0.1, 0.3)
    data = kzoo.data.from_arrays(x, np.arange(40) % 2, model, class_names=NAMES, preprocessing=how)
    kzoo.fit(model, data, tmp_path / "run", epochs=1, progress=False)
    kzoo.save(kzoo.load(tmp_path / "run"), tmp_path / "saved")
    assert facts(kzoo.load(tmp_path / "saved")) == facts(model) == ("image_classification", NAMES, how, None)
    weights = kzoo.build("mlp", tmp_path / "saved", num_classes=2)
    assert weights.kzoo.preprocessing == how


def test_data_by_name_are_read_with_the_models_own_tokenizer(reader):
    texts, labels = ["a good film", "a bad film"] * 10, [1, 0] * 10
    data = kzoo.data.from_texts(texts, labels, reader, validation_fraction=0)
    assert data.tokenizer is reader.kzoo.tokenizer
    other = kzoo.data.from_texts(texts, labels, reader, tokenizer="words", validation_fraction=0)
    assert other.tokenizer.vocabulary_size != data.tokenizer.vocabulary_size


def test_it_reads_well(reader):
    text = "bert_base (head='classification', num_classes=2"
    assert repr(reader.kzoo).startswith(f"<kzoo card: {text}")
    assert "text classification" in str(reader.kzoo) and "2 classes: bad, good" in str(reader.kzoo)
    assert "tokenizer of" in str(reader.kzoo)
    assert str(card_of(keras.Sequential(name="mine"))) == "mine; no known task"


@pytest.mark.parametrize("name", ["preprocessing", "tokenizer"])
def test_what_models_carried_once_is_refused_and_not_ignored(name):
    model = kzoo.build("mlp")
    setattr(model, name, object())
    with pytest.raises(ValueError, match=f"mlp.{name} is no longer read; write kzoo.catalog.update_card"):
        kzoo.predict(model, np.zeros((1, 28, 28, 1), "float32"))

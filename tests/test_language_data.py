"""Texts for language models and classifiers: packed, masked, bucketed, checked; the same in every run."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from prepared_data import needs

import kzoo
from kzoo import tasks
from kzoo.catalog import update_card
from kzoo.data import Tokenizer, columns, language

ANIMALS, PLACES = ("cat", "dog", "fox", "cow", "hen", "pig"), ("mat", "log", "box", "bed", "tub")
DOCUMENTS = [
    f"the {animal} sat on the {place} and the {animal} slept.\nnobody saw it {len(place)} times\n" * 3
    for animal, place in zip(ANIMALS * 2, PLACES * 2, strict=False)
]
SMALL = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "max_length": 32}


def make(task, vocabulary_size=300, **more):
    if task == "language_modeling":
        return kzoo.build("gpt2", vocabulary_size=vocabulary_size, **SMALL, **more)
    heads = {"masked_language_modeling": "masked_words", "text_classification": "classification"}
    sizes = {**SMALL, "intermediate_dim": 8, "head": heads.get(task, task)}
    return kzoo.build("bert_tiny", vocabulary_size=vocabulary_size, **{**sizes, **more})


GPT, MASKED, CLASSIFIER = (
    make(task) for task in ("language_modeling", "masked_language_modeling", "text_classification")
)


@pytest.fixture
def folder(tmp_path):
    for index, text in enumerate(DOCUMENTS):
        (tmp_path / f"{index}.txt").write_text(text, encoding="utf-8")
    return str(tmp_path)


def collect(split, epoch=0, skip=0):
    batches = [tf.nest.map_structure(lambda array: array.numpy(), batch) for batch in split.epoch(epoch, skip)]
    return [np.concatenate([flat[index] for flat in map(tf.nest.flatten, batches)])
            for index in range(len(tf.nest.flatten(batches[0])))], batches  # fmt: skip


# Language models


def test_a_language_model_reads_every_token_once_and_is_asked_for_the_next(folder):
    data = kzoo.data.load(folder, GPT, max_length=16, batch_size=4)
    assert data.tokenizer.vocabulary_size <= 300
    texts = [text for text in DOCUMENTS if data.tokenizer.encode([text])]
    assert data.test is None
    batches = list(data.validation.epoch(0))
    asked = np.concatenate([y.numpy()[w.numpy() > 0] for _, y, w in batches])
    read = np.concatenate([x["token_ids"].numpy()[w.numpy() > 0] for x, _, w in batches])
    np.testing.assert_array_equal(read[1:], asked[:-1])
    assert read[0] == asked[-1] == data.tokenizer.end_id
    (text,) = [text for text in texts if text == data.tokenizer.decode([asked])[0]]
    per_token = data.characters_per_token["validation"]
    assert per_token == pytest.approx(len(text) / len(asked))
    for x, y, w in batches:
        assert x["token_ids"].dtype == x["padding_mask"].dtype == y.dtype == tf.int32
        np.testing.assert_array_equal(x["padding_mask"].numpy()[:, 1:], w.numpy()[:, :-1])
    assert GPT(batches[0][0]).shape == (4, 16, 300)


def test_training_rows_move_by_a_random_offset_and_wrap(folder):
    data = kzoo.data.load(folder, GPT, max_length=16, batch_size=4, validation_fraction=0)
    period = sum(len(ids) + 1 for ids in data.tokenizer.encode(DOCUMENTS))
    streams = []
    for epoch in (0, 1):
        (mask, ids, y, weight), _ = collect(data.train, epoch)
        assert weight.all() and mask.all()
        np.testing.assert_array_equal(ids[:, 1:], y[:, :-1])
        streams.append(ids[np.argsort(data.train.example_ids(epoch))].reshape(-1)[:period])
    assert len(streams[0]) == period and data.train.num_examples == -(-period // 16)
    shifts = [shift for shift in range(period) if (np.roll(streams[0], shift) == streams[1]).all()]
    assert shifts and shifts != [0], "every epoch cuts the same texts elsewhere"


@pytest.mark.parametrize("model", [GPT, MASKED], ids=["gpt", "bert"])
def test_an_epoch_can_be_entered_late_and_repeats(folder, model):
    options = {"max_length": 16, "batch_size": 4, "tokenizer": "characters", "seed": 3}
    data, again = (kzoo.data.load(folder, model, **options) for _ in range(2))
    assert data.fingerprint == again.fingerprint
    whole, rest = collect(data.train, 2)[1], collect(again.train, 2, skip=3)[1]
    assert len(whole) == data.train.num_batches == len(rest) + 3
    tf.nest.map_structure(np.testing.assert_array_equal, whole[3:], rest)
    ids = data.train.example_ids(2)[:4]
    tf.nest.map_structure(np.testing.assert_array_equal, whole[0], _numpy(again.train.examples(ids, epoch=2)))
    other = kzoo.data.load(folder, model, **{**options, "seed": 4})
    assert (other.train.example_ids(0) != data.train.example_ids(0)).any()


def _numpy(structure):
    return tf.nest.map_structure(lambda array: array.numpy(), structure)


def test_texts_from_files(folder, tmp_path):
    data = kzoo.data.load(folder, GPT)
    assert any("9 texts" in note for note in data.notes)
    assert "0.0 % padding" in " ".join(data.notes)
    one = tmp_path / "one.txt"
    one.write_text("".join(DOCUMENTS) + "é", encoding="utf-8")
    data = kzoo.data.load(str(one), GPT, max_length=16)
    assert data.validation.num_examples and "the last" in data.notes[0]
    for split in ("train", "val", "test"):
        (tmp_path / "split" / split).mkdir(parents=True)
        (tmp_path / "split" / split / "a.txt").write_text(DOCUMENTS[0])
    (tmp_path / "split" / "train" / "empty.txt").write_text(" \n")
    data = kzoo.data.load(str(tmp_path / "split"), GPT)
    assert "1 of 2 texts are empty" in data.notes[0]
    assert data.validation.num_examples == data.test.num_examples
    one.write_bytes(b"caf\xc3\xa9 and caf\xe9")
    with pytest.raises(ValueError, match=r"one\.txt is not UTF-8: byte 0xe9 at offset 13"):
        kzoo.data.load(str(one), GPT)
    one.write_text("\n\n")
    with pytest.raises(ValueError, match="no training examples: .* holds no text but blanks"):
        kzoo.data.load(str(one), GPT)
    with pytest.raises(ValueError, match=r"no text at .*gone\.txt"):
        kzoo.data.load(str(tmp_path / "gone.txt"), GPT)


def test_limits_of_the_model(folder):
    with pytest.raises(ValueError, match=r"max_length is 64, but gpt2 has positions for 32 tokens; pass max_length=32"):
        kzoo.data.load(folder, GPT, max_length=64)
    assert next(iter(kzoo.data.load(folder, GPT).train.epoch(0)))[1].shape[1] == 32, "the model's limit, unless asked"
    ids = {"token_ids": np.ones((1, 33), int), "padding_mask": np.ones((1, 33), int)}
    with pytest.raises(ValueError, match="has 33 tokens per text; the model has positions for 32"):
        kzoo.predict(GPT, ids)
    big = Tokenizer.train("subwords", DOCUMENTS, 60)
    with pytest.raises(ValueError, match=r"has 60 tokens, but the model knows 50; .* vocabulary_size=60"):
        kzoo.data.load(folder, make("language_modeling", 50), tokenizer=big)
    bert = Tokenizer.load(pathlib.Path(__file__).with_name("golden") / "tokenizers" / "bert")
    with pytest.raises(ValueError, match="between texts, needs a end token|between texts, needs an? end token"):
        kzoo.data.load(folder, GPT, tokenizer=bert)


# Masked language models


def test_masking_chooses_15_percent_and_changes_80_10_10():
    tokenizer = Tokenizer.train("wordpieces", DOCUMENTS, 120)
    random = np.random.default_rng(0)
    ids = random.integers(5, tokenizer.vocabulary_size, (400, 64)).astype("int32")
    ids[:, 0], ids[:, 40], ids[:, 50:] = tokenizer.class_id, tokenizer.separator_id, tokenizer.pad_id
    seeds = random.integers(-(2**31), 2**31, (400, 2)).astype("int32")
    changed, chosen = map(np.asarray, language.Masking(tokenizer)(ids, seeds))
    chosen = chosen.astype(bool)
    real = ids > 4
    assert not chosen[~real].any(), "a special token was chosen"
    np.testing.assert_array_equal(changed[~chosen], ids[~chosen])
    assert chosen[real].mean() == pytest.approx(0.15, abs=0.01)
    masked = changed[chosen] == tokenizer.mask_id
    assert masked.mean() == pytest.approx(0.8, abs=0.03)
    same = changed[chosen] == ids[chosen]
    assert same.mean() == pytest.approx(0.1 + 0.1 / (tokenizer.vocabulary_size - 5), abs=0.02)
    assert (changed[chosen & (changed != ids)] >= 4).all(), "a random token is a special one"
    drawn = changed[chosen & (changed != ids) & (changed != tokenizer.mask_id)]
    places = np.searchsorted(np.arange(5, tokenizer.vocabulary_size), drawn) / (tokenizer.vocabulary_size - 5)
    quarters = np.histogram(places, 4, (0, 1))[0] / len(places)
    np.testing.assert_allclose(quarters, 0.25, atol=0.08, err_msg="all tokens are as likely")
    rows = np.array([7, 3])
    alone, _ = language.Masking(tokenizer)(ids[rows], seeds[rows])
    np.testing.assert_array_equal(alone, changed[rows])


def test_whole_words_are_masked_whole():
    tokenizer = Tokenizer.train(
        "wordpieces", [" ".join("abcdefghijklmnopqrstuvwxyz"), "abcdefghijklmnopqrstuvwxyz"], 110
    )
    starts = tokenizer.word_starts()
    ids = np.array(sum(tokenizer.encode(DOCUMENTS), [])[:480], "int32").reshape(16, 30)
    seeds = np.arange(32, dtype="int32").reshape(16, 2)
    _, chosen = map(np.asarray, language.Masking(tokenizer, whole_words=True)(ids, seeds))
    words = np.cumsum(starts[ids], axis=1)
    assert (~starts[ids]).mean() > 0.3
    for row in range(16):
        for word in np.unique(words[row]):
            assert len(np.unique(chosen[row, words[row] == word])) == 1
    assert 0.05 < chosen.mean() < 0.3
    _, single = language.Masking(tokenizer)(ids, seeds)
    assert (np.asarray(single) != chosen).any()


def test_masked_rows_have_berts_form_and_new_masks_every_epoch(folder):
    data = kzoo.data.load(folder, MASKED, tokenizer="subwords", max_length=16, batch_size=4)
    tokenizer = data.tokenizer
    assert tokenizer.mask_id is not None
    for split in (data.train, data.validation):
        (mask, segments, ids, y, weight), _ = collect(split)
        ends = mask.sum(axis=1) - 1
        assert (y[:, 0] == tokenizer.class_id).all() and not segments.any()
        assert (y[np.arange(len(y)), ends] == tokenizer.separator_id).all()
        assert (y[mask == 0] == tokenizer.pad_id).all() and not weight[mask == 0].any()
        np.testing.assert_array_equal(ids[weight == 0], y[weight == 0])
        assert 0 < weight.mean() < 0.3
    (line,) = [note for note in data.notes if "validation:" in note and "padding" in note]
    assert f" {100 * (mask == 0).mean():.1f} % padding" in line  # the loop's last split
    assert (mask == 0).any()
    assert (collect(data.validation, 0)[0][4] == collect(data.validation, 1)[0][4]).all(), "validation has fixed masks"
    other = kzoo.data.load(folder, MASKED, tokenizer=tokenizer, max_length=16, batch_size=4, seed=1)
    for ours, theirs in zip(collect(data.validation)[0], collect(other.validation)[0], strict=True):
        np.testing.assert_array_equal(ours, theirs, "whatever the seed")
    orders = [np.argsort(data.train.example_ids(epoch)) for epoch in (0, 1)]
    weights = [collect(data.train, epoch)[0][4][order] for epoch, order in enumerate(orders)]
    assert (weights[0] != weights[1]).any()
    assert data.characters_per_token is None
    with pytest.raises(ValueError, match="masked language modelling needs a mask token"):
        kzoo.data.load(folder, MASKED, tokenizer=Tokenizer.train("subwords", DOCUMENTS, 100))


def test_without_a_choice_masked_words_are_of_pieces_and_others_of_bytes(folder):
    large = make("masked_language_modeling", 1000)
    pieces = kzoo.data.load(folder, large, max_length=16).tokenizer
    assert any(token.startswith("##") for token in pieces.engine.get_vocab())
    assert not any(token.startswith("##") for token in kzoo.data.load(folder, GPT).tokenizer.engine.get_vocab())


# Classification


def test_texts_are_framed_cut_and_padded():
    texts, labels = ["the cat sat", "the dog slept on the mat and on the log", ""] * 10, [0, 1, 1] * 10
    data = kzoo.data.from_texts(texts, labels, CLASSIFIER, batch_size=6, max_length=10, tokenizer="words")
    assert any("10 of 30 texts are longer than max_length=10 tokens and were cut" in note for note in data.notes)
    assert any("texts are empty" in note for note in data.notes)
    tokenizer = data.tokenizer
    for x, y in data.train.epoch(0):
        ids, mask = x["token_ids"].numpy(), x["padding_mask"].numpy()
        assert ids.shape[1] in (8, 16) and not x["segment_ids"].numpy().any()
        assert (ids[:, 0] == tokenizer.class_id).all() and mask.sum(axis=1).max() <= 10
        assert (ids[np.arange(len(ids)), mask.sum(axis=1) - 1] == tokenizer.separator_id).all()
        assert y.dtype == tf.int32
    assert CLASSIFIER(x).shape[1] == 2


def test_pairs_of_texts_get_segments_and_the_longer_gives_way():
    pairs = (["a b c d e f g h", "a b"] * 10, ["h g", "a b c d e f g h"] * 10)
    data = kzoo.data.from_texts(pairs, [0, 1] * 10, CLASSIFIER, max_length=10, tokenizer="characters")
    x, y = next(iter(data.train.epoch(0)))
    ids, segments, mask = (x[key].numpy() for key in ("token_ids", "segment_ids", "padding_mask"))
    for row, segment, own, label in zip(ids, segments, mask, y.numpy(), strict=True):
        end = data.tokenizer.separator_id
        first, second = np.flatnonzero(row == end)
        assert own.sum() == second + 1 == 10
        np.testing.assert_array_equal(np.flatnonzero(segment), np.arange(first + 1, second + 1))
        kept = (first - 1, second - first - 1)
        assert kept == ((4, 3) if label == 0 else (3, 4))
    with pytest.raises(ValueError, match="different numbers of examples"):
        kzoo.data.from_texts((["a"] * 4, ["b"] * 3), [0] * 4, CLASSIFIER)


def test_batches_are_of_like_length_shuffled_and_complete():
    random = np.random.default_rng(0)
    texts = [" ".join(["word"] * count) for count in random.integers(1, 25, 500)]
    options = {"batch_size": 8, "tokenizer": "words", "validation_fraction": 0}
    labels = random.integers(0, 2, 500)
    data = kzoo.data.from_texts(texts, labels, CLASSIFIER, **options)
    plain = kzoo.data.from_texts(texts, labels, CLASSIFIER, length_buckets=False, **options)
    order = data.train.example_ids(0)
    np.testing.assert_array_equal(np.sort(order), np.arange(500))
    assert (order != data.train.example_ids(1)).any()
    padding = [sum(int(np.sum(x["padding_mask"] == 0)) for x, _ in part.train.epoch(0)) for part in (data, plain)]
    assert padding[0] < 0.5 * padding[1]
    widths = [x["token_ids"].shape[1] for x, _ in data.train.epoch(0)]
    assert sorted(widths) != widths, "the batches are shuffled"
    rest = list(data.train.epoch(0, skip_batches=60))
    np.testing.assert_array_equal(rest[0][0]["token_ids"], list(data.train.epoch(0))[60][0]["token_ids"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kzoo.data.from_texts(["a"] * 4, [0, 1, 2, 0], CLASSIFIER), "example 2 has label 2, but .* 2 classes"),
        (lambda: kzoo.data.from_texts(["a", 3], [0, 1], CLASSIFIER), "example 1 is a int, wanted text"),
        (lambda: kzoo.data.from_texts([], [], CLASSIFIER), "no training examples"),
        (lambda: kzoo.data.from_texts(["a"] * 4, [0] * 4, CLASSIFIER, max_length=33), "positions for 32"),
        (lambda: kzoo.data.from_texts(["", " "], [0, 1], CLASSIFIER), "texts are all empty"),
    ],
)
def test_bad_texts_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Arrays of ids


def arrays(model, length=8, **changes):
    random = np.random.default_rng(0)
    x = {name: random.integers(0, 2, (20, length)) for name in columns.inputs_of(model)}
    x["token_ids"], x["padding_mask"] = random.integers(1, 300, (20, length)), np.ones((20, length), int)
    x["padding_mask"][:, -2:] = 0
    return {**x, **changes}


TAGGER = make("token_classification", num_classes=5)


@pytest.mark.parametrize("model", [GPT, MASKED, TAGGER], ids=["gpt", "bert", "tagger"])
def test_arrays_of_ids_and_labels_of_tokens(model):
    x = arrays(model)
    y = np.random.default_rng(1).integers(0, 5, (20, 8))
    y[:, 0] = -100
    data = kzoo.data.from_arrays(x, y, model, batch_size=4)
    batch, labels, weight = _numpy(next(iter(data.train.epoch(0))))
    np.testing.assert_array_equal(weight, np.tile([0, 1, 1, 1, 1, 1, 0, 0], (4, 1)))
    assert labels.min() >= 0 and batch["token_ids"].shape == (4, 8)
    classes = model.outputs[0].shape[-1]
    for bad, message in (
        (np.where(y == 1, classes, y), rf"label {classes} at \[\d+, \d+\] is outside 0\.\.{classes - 1}"),
        (np.where(y == 1, -1, y), "label -1"),
        (y[:, :5], r"labels have shape \(20, 5\), the padding mask \(20, 8\)"),
        (y[:, 0], "wanted ints"),
        (y + 0.5, "wanted ints"),
    ):
        with pytest.raises(ValueError, match=message):
            kzoo.data.from_arrays(x, bad, model)
    with pytest.raises(ValueError, match=r"token id 300 at \[0, 0\] is outside the vocabulary 0\.\.299"):
        kzoo.data.from_arrays(arrays(model, token_ids=np.full((20, 8), 300)), y, model)


def test_segments_are_checked():
    with pytest.raises(ValueError, match="'segment_ids' .* id 2 at"):
        kzoo.data.from_arrays(arrays(TAGGER, segment_ids=np.full((20, 8), 2)), np.zeros((20, 8), int), TAGGER)


# Training, numbers and predictions


def test_a_language_model_trains_and_counts_bits(folder, tmp_path):
    keras.utils.set_random_seed(0)
    model = make("language_modeling")
    data = kzoo.data.load(folder, model, max_length=16, batch_size=4)
    before = kzoo.evaluate(model, data, "validation")
    choices = {"epochs": 1, "warmup_steps": 2, "learning_rate": 1e-2, "progress": False, "deterministic": False}
    run = kzoo.fit(model, data, tmp_path / "run", tensorboard=False, **choices)
    assert (run.folder / "tokenizer.json").is_file()
    after = kzoo.evaluate(model, data, "validation")
    assert after["cross_entropy"] < before["cross_entropy"]
    assert after["perplexity"] == pytest.approx(np.exp(after["cross_entropy"]))
    per_token = data.characters_per_token["validation"]
    assert after["bits_per_character"] == pytest.approx(after["cross_entropy"] / np.log(2) / per_token)
    # knowing nothing, each of 300 tokens costs log2(300) bits
    assert before["bits_per_character"] * per_token == pytest.approx(np.log2(300), rel=0.05)

    task = tasks.of(model)
    (row, *_) = task.rows_of_texts(model, ["the cat"], data.tokenizer)
    assert len(row["classes"]) == 3 and "'the cat'" in task.line(row)
    rows = task.rows_of_data(model, data, "validation", 2)
    assert rows[0]["source"][1:] and len(rows) == 2 and "wanted" in task.line(rows[0])


def rows_of_texts(model, *given):
    return tasks.of(model).rows_of_texts(model, *given)


def test_predictions_for_texts():
    texts, labels = ["good film", "bad film", "a good one", "so bad"] * 5, [1, 0, 1, 0] * 5
    data = kzoo.data.from_texts(texts, labels, CLASSIFIER, class_names=["bad", "good"], tokenizer="words")
    update_card(CLASSIFIER, class_names=data.class_names)
    rows = rows_of_texts(CLASSIFIER, ["good film " * 40, "bad"], data.tokenizer)
    assert {entry["class"] for entry in rows[0]["classes"]} == {"bad", "good"}
    alone = rows_of_texts(CLASSIFIER, ["bad"], data.tokenizer)[0]
    assert alone["classes"][0]["probability"] == pytest.approx(rows[1]["classes"][0]["probability"], abs=1e-5)
    assert tasks.of(CLASSIFIER).rows_of_data(CLASSIFIER, data, "train")[0]["label"] in ("bad", "good")
    masked = Tokenizer.train("words", texts, 60, mask=True)
    (row,) = rows_of_texts(MASKED, ["a [MASK] film"], masked)
    assert len(row["masks"]) == 1 and len(row["masks"][0]) == 3
    with pytest.raises(ValueError, match=r"without \[MASK\]"):
        rows_of_texts(MASKED, ["a film"], masked)
    (row,) = rows_of_texts(TAGGER, ["good film"], data.tokenizer)
    assert [entry["token"] for entry in row["tokens"]] == ["[START]", "good", "film", "[END]"]
    assert "good/" in tasks.of(TAGGER).line(row)
    with pytest.raises(ValueError, match="needs a tokenizer"):
        rows_of_texts(MASKED, ["a"], None)
    for split in ("train", "validation"):
        tags = kzoo.data.from_arrays(arrays(TAGGER), np.zeros((20, 8), int), TAGGER)
        rows = tasks.of(TAGGER).rows_of_data(TAGGER, tags, split)
        assert len(rows[0]["prediction"].split()) == 6


def test_training_and_prediction_on_the_command_line(folder, tmp_path, monkeypatch, capfd):
    from kzoo.cli.commands import cli

    def run(*arguments):
        cli.main([str(one) for one in arguments], standalone_mode=False, prog_name="kzoo")
        return capfd.readouterr()

    sizes = [f"--set={key}={value}" for key, value in {**SMALL, "vocabulary_size": 120}.items()]
    choices = "--quiet --max-length 16 --epochs 1 --batch-size 4 --warmup-steps 1 --no-deterministic --no-tensorboard"
    place = ("--data", folder, "--tokenizer", "subwords", "--run-folder", tmp_path / "run")
    run("train", "gpt2", *sizes, *place, *choices.split())
    numbers = json.loads(run("evaluate", tmp_path / "run", "--split", "validation", "--json").out)
    assert numbers["data"] == folder and numbers["bits_per_character"] > 0
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["data"]["max_length"] == 16
    lines = tmp_path / "lines.txt"
    lines.write_text("the cat\n\nthe dog\n")
    rows = json.loads(run("predict", tmp_path / "run", lines, "nobody saw", "--json").out)
    assert [row["text"] for row in rows] == ["the cat", "", "the dog", "nobody saw"]


def test_the_vocabulary_of_a_new_model_follows_the_tokenizer(folder, tmp_path, monkeypatch, capfd):
    """One learnt from the texts and one from a file; 50,257 rows for a few letters would never be looked up."""
    from kzoo.cli.commands import cli

    sizes = [f"--set={key}={value}" for key, value in SMALL.items() if key != "vocabulary_size"]
    choices = "--quiet --max-length 16 --epochs 1 --batch-size 4 --warmup-steps 1 --no-deterministic --no-tensorboard"
    run, known = tmp_path / "run", []
    for tokenizer in ("characters", tmp_path / "run" / "tokenizer.json"):
        given = ["--data", folder, "--tokenizer", tokenizer, "--run-folder", run]
        cli.main(["train", "gpt2", *sizes, *map(str, given), *choices.split()], standalone_mode=False)
        overrides = json.loads((run / "run.json").read_text())["model"]["overrides"]
        known.append(Tokenizer.load(run).vocabulary_size)
        assert overrides["vocabulary_size"] == known[-1] < 100
        assert f"vocabulary_size={known[-1]}, as many tokens as the tokenizer has" in capfd.readouterr().err
        run = tmp_path / "again"
    assert known[0] == known[1]


# Real data


@needs("shakespeare")
def test_prepared_plays():
    data = kzoo.data.load("shakespeare", GPT, tokenizer=Tokenizer.train("bytes", DOCUMENTS, 300))
    assert data.validation is not None and data.test is not None
    assert "32 texts" in data.notes[1] and 1 < data.characters_per_token["test"] < 1.5
    x, y, _ = next(iter(data.train.epoch(0)))
    assert x["token_ids"].shape == y.shape == (64, 32)


@needs("movie_sentiment")
def test_prepared_reviews():
    data = kzoo.data.load("movie_sentiment", CLASSIFIER, tokenizer="characters", num_examples=200)
    assert (data.train.num_examples, data.validation.num_examples, data.test.num_examples) == (200, 1004, 1005)
    assert data.class_names == ["negative", "positive"] and "max_length=32" in data.notes[0]
    with pytest.raises(ValueError, match="is for text classification"):
        kzoo.data.load("reverse_digits", CLASSIFIER)


def test_text_files_count_whatever_the_case_of_their_suffix_and_hidden_ones_do_not(tmp_path):
    from kzoo.data.sources import corpora

    (tmp_path / ".trash").mkdir()
    for name in ("a.txt", "B.TXT", "._a.txt", ".trash/c.txt", "notes.md"):
        (tmp_path / name).write_text(name)
    assert corpora.read_files(corpora.find(str(tmp_path))) == {"train": ["B.TXT", "a.txt"]}


def test_every_line_of_a_file_has_a_prediction(tmp_path):
    from kzoo.tasks import reading

    (tmp_path / "lines.txt").write_text("a film\n\nanother\n")
    assert reading.lines_of([str(tmp_path / "lines.txt"), "a text"]) == ["a film", "", "another", "a text"]

"""BERT's pre-training data: half of the pairs follow each other, words are masked, all a function of the seed."""

import json

import numpy as np
import pytest
import tensorflow as tf
from prepared_data import needs

import kzoo
from kzoo.data import Tokenizer, sentence_pairs

SMALL = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 8, "max_length": 32}
MODEL = kzoo.build("bert_tiny", head="pretraining", vocabulary_size=300, **SMALL)
# Every token names its document and its place in it: document d, sentence s, word w is "d_s_w".
DOCUMENTS = [
    "\n".join(" ".join(f"{'abcdefgh'[d]}{s:02d}{w}" for w in range(2 + (s * 7 + d) % 5)) + "." for s in range(12))
    for d in range(8)
]


@pytest.fixture(scope="module")
def tokenizer():
    words = sorted({word for text in DOCUMENTS for word in text.replace(".", " ").split()})
    return Tokenizer.train("words", [" ".join(words)] * 2, 600, mask=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory, tokenizer):
    return kzoo.data.load(folder_of(tmp_path_factory.mktemp("texts")), model_of(tokenizer), **options(tokenizer))


def options(tokenizer, **more):
    return {"tokenizer": tokenizer, "max_length": 20, "batch_size": 4, "validation_fraction": 0.25, **more}


def model_of(tokenizer):
    return kzoo.build("bert_tiny", head="pretraining", vocabulary_size=tokenizer.vocabulary_size, **SMALL)


def folder_of(path, documents=DOCUMENTS):
    for index, text in enumerate(documents):
        (path / f"{index}.txt").write_text(text, encoding="utf-8")
    return str(path)


def rows(split, epoch=0, skip=0):
    """All rows of an epoch as a dict of arrays."""
    batches = [tf.nest.map_structure(lambda array: array.numpy(), batch) for batch in split.epoch(epoch, skip)]
    merged = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)
    x, y, weight = merged
    return {**x, "ids": y["masked_words"], "label": y["next_sentence"], "chosen": weight["masked_words"],
            "weight": weight["next_sentence"]}  # fmt: skip


def segments(found, index, tokenizer):
    """The words of both segments of a row, without special tokens."""
    ids, segment = found["ids"][index], found["segment_ids"][index]
    real = found["padding_mask"][index] > 0
    special = (tokenizer.class_id, tokenizer.separator_id)
    parts = [[i for i in ids[real & (segment == number)] if i not in special] for number in (0, 1)]
    return [[tokenizer.tokens([i])[0] for i in part if i != tokenizer.unknown_id] for part in parts]


def test_rows_have_berts_form(data, tokenizer):
    for split in (data.train, data.validation):
        found = rows(split)
        ids, mask, segment = found["ids"], found["padding_mask"], found["segment_ids"]
        assert ids.shape[1] == 20 and (ids[:, 0] == tokenizer.class_id).all()
        assert ((ids == tokenizer.separator_id).sum(axis=1) == 2).all()
        for row, real, second in zip(ids, mask, segment, strict=True):
            middle, end = np.flatnonzero(row == tokenizer.separator_id)
            np.testing.assert_array_equal(real, np.arange(20) <= end)
            np.testing.assert_array_equal(second, (np.arange(20) > middle) & (np.arange(20) <= end))
            assert 1 < middle < end - 1  # neither segment is empty
            assert (row[end + 1 :] == tokenizer.pad_id).all()
        assert (found["weight"] == 1).all() and set(found["label"]) <= {0, 1}


def test_the_second_segment_follows_in_half_of_the_pairs_and_else_is_of_another_document(data, tokenizer):
    labels = []
    for epoch in range(6):
        found = rows(data.train, epoch)
        labels += list(found["label"])
        for index, label in enumerate(found["label"]):
            first, second = segments(found, index, tokenizer)
            if not label:  # the words go on where A ends
                documents = {word[0] for word in (*first, *second)}
                assert len(documents) == 1
                numbers = [int(word[1:]) for word in (*first, *second)]
                assert numbers == sorted(numbers) and len(set(numbers)) == len(numbers)
                text = DOCUMENTS["abcdefgh".index(documents.pop())].replace(".", " ").split()
                start = text.index(first[0])
                assert text[start : start + len(first)] == first
                assert text[start + len(first) :][: len(second)] == second
                assert first[-1][:3] != second[0][:3]  # the cut is between two sentences
            else:
                assert first[0][0] != second[0][0]
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / len(labels) ** 0.5


def test_the_lengths_of_the_second_segment_do_not_give_the_label_away():
    tokenizer = Tokenizer.train("words", [" ".join(DOCUMENTS)], 600, mask=True)
    chunks, _ = sentence_pairs.find_chunks(
        [[tokenizer.encode([line])[0] for line in text.splitlines()] for text in DOCUMENTS], 30
    )
    build = sentence_pairs._Pairs(chunks, 64, tokenizer)
    random = np.random.default_rng(0)
    index = random.integers(0, len(chunks.first), 4000).astype("int32")
    _, segment, _, follows = build(tf.constant(index), tf.constant(random.random((4000, 4))))
    lengths, follows = segment.numpy().sum(axis=1), follows.numpy()
    assert abs(lengths[follows].mean() - lengths[~follows].mean()) < 0.05 * lengths.mean()


def test_words_are_masked_as_devlin_et_al_do(data, tokenizer):
    found = rows(data.train)
    special = np.isin(found["ids"], [tokenizer.class_id, tokenizer.separator_id, tokenizer.pad_id])
    assert not found["chosen"][special].any()
    np.testing.assert_array_equal(found["token_ids"][found["chosen"] == 0], found["ids"][found["chosen"] == 0])
    share = np.mean([rows(data.train, epoch)["chosen"][~special].mean() for epoch in range(4)])
    assert 0.1 < share < 0.2
    assert (found["token_ids"][found["chosen"] > 0] == tokenizer.mask_id).mean() > 0.5


def test_all_is_a_function_of_seed_epoch_and_example(data, tokenizer, tmp_path):
    model, folder = model_of(tokenizer), folder_of(tmp_path)
    again = kzoo.data.load(folder, model, **options(tokenizer))
    for epoch in (0, 3):
        one, other = rows(data.train, epoch), rows(again.train, epoch)
        assert all(np.array_equal(one[key], other[key]) for key in one)
    late, whole = rows(data.train, 1, skip=2), rows(data.train, 1)
    assert all(np.array_equal(late[key], whole[key][8:]) for key in late)

    def by_example(part, epoch):
        return rows(part, epoch)["ids"][np.argsort(part.example_ids(epoch))]

    larger = kzoo.data.load(folder, model, **options(tokenizer, batch_size=7))
    np.testing.assert_array_equal(by_example(larger.train, 1), by_example(data.train, 1))
    assert (by_example(data.train, 0) != by_example(data.train, 1)).any()
    seeded = kzoo.data.load(folder, model, **options(tokenizer, seed=1))
    assert (by_example(seeded.train, 0) != by_example(data.train, 0)).any()
    for key, value in rows(data.validation, 0).items():  # alike in every epoch, whatever the seed
        np.testing.assert_array_equal(value, rows(seeded.validation, 5)[key])
    assert again.fingerprint == {**data.fingerprint, "name": folder}


@pytest.mark.parametrize(
    ("lengths", "kept"),
    [((3, 4), (3, 4)), ((4, 20), (4, 6)), ((20, 4), (6, 4)), ((20, 20), (5, 5)), ((5, 6), (5, 5)), ((9, 1), (9, 1))],
)
def test_the_longer_segment_gives_way(lengths, kept):
    first, second = sentence_pairs._cut_longer(*(tf.constant([length]) for length in lengths), 10)
    assert (int(first[0]), int(second[0])) == kept


def test_chunks_hold_every_sentence_and_two_at_least():
    documents = [[[1] * 4, [2] * 4, [3] * 4, [4] * 4, [5] * 4], [[6] * 30], [[7] * 2], []]
    chunks, left_out = sentence_pairs.find_chunks(documents, 10)
    assert left_out == 2
    found = [
        [list(chunks.stream[chunks.bounds[i] : chunks.bounds[i + 1]]) for i in range(first, first + count)]
        for first, count in zip(chunks.first, chunks.count, strict=True)
    ]
    fours = [[number] * 4 for number in (1, 2, 3, 4, 5)]
    assert found == [fours[:2], fours[2:4], fours[3:], *[[[6] * 5, [6] * 5]] * 3]  # the last borrows one
    assert chunks.low.tolist() == [0, 0, 0, 3, 3, 3] and chunks.high.tolist() == [3, 3, 3, 6, 6, 6]


def test_one_document_takes_other_parts_of_itself(tmp_path, tokenizer):
    (tmp_path / "one.txt").write_text("\n".join(DOCUMENTS[:1] * 3))
    found = kzoo.data.load(str(tmp_path / "one.txt"), model_of(tokenizer), **options(tokenizer))
    labels = np.concatenate([rows(found.train, epoch)["label"] for epoch in range(3)])
    assert 0.2 < labels.mean() < 0.8


@pytest.mark.parametrize(
    ("documents", "more", "message"),
    [
        (["one sentence", "another sentence"], {"tokenizer": "words"}, "has 0 runs of at least two sentences"),
        (["one.\ntwo."], {"tokenizer": "words", "validation_fraction": 0}, "has 1 runs of at least two sentences"),
        (DOCUMENTS, {"max_length": 7}, "max_length must be at least 8, got 7"),
        (DOCUMENTS, {"max_length": 64}, "has positions for 32"),
        (DOCUMENTS, {"augment": True}, "augment moves images"),
        (DOCUMENTS, {"tokenizer": Tokenizer.train("characters", DOCUMENTS, 80)}, "needs a mask token"),
        ([" ", ""], {}, "no training examples"),
    ],
)
def test_bad_input(documents, more, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        kzoo.data.load(folder_of(tmp_path, documents), MODEL, **more)


def test_training_on_the_command_line(tmp_path, monkeypatch, capfd):
    from kzoo.cli.commands import cli

    def run(*arguments):
        cli.main([str(one) for one in arguments], standalone_mode=False, prog_name="kzoo")
        return capfd.readouterr()

    (tmp_path / "texts").mkdir()
    folder = folder_of(tmp_path / "texts")
    sizes = [f"--set={key}={value}" for key, value in {**SMALL, "vocabulary_size": 120, "head": "pretraining"}.items()]
    choices = "--quiet --max-length 16 --epochs 1 --batch-size 8 --warmup-steps 1 --no-deterministic --no-tensorboard"
    place = ("--data", folder, "--tokenizer", "subwords", "--whole-words", "--run-folder", tmp_path / "run")
    err = run("train", "bert_tiny", *sizes, *place, *choices.split()).err
    assert "pairs of at most 16 tokens" in err
    numbers = json.loads(run("evaluate", tmp_path / "run", "--split", "validation", "--json").out)
    assert {"masked_words_loss", "next_sentence_loss", "next_sentence_accuracy"} <= numbers.keys()
    assert numbers["loss"] == pytest.approx(numbers["masked_words_loss"] + numbers["next_sentence_loss"], rel=1e-4)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert facts["max_length"] == 16 and facts["whole_words"]
    with pytest.raises(ValueError, match="gives masked_words, next_sentence, and predictions are for"):
        run("predict", tmp_path / "run", "--split", "validation")


@needs("shakespeare")
def test_prepared_plays():
    tokenizer = Tokenizer.train("characters", DOCUMENTS, 80, mask=True)
    data = kzoo.data.load("shakespeare", MODEL, tokenizer=tokenizer, num_examples=4)
    assert data.validation is not None and data.test is not None and "4 texts" in data.notes[1]
    x, y, weight = next(iter(data.train.epoch(0)))
    assert x["token_ids"].shape == y["masked_words"].shape == weight["masked_words"].shape == (64, 32)
    assert 0.2 < float(tf.reduce_mean(tf.cast(y["next_sentence"], tf.float32))) < 0.8

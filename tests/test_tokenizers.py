"""Tokenizers: every format gives the reference's ids, special tokens are found, what is not a tokenizer is refused."""

import importlib.util
import json
import pathlib
import re
import shutil
import types

import numpy as np
import pytest

from kzoo.data.tokenizing.tokenizers import KINDS, SPECIAL, Tokenizer
from kzoo.tasks import reading

GOLDEN = pathlib.Path(__file__).with_name("golden") / "tokenizers"
IDS = json.loads((GOLDEN / "ids.json").read_text(encoding="utf-8"))
TEXTS = ["the cat sat on the mat", "the dog sat, too", "él está aquí", "12 34 the end"] * 3
FORMATS = ("bert", "bert_cased", "gpt2", "clip", "unigram", "pieces")
PIECES = pytest.mark.skipif(not importlib.util.find_spec("sentencepiece"), reason="the extra `text` is not installed")


@pytest.mark.parametrize("name", [*FORMATS[:4], *(pytest.param(name, marks=PIECES) for name in FORMATS[4:])])
def test_every_format_gives_the_references_ids(name, tmp_path):
    tokenizer = Tokenizer.load(GOLDEN / name)
    assert tokenizer.encode(IDS["strings"]) == IDS[name]
    saved = Tokenizer.load(tokenizer.save(tmp_path))
    assert saved.encode(IDS["strings"]) == IDS[name]
    assert (saved.special, saved.digest) == (tokenizer.special, tokenizer.digest)
    largest = max(max(row, default=0) for row in IDS[name])
    assert largest < tokenizer.vocabulary_size
    one_file = next(path for path in (GOLDEN / name).iterdir() if path.suffix in (".txt", ".model"))
    assert Tokenizer.load(one_file).encode(IDS["strings"]) == IDS[name]


@pytest.mark.parametrize(
    ("name", "pad", "start", "end", "unknown", "mask", "separator", "class_"),
    [
        ("bert", 0, None, None, 1, 4, 3, 2),
        ("gpt2", None, None, 0, None, None, None, None),
        ("clip", 721, 720, 721, None, None, None, 720),
        pytest.param("unigram", 3, 1, 2, 0, None, 2, 1, marks=PIECES),
        pytest.param("pieces", None, 1, 2, 0, None, 2, 1, marks=PIECES),
    ],
)
def test_special_tokens_come_from_the_file(name, pad, start, end, unknown, mask, separator, class_):
    tokenizer = Tokenizer.load(GOLDEN / name)
    assert (tokenizer.pad_id, tokenizer.start_id, tokenizer.end_id) == (pad, start, end)
    assert (tokenizer.unknown_id, tokenizer.mask_id) == (unknown, mask)
    assert (tokenizer.separator_id, tokenizer.class_id) == (separator, class_)


def test_configuration_beside_names_special_tokens(tmp_path):
    shutil.copytree(GOLDEN / "gpt2", tmp_path / "named")
    (tmp_path / "named" / "special_tokens_map.json").write_text(
        json.dumps({"pad_token": {"content": "<|endoftext|>", "lstrip": False}, "bos_token": "<|endoftext|>"})
    )
    tokenizer = Tokenizer.load(tmp_path / "named")
    assert (tokenizer.pad_id, tokenizer.start_id, tokenizer.end_id) == (0, 0, 0)
    copy = Tokenizer.load(tokenizer.save(tmp_path / "copy"))
    assert (copy.pad_id, copy.start_id, copy.end_id) == (0, 0, 0)
    with pytest.raises(ValueError, match=r"masking needs a mask token .* has <\|endoftext\|> \(pad\)"):
        _need_mask(tokenizer)


def test_clip_frames_and_cuts_texts_and_reads_its_own_words_back():
    from kzoo.data import token_rows

    tokenizer = Tokenizer.load(GOLDEN / "clip")
    rows, _, cut = token_rows.encode([["a dog", "the " * 90]], tokenizer, 77)
    short, long = rows.to_list()
    assert (short[0], short[-1], len(short) - 2) == (720, 721, len(tokenizer.encode(["a dog"])[0]))
    assert (long[0], long[-1], len(long), cut) == (720, 721, 77, 1)
    assert tokenizer.decode([*tokenizer.encode(["Zürich naïve", ""]), short]) == ["zürich naïve", "", "a dog"]


def test_a_padding_token_of_one_sign_is_that_token_in_texts_too(tmp_path):
    """As transformers reads the vocabulary of Stable Diffusion 2, which pads with an exclamation mark."""
    shutil.copytree(GOLDEN / "clip", tmp_path / "named")
    (tmp_path / "named" / "tokenizer_config.json").write_text(json.dumps({"pad_token": "!"}))
    tokenizer = Tokenizer.load(tmp_path / "named")
    assert tokenizer.encode(["wow!", "a <|endoftext|> b"]) == [[86, 78, 342, 0], [320, 721, 321]]
    assert (tokenizer.pad_id, tokenizer.end_id) == (0, 721)


def _need_mask(tokenizer):
    tokenizer.need("mask", "masking")


def test_lower_case_is_what_the_configuration_says_else_what_the_vocabulary_shows(tmp_path):
    for name, cased in (("bert", False), ("bert_cased", True)):
        shutil.copy(GOLDEN / name / "vocab.txt", tmp_path / "vocab.txt")
        the = Tokenizer.load(tmp_path).tokens(Tokenizer.load(tmp_path).encode(["The"])[0])
        assert (the[0][0] == "T") == cased


@PIECES
def test_marian_shares_one_vocabulary_between_sources_and_targets(tmp_path):
    tokenizer = Tokenizer.load(GOLDEN / "marian")
    # Of several unknown characters in a row, some in the other model's pieces, Marian makes one unknown.
    runs = ("WEATHER", "1984", "русского", "[CLS]")
    pairs = [
        pair for pair in zip(IDS["strings"], IDS["marian"], strict=True) if not any(run in pair[0] for run in runs)
    ]
    texts, rows = [text for text, _ in pairs], [row for _, row in pairs]
    assert len(texts) >= 11
    assert tokenizer.encode(texts) == [source for source, _ in rows]
    assert tokenizer.target.encode(texts) == [target for _, target in rows]
    assert tokenizer.encode(texts) != tokenizer.target.encode(texts)
    assert tokenizer.decode(tokenizer.target.encode(texts[:1])) == tokenizer.decode(tokenizer.encode(texts[:1]))
    assert tokenizer.decode(tokenizer.encode(texts[:1])) == texts[:1]
    assert (tokenizer.pad_id, tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id) == (71, 71, 0, 1)
    saved = Tokenizer.load(tokenizer.save(tmp_path))
    assert saved.target.encode(texts) == tokenizer.target.encode(texts)
    assert (saved.special, saved.digest) == (tokenizer.special, tokenizer.digest)


# Training


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizers_round_trip_and_repeat(kind, tmp_path):
    size = {"bytes": 300, "wordpieces": 120}.get(kind, 60)
    tokenizer = Tokenizer.train(kind, TEXTS, size)
    assert tokenizer.vocabulary_size <= size
    ids = tokenizer.encode(TEXTS)
    if kind in KINDS[:3]:
        assert [tokenizer.engine.id_to_token(index) for index in range(4)] == list(SPECIAL)
        assert min(map(min, ids)) >= 4, "known text holds an unknown or special token"
    assert max(map(max, ids)) < tokenizer.vocabulary_size
    decoded = tokenizer.decode(ids)
    if kind in ("words", "wordpieces"):  # spaces before punctuation marks may differ
        decoded = [line.replace(" ,", ",") for line in decoded]
    expected = [text.replace("é", "e").replace("á", "a").replace("í", "i") for text in TEXTS]  # as BERT does
    assert decoded == (expected if kind == "wordpieces" else TEXTS)
    path = tokenizer.save(tmp_path)
    assert path == tmp_path / "tokenizer.json"
    loaded = Tokenizer.load(tmp_path)
    assert loaded.encode(TEXTS) == ids
    assert loaded.digest == tokenizer.digest == Tokenizer.train(kind, TEXTS, size).digest


def test_padding_and_truncation_that_a_file_stores_are_off(tmp_path):
    plain = Tokenizer.train("characters", TEXTS, 100)
    plain.save(tmp_path / "plain")
    stored = plain.engine.from_str(plain.engine.to_str())
    stored.enable_padding(length=64)
    stored.enable_truncation(3)
    (tmp_path / "stored").mkdir()
    stored.save(str(tmp_path / "stored" / "tokenizer.json"))
    assert Tokenizer.load(tmp_path / "stored").encode(TEXTS) == Tokenizer.load(tmp_path / "plain").encode(TEXTS)


def test_ids_of_no_token_are_said_and_of_two_refused(tmp_path, caplog):
    path = Tokenizer.train("words", ["a b"], 20).save(tmp_path)
    stored = json.loads(path.read_text())
    stored["model"]["vocab"]["b"] = 8
    path.write_text(json.dumps(stored))
    tokenizer = Tokenizer.load(tmp_path)
    assert "no token has the ids 5, 6, 7 (3 in all)" in caplog.text
    data = types.SimpleNamespace(tokenizer=tokenizer)  # none of those ids is ever what a model says
    assert reading.known_tokens(data, np.ones((1, 10))).tolist() == [[1] * 5 + [0] * 3 + [1]]
    stored["model"]["vocab"]["b"] = stored["model"]["vocab"]["a"]
    path.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="damaged: the id 4 is that of 'a' and 'b'"):
        Tokenizer.load(tmp_path)


def test_lines_end_where_a_file_ends_them():
    from kzoo.data.tokenizing.tokenizer_files import split_lines

    assert split_lines("a\u2028b\nc\x0cd\x85\r\n\ne") == ["a\u2028b", "c\x0cd\x85", "", "e"]


def test_bytes_come_back_exactly():
    tokenizer = Tokenizer.train("bytes", ["plain words"], 270)
    texts = [text for text in IDS["strings"] if "<|endoftext|>" not in text]
    assert tokenizer.decode(tokenizer.encode(texts)) == texts


def test_special_tokens_and_unknown_text():
    tokenizer = Tokenizer.train("characters", ["abc"], 10)
    assert (tokenizer.pad_id, tokenizer.start_id, tokenizer.end_id, tokenizer.unknown_id) == (0, 1, 2, 3)
    assert (tokenizer.mask_id, tokenizer.class_id, tokenizer.separator_id) == (None, 1, 2)
    (a, unknown, b) = tokenizer.encode(["axb"])[0]
    assert unknown == 3
    assert tokenizer.decode([[1, a, b, 2, 0, 0], [1, b, 2, a, a, a]]) == ["ab", "b"], "decoding stops at the first end"
    assert tokenizer.encode([]) == []
    assert tokenizer.encode([""]) == [[]]
    assert Tokenizer.train("characters", ["abc"], 10, mask=True).mask_id == 4


@pytest.mark.parametrize(
    ("tokenizer", "text", "words"),
    [
        (Tokenizer.load(GOLDEN / "bert"), "unhappily talking", ["unhappily", "talking"]),
        (Tokenizer.load(GOLDEN / "gpt2"), "the fox the dog", ["the", "fox", "the", "dog"]),
        (Tokenizer.train("subwords", TEXTS, 60), "the mat sat", ["the", "mat", "sat"]),
        (Tokenizer.train("words", TEXTS, 40), "the mat", ["the", "mat"]),
    ],
)
def test_word_starts(tokenizer, text, words):
    starts = tokenizer.word_starts()
    (ids,) = tokenizer.encode([text])
    begins = [0, *(place for place in range(1, len(ids)) if starts[ids[place]])]
    found = [ids[begin:end] for begin, end in zip(begins, [*begins[1:], len(ids)], strict=True)]
    assert [line.strip() for line in tokenizer.decode(found)] == words
    assert starts[[index for index in tokenizer.special_ids.values() if index is not None]].all()


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Tokenizer.train("word", TEXTS, 60), "did you mean words"),
        (lambda: Tokenizer.train("words", TEXTS, 4), "vocabulary_size must be at least 5"),
        (lambda: Tokenizer.train("bytes", TEXTS, 256), "vocabulary_size must be at least 257"),
        (lambda: Tokenizer.train("words", [], 60), "at least one string"),
        (lambda: Tokenizer.train("words", ["", " \n"], 60), "texts are all empty"),
        (lambda: Tokenizer.train("words", TEXTS, 60).encode("one string"), "list of strings"),
        (lambda: Tokenizer.train("words", TEXTS, 60).encode(["a", 3]), r"texts\[1\] is a int"),
        (lambda: Tokenizer.train("words", TEXTS, 60).encode(["a", "b\ud83d"]),
         r"texts\[1\] holds a lone surrogate \(U\+D83D\) at character 1"),
        (lambda: Tokenizer.load(GOLDEN / "bert").decode([[5, 200]]), r"id 200 has no token; .* 0\.\.199"),
        (lambda: Tokenizer.load(GOLDEN / "bert").decode([[-1]]), "id -1 has no token"),
    ],
)  # fmt: skip
def test_bad_calls_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("tokenizer.json", b'{"version"', "tokenizer.json is damaged or not a tokenizer"),
        ("tokenizer.json", b'{"model": {"type": "none"}}', "damaged or not a tokenizer"),
        ("vocab.txt", b"a\nb\nc\n", r"vocab.txt is not a WordPiece vocabulary \(no line \[UNK\]\)"),
        ("vocab.txt", b"[UNK]\na\na\n", "occurs twice"),
        ("vocab.txt", b"[UNK]\nsome text\n", "holds a space"),
        ("vocab.txt", b"[UNK]\ncaf\xe9\n", "vocab.txt is not UTF-8: byte 0xe9 at offset 9"),
        ("vocab.json", b"{}", "vocab.json needs merges.txt beside it"),
        ("words.bin", b"x", "words.bin is not a tokenizer: wanted"),
        pytest.param("spiece.model", b"no model", "damaged or not a SentencePiece model", marks=PIECES),
        pytest.param("spiece.model", b"", "not a SentencePiece model of kind", marks=PIECES),
    ],
)
def test_what_is_no_tokenizer_is_refused(name, contents, message, tmp_path):
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(tmp_path / name)


def test_bad_merges_are_refused(tmp_path):
    shutil.copy(GOLDEN / "gpt2" / "vocab.json", tmp_path)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ t\nh e y\n")
    with pytest.raises(ValueError, match="merge 2 is 'h e y'; wanted two tokens"):
        Tokenizer.load(tmp_path)
    (tmp_path / "merges.txt").write_text("Q Q\n")
    with pytest.raises(ValueError, match=r"merges\.txt does not fit .*vocab\.json"):
        Tokenizer.load(tmp_path)


def test_a_folder_without_or_with_several_tokenizers_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no tokenizer at .*tokenizer\.json; wanted"):
        Tokenizer.load(tmp_path)
    for name in ("source.spm", "target.spm"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape("holds source.spm, target.spm; name the one")):
        Tokenizer.load(tmp_path)


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    with pytest.raises(
        ValueError, match=r"spiece\.model is read by the library sentencepiece: pip install kzoo\[text\]"
    ):
        Tokenizer.load(GOLDEN / "unigram")


@PIECES
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_cut_model_is_refused(keep, tmp_path):
    whole = (GOLDEN / "unigram" / "spiece.model").read_bytes()
    (tmp_path / "cut.model").write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.model"):
        Tokenizer.load(tmp_path / "cut.model")


WORDPIECES = "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film", "<", "ent", ">"])


def written(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        suffix = ".txt" if isinstance(content, str) else ".json"
        (folder / f"{name}{suffix}").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens": {"<ent>": 10}, "special_tokens_map": {"additional_special_tokens": ["<ent>"]}},
        {"tokenizer_config": {"added_tokens_decoder": {"10": {"content": "<ent>", "special": True}}}},
        {"added_tokens": {"<ent>": 10}},
        {"special_tokens_map": {"pad_token": {"content": "<ent>", "lstrip": False}}},
    ],
)
def test_tokens_that_other_files_add_are_one_token(files, tmp_path):
    folder = written(tmp_path, vocab=WORDPIECES, **files)
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.encode(["a <ent> film"]) == [[5, 10, 6]]
    assert tokenizer.pad_id == (10 if "pad_token" in files.get("special_tokens_map", {}) else 0)
    tokenizer.save(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").encode(["a <ent> film"]) == [[5, 10, 6]]


def test_a_special_token_that_the_vocabulary_has_is_one_token(tmp_path):
    letters = {letter: index for index, letter in enumerate("<pad>")} | {"Ġ": 5, "<pad>": 6, "x": 7}
    folder = written(tmp_path, special_tokens_map={"pad_token": "<pad>"})
    (folder / "vocab.json").write_text(json.dumps(letters))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.pad_id == 6 and tokenizer.encode(["x<pad>"]) == [[7, 6]]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"added_tokens": {"<ent>": 12}}, "'<ent>' the id 12, and in the vocabulary it has 10"),
        ({"added_tokens": {"film": 5}}, "'film' the id 5, and in the vocabulary it has 6"),
        ({"added_tokens": ["<ent>"]}, r"added_tokens\.json should hold one object, and holds a list"),
        ({"added_tokens": {"<ent>": "10"}}, "'<ent>' has the id '10'; wanted an int"),
        ({"tokenizer_config": {"added_tokens_decoder": {"x": {"content": "<ent>"}}}}, "added_tokens_decoder has 'x'"),
        ({"added_tokens": {"<ent>": 10}, "tokenizer_config": {"added_tokens_decoder": {"11": {"content": "<ent>"}}}},
         "the id 10, and .* 11"),
    ],
)  # fmt: skip
def test_files_that_disagree_about_a_token_are_refused(files, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        Tokenizer.load(written(tmp_path, vocab=WORDPIECES, **files))


def test_a_vocabulary_of_gpt_ends_words(tmp_path):
    """Lower case, words and punctuation apart, the last piece of a word marked, as transformers reads GPT's."""
    pieces = ["<unk>", "l", "o", "w", "o</w>", "w</w>", "e", "r</w>", ".</w>", "lo", "low</w>", "low", "er</w>"]
    (tmp_path / "vocab.json").write_text(json.dumps({piece: index for index, piece in enumerate(pieces)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nl o\nlo w</w>\nlo w\ne r</w>\n")
    tokenizer = Tokenizer.load(tmp_path)
    ids = [[10, 11, 12, 8]]
    assert tokenizer.encode(["Low lower."]) == ids
    assert tokenizer.decode(ids) == ["low lower ."]
    assert tokenizer.encode(["low é"]) == [[10, 0]] and tokenizer.unknown_id == 0


def test_words_that_end_in_a_mark_need_an_unknown_token(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"a</w>": 0, "<|startoftext|>": 1}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(ValueError, match=r"vocab\.json ends words with </w> and has neither"):
        Tokenizer.load(tmp_path)

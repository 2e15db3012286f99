"""Prefix beam search against sums over every path, and language models in ARPA form against their own formula."""

import gzip
import math

import numpy as np
import pytest
from test_ctc import every_transcript

from kzoo.data.tokenizing.alphabets import make_alphabet
from kzoo.tasks.speech_recognition.language_models import NgramModel
from kzoo.tasks.speech_recognition.prefix_beams import PrefixBeams

AB = make_alphabet("AB ", digits=None)
ARPA = """made by hand

\\data\\
ngram 1=5
ngram 2=4
ngram 3=1

\\1-grams:
-99 <s> -0.3
-0.9 </s>
-1.5 <unk> -0.1
-0.5 a -0.2
-0.7\tab\t-0.4

\\2-grams:
-0.2 <s> a -0.25
-0.4 a ab
-0.6 ab </s>
-0.3 a </s>

\\3-grams:
-0.1 <s> a ab

\\end\\
"""


@pytest.fixture
def model(tmp_path):
    (tmp_path / "a.arpa").write_text(ARPA)
    return NgramModel.read(tmp_path / "a.arpa")


def logits(frames, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (frames, 4)).astype("float32")


def test_all_transcripts_have_the_probability_of_their_paths():
    for seed in range(3):
        x = logits(6, seed)
        expected = sorted(every_transcript(x).items(), key=lambda item: -item[1])
        found = PrefixBeams(AB, beam_width=2000).search(x, num_best=2000)
        assert [one.ids for one in found[:50]] == [ids for ids, _ in expected[:50]]
        assert len(found) == len(expected)
        np.testing.assert_allclose([one.log_probability for one in found], np.log([p for _, p in expected]), atol=1e-9)
        narrow = PrefixBeams(AB, beam_width=20).search(x)[0]
        assert narrow.ids == expected[0][0] and narrow.log_probability <= np.log(expected[0][1]) + 1e-9


def test_certain_blanks_after_a_clip_change_nothing():
    x = logits(5)
    padded = np.concatenate([x, np.tile(np.float32([0, -1e9, -1e9, -1e9]), (40, 1))])
    assert PrefixBeams(AB).search(padded) == PrefixBeams(AB).search(x)
    assert [one.ids for one in PrefixBeams(AB).search(padded[5:])] == [()]


def test_a_word_list_allows_its_words_only():
    x = logits(7, 5)
    words = ["ab", "b!", "B bb"]
    allowed = {(1, 2), (2,), (2, 2)}

    def fits(ids):
        parts = "".join(map(str, ids)).removesuffix("3").split("3") if ids else []
        return all(tuple(map(int, part)) in allowed for part in parts)

    expected = {ids: share for ids, share in every_transcript(x).items() if fits(ids)}
    found = PrefixBeams(AB, beam_width=5000, words=words).search(x, num_best=5000)
    assert {one.ids for one in found} == set(expected)
    for one in found:
        np.testing.assert_allclose(one.log_probability, np.log(expected[one.ids]), atol=1e-9)
    assert PrefixBeams(AB).search(x)[0].text == "AA"


def test_scores_add_the_language_model_and_the_words(model):
    x = logits(6, 1)
    search = PrefixBeams(AB, beam_width=5000, language_model=model, alpha=0.7, beta=0.4)
    found = search.search(x, num_best=5000)
    assert len(found) == len(every_transcript(x))
    for one in found:
        words, history, total = one.text.split(), ["<s>"], 0
        for word in [*(word.lower() if word in ("A", "AB") else "<unk>" for word in words), "</s>"]:
            total += math.log(10) * by_hand(history, word)
            history.append(word)
        np.testing.assert_allclose(one.score, one.log_probability + 0.7 * total + 0.4 * len(words), atol=1e-9)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    plain = PrefixBeams(AB).search(x)[0]
    assert found[0].ids != plain.ids, "the language model changed nothing: this tests too little"


def by_hand(history, word):
    """log10 of a word after a history in ARPA, with backoff written out."""
    unigrams = {"</s>": (-0.9, 0), "<unk>": (-1.5, -0.1), "a": (-0.5, -0.2), "ab": (-0.7, -0.4), "<s>": (-99, -0.3)}
    bigrams = {("<s>", "a"): -0.2, ("a", "ab"): -0.4, ("ab", "</s>"): -0.6, ("a", "</s>"): -0.3}
    pair = (history[-1], word)
    if (*history[-2:], word) == ("<s>", "a", "ab"):
        return -0.1
    more = -0.25 if tuple(history[-2:]) == ("<s>", "a") else 0
    return more + (bigrams[pair] if pair in bigrams else unigrams[history[-1]][1] + unigrams[word][0])


def test_unfinished_words_are_left_out():
    sure = np.full((5, 4), -20.0)
    sure[range(5), [1, 2, 3, 1, 0]] = 0  # "AB A"
    found = PrefixBeams(AB, words=["AB", "ABA"], beam_width=1).search(sure)
    assert [one.text for one in found] == ["AB"]


def test_language_models_are_read_and_unknown_words_have_a_price(model, tmp_path):
    assert (model.order, model.start, model.words()) == (3, ("<s>",), ["a", "ab"])
    assert model.after(model.after(model.start, "a"), "x") == ("a", "<unk>")
    (tmp_path / "b.arpa.gz").write_bytes(gzip.compress(ARPA.encode()))
    assert NgramModel.read(tmp_path / "b.arpa.gz").probabilities == model.probabilities
    (tmp_path / "c.arpa").write_text(ARPA.replace("ngram 1=5", "ngram 1=4").replace("-1.5 <unk> -0.1\n", ""))
    np.testing.assert_allclose(NgramModel.read(tmp_path / "c.arpa").score((), "x"), -100 * math.log(10))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ngram 2=4", "ngram 2=5", r"line 21: 4 2-grams end here, and the header counts 5"),
        ("ngram 3=1", "ngram 4=1", r"line 6: 'ngram 4=1' where 'ngram 3=COUNT'"),
        ("-0.7\tab", "0.7\tab", r"line 13: .*not above 0"),
        ("-0.7\tab", "nan ab", r"line 13: .*finite"),
        ("-0.7\tab", "-0.7 a", r"line 13: 'a' for the second time"),
        ("-0.4 a ab", "-0.4 a b ab c", r"line 17: .*has 5 fields"),
        ("-0.1 <s> a ab", "-0.1 <s> a ab -0.2", r"line 22: .*has 5 fields; wanted a number, 3 words$"),
        ("-0.4 a ab", "x a ab", r"line 17: .*wanted a number"),
        ("\\2-grams:", "\\3-grams:", r"line 15: .*where \\2-grams: was expected"),
        ("\n\\end\\", "", r"ends before \\end"),
        ("\\data\\", "data", r"ends before \\data"),
        ("-0.9 </s>", "-0.9 <b>", r"has no </s>"),
        ("made by hand", "\udcff", r"is damaged or no text in UTF-8"),
    ],
)
def test_damaged_language_models_name_the_line(tmp_path, old, new, message):
    assert old in ARPA
    (tmp_path / "a.arpa").write_text(ARPA.replace(old, new), errors="surrogateescape")
    with pytest.raises(ValueError, match=message):
        NgramModel.read(tmp_path / "a.arpa")


def test_bad_calls_are_refused(model, tmp_path):
    for call, message in (
        (lambda: PrefixBeams(AB, beam_width=0), "beam_width"),
        (lambda: PrefixBeams(AB).search(np.zeros((3, 5))), r"\(frames, 4\), a column a label; got shape \(3, 5\)"),
        (lambda: PrefixBeams(AB).search(np.full((3, 4), np.nan)), "NaN"),
        (lambda: PrefixBeams(AB).search(np.zeros((3, 4)), 0), "num_best"),
        (lambda: PrefixBeams(AB, words=["ab", "c"]), r"texts\[1\] holds 'c'"),
        (lambda: PrefixBeams(AB, words=["", "!"]), "2 entries and no word"),
        (lambda: PrefixBeams(AB, words=tmp_path / "none"), "no file of words"),
        (lambda: PrefixBeams(AB, language_model=tmp_path / "none"), "no language model at"),
        (lambda: PrefixBeams(make_alphabet("AB", None), words=["AB"]), "alphabet with a space"),
        (lambda: PrefixBeams(make_alphabet("XY ", None), language_model=model), "the likeliest is 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            call()

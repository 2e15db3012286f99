"""Alphabets: written text becomes an alphabet's letters by rules that are saved with it, and nothing else slips by."""

import pytest

from kzoo.data import Tokenizer
from kzoo.data.tokenizing.alphabets import check_transcripts, make_alphabet, unmapped

RUSSIAN, GERMAN = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя ", "abcdefghijklmnopqrstuvwxyzäöüß "


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("press 2", "PRESS TWO"),
        ("  Thé  quick-brown,\nfo\u00a0x\u2019s ", "THE QUICK BROWN FO X'S"),
        ("o\u00b4clock, don`t!", "O'CLOCK DON'T"),
        ("3,000 (\u0665)", None),
        ("soft\u00adly \ufeff_ blank_", "SOFTLY BLANK"),
        ("\u2163 \ufb01ne", "IV FINE"),
        ("!?", ""),
        ("", ""),
    ],
)
def test_text_becomes_letters(text, spelt):
    tokenizer = make_alphabet()
    if spelt is None:
        assert unmapped(tokenizer, text) == "\u0665"
    else:
        assert unmapped(tokenizer, text) == ""
        assert tokenizer.decode(tokenizer.encode([text])) == [spelt]
        assert tokenizer.encode([spelt]) == tokenizer.encode([text])


def test_ids_are_those_of_deepspeech_and_survive_saving(tmp_path):
    tokenizer = make_alphabet()
    assert (tokenizer.vocabulary_size, tokenizer.pad_id, tokenizer.end_id, tokenizer.unknown_id) == (29, 0, None, None)
    assert tokenizer.encode(["a'z a"]) == [[2, 1, 27, 28, 2]]
    assert "".join(tokenizer.tokens(range(29))) == "_'ABCDEFGHIJKLMNOPQRSTUVWXYZ "
    assert tokenizer.decode([[2, 0, 2, 28, 3, 0, 0]]) == ["AA B"]
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert (loaded.digest, loaded.special, loaded.is_usual) == (tokenizer.digest, tokenizer.special, False)
    text = "caf\u00e9_9 \u2013 x"
    assert loaded.encode([text]) == tokenizer.encode([text])
    assert loaded.decode(loaded.encode([text])) == ["CAFE NINE X"]


@pytest.mark.parametrize(
    ("letters", "digits", "text", "spelt"),
    [
        (RUSSIAN, None, "Йод, Ёлка\u0301!", "йод ёлка"),
        (RUSSIAN, None, "И\u0306од", "йод"),
        (GERMAN, None, "Äpfel über É's Fuß", "äpfel über es fuß"),
        ("ABC0123456789", None, "ab 12c", "AB12C"),
        ("aAbB ", None, "aA b", "aA b"),
        ("कखगिुं ", None, "कि गुं।", "कि गुं"),
        ("abcdefghijklmnopqrstuvwxyz. ", ("a",) * 10, "Mr. X, 7", "mr. x a"),
    ],
)
def test_alphabets_of_other_languages_keep_their_letters(letters, digits, text, spelt):
    tokenizer = make_alphabet(letters, digits)
    assert tokenizer.decode(tokenizer.encode([text])) == [spelt]


def test_letters_without_a_rule_are_named_or_left_out():
    tokenizer = make_alphabet()
    assert unmapped(tokenizer, "50% of Ströme \u00df \ue000") == "%\u00df\ue000"
    with pytest.raises(ValueError, match=r"texts\[1\] holds '%', '\u00df'"):
        tokenizer.encode(["fine", "5% \u00df"])
    texts, clips = ["fine", "5%", "\u00df\x00"], ["a.wav", "b.wav", "c.wav"]
    with pytest.raises(ValueError, match=r"b.wav: its transcript '5%' holds '%'.*\(2 of 3 transcripts"):
        check_transcripts(tokenizer, texts, clips)
    keep, notes = check_transcripts(tokenizer, texts, clips, skip_bad=True)
    assert keep.tolist() == [True, False, False]
    assert notes[0].startswith("2 of 3 clips were left out") and "'%', '\u00df', U+0000" in notes[0]
    assert check_transcripts(tokenizer, texts[:1], clips[:1]) == ([True], [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"letters": "ABA"}, "holds 'A' more than once"),
        ({"letters": "A_"}, "holds '_', which is the blank"),
        ({"letters": ""}, "at least one character"),
        ({"blank": "x"}, "one mark"),
        ({"letters": "абв"}, "digits=None"),
        ({"digits": ["one"]}, "wanted ten"),
    ],
)
def test_what_is_no_alphabet_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_alphabet(**options)

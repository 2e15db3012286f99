"""Error rates count over a corpus, empty transcripts included."""

import sys

import pytest

from kzoo.tasks.speech_recognition.error_rates import error_rates


def test_errors_are_summed_over_the_corpus():
    pytest.importorskip("jiwer", reason="the extra `speech` is not installed")
    found = error_rates(["THE CAT SAT DOWN", "NO", ""], ["THE CAT SAT", "YES", "OH"])
    # words: one deleted, one replaced, one inserted, over 5; characters: " DOWN", two of "NO" and one more, "OH"
    assert found == {"word_error_rate": pytest.approx(3 / 5), "character_error_rate": pytest.approx((5 + 3 + 2) / 18)}
    assert error_rates(["A B"], ["A B"]) == {"word_error_rate": 0, "character_error_rate": 0}
    assert error_rates(["A B", "C"], ["", ""]) == {"word_error_rate": 1, "character_error_rate": 1}


def test_what_has_no_rate_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="2 references and 1 hyp"):
        error_rates(["A", "B"], ["A"])
    with pytest.raises(ValueError, match="every reference is empty"):
        error_rates(["", " "], ["A", "B"])
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ModuleNotFoundError, match=r"install kzoo\[speech\]"):
        error_rates(["A"], ["A"])

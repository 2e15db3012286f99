"""Pictures: any text is drawn as it is written."""

import logging

import numpy as np
import pytest
from PIL import Image

from kzoo.explaining import heatmaps
from kzoo.support import drawing
from kzoo.training import reports

HISTORY = [{"epoch": epoch, "loss": 1 / epoch, "val_loss": 1.1 / epoch, "seconds": 1} for epoch in (1, 2, 3)]


@pytest.mark.parametrize("title", ["cost $5 or $x_", r"a $\frac{1}{", "plain", "$$"])
def test_a_dollar_is_a_dollar(title, tmp_path):
    reports.draw_curves(tmp_path / "curve.png", HISTORY, title)
    scores = np.full((2, 2, 2), 0.5)
    heatmaps.draw(tmp_path / "maps.png", scores, [title, "b"], ["a", title], title)
    for name in ("curve", "maps"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 50


def test_letters_that_no_font_has_are_said_and_stop_nothing(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(drawing, "FONTS", ())
    with caplog.at_level(logging.WARNING, "kzoo"):
        reports.draw_curves(tmp_path / "curve.png", HISTORY, "中文")
    assert "curve.png: no installed font has all its letters" in caplog.text and (tmp_path / "curve.png").exists()


def test_tokens_are_readable():
    assert [heatmaps._readable(token) for token in ("Ġthe", "▁the", "the", "Ġ", "Ċ")] == ["the", "the", "the", "␣", "↵"]

import subprocess
import sys

import pytest

from kzoo.support import onednn

TELL = "; import os; print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))"


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [("import kzoo", None, "1"), ("import kzoo", "0", "0"),
     ("import sys; sys.modules['tensorflow'] = None; import kzoo", None, "None")],
)  # fmt: skip
def test_importing_kzoo_turns_it_on_unless_it_is_too_late_or_refused(before, given, after, monkeypatch):
    monkeypatch.delenv(onednn.SWITCH, raising=False)
    if given:
        monkeypatch.setenv(onednn.SWITCH, given)
    run = subprocess.run([sys.executable, "-c", before + TELL], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == after


@pytest.mark.parametrize(
    ("given", "words"), [("1", "oneDNN on"), ("0", "oneDNN off"), (None, "import kzoo before keras")]
)
def test_it_says_what_is_known(given, words, monkeypatch):
    monkeypatch.delenv(onednn.SWITCH, raising=False)
    if given:
        monkeypatch.setenv(onednn.SWITCH, given)
    assert words in onednn.describe()

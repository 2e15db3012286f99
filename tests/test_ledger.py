"""The committed ledger says what the code says."""

import json

import ledger
import pytest

from kzoo import catalog

COMMITTED = json.loads(ledger.LEDGER.read_text(encoding="utf-8"))
ROWS = {row["reference"]: row for row in COMMITTED["rows"]}


def test_every_architecture_and_every_comparison_has_a_row():
    assert set(ROWS) == set(ledger.comparisons()), "run scripts/ledger"
    assert {row["architecture"] for row in ROWS.values()} == {
        entry.architecture
        for entry in catalog.entries().values()
        if not catalog.literals(entry.architecture).get("PARTS")  # what those are made of has rows
    }


def test_counts_and_exports_are_those_of_today():
    for reference, (name, *_) in ledger.comparisons().items():
        assert ROWS[reference] | ledger.facts(name) == ROWS[reference], "run scripts/ledger"
    assert COMMITTED["exports"] == ledger.exports(), "run scripts/ledger"


@pytest.mark.slow  # the tests of each network make the same comparison
@pytest.mark.parametrize("reference", list(ROWS)[::5])
def test_differences_are_those_of_today(reference):
    """Up to what another processor's rounding changes."""
    now, then = ledger.measure(reference)["max_difference"], ROWS[reference]["max_difference"]
    assert then / 10 - 1e-7 <= now <= 10 * then + 1e-7


def test_the_page_is_made_of_the_json():
    assert ledger.LEDGER.with_suffix(".md").read_text(encoding="utf-8") == ledger.page(COMMITTED)

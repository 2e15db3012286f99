"""Counts every model of the catalogue from its graph and writes kzoo/figures.json, which `kzoo list` shows.

Run it after adding or changing a model: python scripts/make_figures.py
"""

import json

from kzoo import building, catalog
from kzoo.support import atomic


def count_all():
    """Parameters and multiply-accumulates of every variant, {name: {"parameters", "macs"}}."""
    counts = {}
    for name in catalog.list_models():
        facts = building.info(name)
        counts[name] = {"parameters": facts["parameters"], "macs": facts["macs"]}
    return counts


if __name__ == "__main__":
    with atomic.file(catalog.FIGURES) as temporary:
        temporary.write_text(json.dumps(count_all(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {catalog.FIGURES}")

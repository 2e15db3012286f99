"""Counts every model of the catalogue from its graph and writes kzoo/catalog/figures.json, for `list` and `info`.

Run it after adding or changing a model: python scripts/make_figures.py
"""

import json

from kzoo import building, catalog
from kzoo.support import atomic


def count_all():
    """What `kzoo.info` says of every variant and its entry in the catalogue does not, {name: facts}."""
    return {name: counts_of(building.info(name)) for name in catalog.list_models()}


def counts_of(facts):
    """The facts that are computed from the graph."""
    return {key: value for key, value in facts.items() if key not in catalog.SAID}


if __name__ == "__main__":
    with atomic.file(catalog.FIGURES) as temporary:
        rows = [f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in count_all().items()]
        temporary.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    print(f"wrote {catalog.FIGURES}")

"""Counts every model of the catalogue from its graph and writes kzoo/catalog/figures.json, for `list` and `info`.

Recipes of tasks go to recipes.json beside it. Run it after adding or changing a model or a task's recipe:
python scripts/make_figures.py
"""

import json

from kzoo import building, catalog, tasks
from kzoo.support import atomic
from kzoo.training import Recipe


def count_all():
    """What `kzoo.info` says of every variant and its entry in the catalogue does not, {name: facts}."""
    return {name: counts_of(building.info(name)) for name in catalog.list_models()}


def counts_of(facts):
    """The facts that are computed from the graph."""
    return {key: value for key, value in facts.items() if key not in catalog.SAID}


# what every recipe says, whether or not a task differs
ALWAYS = ("epochs", "batch_size", "optimizer", "learning_rate", "schedule")


def recipes():
    """{task that trains: the fields of its recipe that ALWAYS lists, and those that differ from what is usual}."""
    usual = {key: getattr(Recipe, key) for key in ALWAYS}
    return {task.name: {**usual, **task.recipe} for task in tasks.every() if not task.gives_features}


if __name__ == "__main__":
    with atomic.file(catalog.RECIPES) as temporary:
        rows = [f"{json.dumps(name)}: {json.dumps(recipe)}" for name, recipe in recipes().items()]
        temporary.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    with atomic.file(catalog.FIGURES) as temporary:
        rows = [f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in count_all().items()]
        temporary.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    print(f"wrote {catalog.FIGURES}")

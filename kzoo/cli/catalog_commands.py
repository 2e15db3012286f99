"""Commands that look at the catalogue."""

import shutil

import click

from kzoo.cli.entry import command, import_keras, json_option, print_json, set_option, settings_of
from kzoo.cli.tables import short, show, show_rows


@command("list 'resnet*'", "list --task translation --max-params 1e8 --json")
@click.argument("pattern", default="*")
@click.option("--task", help="Only models for this task.")
@click.option("--max-params", type=float, help="Only models with at most this many parameters, such as 1e6.")
@json_option
def list_command(pattern, task, max_params, as_json):
    """List the models of the catalogue.

    PATTERN is a shell-style pattern of names; the name of an architecture lists its variants.
    """
    from kzoo import catalog

    entries = [catalog.find(name) for name in catalog.list_models(pattern, task, max_params)]
    figures = catalog.figures()
    if as_json:
        keys = ("name", "architecture", "task", "summary")
        return print_json([{key: getattr(e, key) for key in keys} | figures.get(e.name, {}) for e in entries])
    if not entries:
        raise click.UsageError(f"no model matches {pattern!r}; kzoo list shows all")
    rows = [("model", "parameters", "MACs", "task", "what it is")]
    for entry in entries:
        numbers = {"parameters": 0, "macs": 0} | figures.get(entry.name, {})
        rows.append((entry.name, f"{numbers['parameters']:,}", short(numbers["macs"]), entry.task, entry.summary))
    return show_rows(rows, right=(1, 2), width=shutil.get_terminal_size((200, 24)).columns)


@command("datasets", "datasets --data-dir folder/ --json")
@click.option("--data-dir", metavar="FOLDER", help="The folder of prepared data (TFDS_DATA_DIR by default).")
@json_option
def datasets(data_dir, as_json):
    """List the data sets that are there: generated ones, and those that tensorflow-datasets has prepared.

    --data also takes a folder of class folders of images, text files, and any data set that may be downloaded.
    """
    from kzoo.data.sources import listing

    found = listing.describe(data_dir)
    if as_json:
        return print_json(found)
    rows = [("name", "train", "validation", "test", "what it is")]
    for row in found:
        sizes = [f"{row['splits'][split]:,}" if split in row["splits"] else "" for split in rows[0][1:4]]
        rows.append((row["name"], *sizes, row["what"]))
    return show_rows(rows, right=(1, 2, 3), width=shutil.get_terminal_size((200, 24)).columns)


@command("info resnet50", "info runs/mnist_cnn", "info gpt2 --set num_layers=6 --length 1024 --layers")
@click.argument("name")
@set_option
@click.option("--length", type=int, help="The sequence length to count at: 128, or 1 s of sound.")
@click.option("--layers", is_flag=True, help="Also print a row for every layer and operation.")
@json_option
def info(name, overrides, length, layers, as_json):
    """Show what a model is, what it costs, the keywords that --set takes, and the recipe of kzoo train.

    NAME is one of the catalogue, a run folder, a saved or published folder, or an hf:// address.
    """
    import pathlib

    from kzoo import catalog

    facts, settings = None, {}
    if not name.startswith("hf://") and not pathlib.Path(name).is_dir():
        entry = catalog.find(name)
        counted = catalog.figures().get(entry.name)
        if counted and not (overrides or layers) and length in (None, counted.get("length")):
            said = {key: getattr(entry, key) for key in catalog.SAID}
            facts = {**said, **counted}  # known without building anything
    if facts is None:
        import_keras()
        from kzoo import building
        from kzoo.building import published

        model, settings = _named(name), settings_of(overrides)
        facts = building.info(model, length, layers, **settings)
        if model is not name:
            settings = model.kzoo.overrides
        elif published.is_place(name):
            _, settings = published.find(name, with_weights=False).choose(settings)
    entry = catalog.find(facts["name"]) if facts["architecture"] else None
    recipe = catalog.recipes().get(entry.usual_task(settings) if entry else facts["task"])
    if as_json:
        return print_json({**facts, "recipe": recipe})
    return show(facts, {**catalog.settings(entry), **settings} if entry else settings, recipe)


def _named(name):
    """The model that a folder of kzoo's own holds; any other name as it is."""
    import pathlib

    from kzoo import building
    from kzoo.building import saving
    from kzoo.catalog import configurations

    files = (saving.MODEL_FILE, saving.INDEX_FILE)
    is_ours = any((pathlib.Path(name) / file).is_file() for file in files) and not configurations.is_published(name)
    return building.load(name) if is_ours else name

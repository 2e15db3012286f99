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


@command("info resnet50", "info gpt2 --set num_layers=6 --length 1024 --layers")
@click.argument("name")
@set_option
@click.option("--length", type=int, default=128, help="The sequence length to count at.")
@click.option("--layers", is_flag=True, help="Also print a row for every layer and operation.")
@json_option
def info(name, overrides, length, layers, as_json):
    """Show what a model is and what it costs.

    NAME is one of the catalogue, or a published folder or hf:// address.
    """
    import pathlib

    from kzoo import catalog

    if not name.startswith("hf://") and not pathlib.Path(name).is_dir():
        catalog.find(name)
    import_keras()
    from kzoo import building

    facts = building.info(name, length, layers, **settings_of(overrides))
    return print_json(facts) if as_json else show(facts)

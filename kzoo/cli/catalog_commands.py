"""Commands that look at the catalogue."""

import click

from kzoo.cli.entry import cli, console, import_keras, json_option, print_json, set_option, settings_of


@cli.command("list")
@click.argument("pattern", default="*")
@click.option("--task", help="Only models for this task.")
@click.option("--max-params", type=float, help="Only models with at most so many parameters, such as 1e6.")
@json_option
def list_command(pattern, task, max_params, as_json):
    """List the models of the catalogue.

    PATTERN is a shell-style pattern of names; an architecture lists its variants.
    """
    from kzoo import catalog

    names = catalog.list_models(pattern, task, max_params)
    figures = catalog.figures()
    entries = [catalog.find(name) for name in names]
    if as_json:
        rows = [
            {
                "name": e.name,
                "architecture": e.architecture,
                "task": e.task,
                "summary": e.summary,
                **figures.get(e.name, {}),
            }
            for e in entries
        ]
        return print_json(rows)
    if not names:
        raise click.UsageError(f"no model matches {pattern!r}; kzoo list shows all")
    from rich.table import Table

    from kzoo.cli.tables import short

    table = Table(box=None, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("MACs", justify="right", no_wrap=True)
    table.add_column("task", no_wrap=True)
    table.add_column("what it is", no_wrap=True, overflow="ellipsis")
    for entry in entries:
        numbers = figures.get(entry.name, {})
        table.add_row(
            entry.name, f"{numbers.get('parameters', 0):,}", short(numbers.get("macs", 0)), entry.task, entry.summary
        )
    return console().print(table)


@cli.command()
@click.argument("name")
@set_option
@click.option("--length", type=int, default=128, show_default=True, help="Sequence length to count at.")
@click.option("--layers", is_flag=True, help="Also a row for every layer and operation.")
@json_option
def info(name, overrides, length, layers, as_json):
    """Show what a model is and what it costs."""
    from kzoo import catalog
    from kzoo.cli.tables import show

    catalog.find(name)
    import_keras()
    from kzoo import building

    facts = building.info(name, length, layers, **settings_of(overrides))
    return print_json(facts) if as_json else show(console(), facts)

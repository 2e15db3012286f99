"""Pruning on the command line: the options of `kzoo train` and its report on sparse weights."""

import pathlib
from typing import Any

import click

OPTIONS = (
    click.option("--prune", metavar="SHARE|N:M", help="Zero this share of each kernel, or keep N of every M weights."),
    click.option("--prune-begin", type=float, help="The share of the run before the first weights become zero (0)."),
    click.option("--prune-end", type=float, help="The share of the run after which no more do (0.75)."),
    click.option("--prune-every", type=int, metavar="STEPS", help="The number of steps between updates of the masks."),
)


def parse(options, resumed) -> None:
    """Turns a share among a command's options into a number; UsageError for a schedule without a share."""
    given = [key for key in options if key.startswith("prune_")]
    if given and "prune" not in options and not resumed:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in given)
        raise click.UsageError(f"{flags} belongs to --prune, which says how many weights become zero")
    text = options.get("prune", ":")
    if ":" not in text:
        try:
            options["prune"] = float(text)
        except ValueError as error:
            raise click.UsageError(f"--prune takes a share such as 0.8 or N:M such as 2:4, got {text!r}") from error


def rewrites_beside(weights) -> Any:
    """The rewrites of the model in the saved folder or run folder `weights`; none for other weights."""
    if not weights or not (pathlib.Path(weights) / "model.json").is_file():
        return ()
    from kzoo.building import saving

    return saving.read_description(weights).get("rewrites", ())


def show(report) -> None:
    """Prints the result of `kzoo.sparsity`, if there is one: a line for each kernel and one for all of them."""
    if report is None:
        return
    names = [f"{row['name']}.{row['weight']}" for row in report["layers"]]
    for name, row in zip(names, report["layers"], strict=True):
        padded = name.ljust(max(map(len, names)))
        click.echo(f"  {padded}  {row['sparsity']:7.2%} of {row['parameters']:,} weights are zero")
    click.echo(
        f"sparsity: {report['sparsity']:.2%} of {report['parameters']:,} weights in kernels are zero, "
        f"{report['model_sparsity']:.2%} of all parameters"
    )

"""Pruning on the command line: the options of `kzoo train` and what it says of sparse weights."""

import pathlib

import click

OPTIONS = (
    click.option("--prune", metavar="SHARE|N:M", help="Make this share of each kernel zero, or keep N of every M."),
    click.option("--prune-begin", type=float, help="Share of the run after which weights become zero (0)."),
    click.option("--prune-end", type=float, help="Share of the run after which no more do (0.75)."),
    click.option("--prune-every", type=int, metavar="STEPS", help="Steps between two updates of the masks."),
)


def parse(options, resumed):
    """Turns a share among a command's options into a number; UsageError for a schedule of nothing."""
    given = [key for key in options if key.startswith("prune_")]
    if given and "prune" not in options and not resumed:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in given)
        raise click.UsageError(f"{flags} belongs to --prune, which says how many weights become zero")
    if "prune" in options and ":" not in options["prune"]:
        try:
            options["prune"] = float(options["prune"])
        except ValueError as error:
            text = options["prune"]
            raise click.UsageError(f"--prune takes a share such as 0.8 or N:M such as 2:4, got {text!r}") from error


def rewrites_beside(weights):
    """The rewrites of the model whose saved folder or run folder `weights` is; none for other weights."""
    if not weights or not (pathlib.Path(weights) / "model.json").is_file():
        return ()
    from kzoo.building import saving

    return saving.read_description(weights).get("rewrites", ())


def show(report):
    """Prints a `kzoo.sparsity`, if there is one: a line for each kernel and one for all."""
    if report is None:
        return
    width = max(len(row["name"]) + len(row["weight"]) + 1 for row in report["layers"])
    for row in report["layers"]:
        name = f"{row['name']}.{row['weight']}"
        click.echo(f"  {name:<{width}}  {row['sparsity']:7.2%} of {row['parameters']:,} weights are zero")
    click.echo(
        f"sparsity: {report['sparsity']:.2%} of {report['parameters']:,} weights in kernels are zero, "
        f"{report['model_sparsity']:.2%} of all parameters"
    )

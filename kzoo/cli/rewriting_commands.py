"""Commands that rewrite a model's graph."""

import shlex

import click

from kzoo.cli.entry import command, json_option, model_options, open_model, overwrite_option, print_json


@command("merge-lora runs/bert_base models/merged")
@click.argument("source", metavar="RUN")
@click.argument("path", metavar="OUT")
@overwrite_option
def merge_lora(source, path, overwrite):
    """Add a run's low-rank updates to its weights.

    RUN is a run folder or a saved folder of a model with such updates; the plain model is saved in the folder OUT.
    """
    from kzoo.support import atomic

    atomic.refuse_occupied(path, overwrite)
    model = open_model(source)
    from kzoo.rewrites import low_rank_updates as lora

    merged = lora.merge_lora(model)
    _write(merged, path, overwrite)
    click.echo(f"wrote {path}: {merged.kzoo.name} with {len(lora.find_settings(model)['layers'])} updates merged")


@command("prune-filters runs/resnet50 models/half --macs 0.5", "train resnet50 --weights models/half")
@click.argument("source")
@click.argument("path", metavar="OUT")
@model_options
@click.option("--fraction", type=float, help="The share of each group of filters to remove.")
@click.option("--macs", metavar="SHARE|NUMBER", help="The share or number of MACs that remain, instead of --fraction.")
@click.option("--layers", multiple=True, metavar="PATTERN", help="Layers that may lose filters; can be repeated.")
@overwrite_option
@json_option
def prune_filters(source, path, overrides, weights, dtype, fraction, macs, layers, overwrite, as_json):
    """Remove the least important filters and units of a model.

    SOURCE is a run folder, a saved folder or a catalogue name; the smaller model is saved in the folder OUT, and
    kzoo train NAME --weights OUT continues its training.
    """
    from kzoo.support import atomic

    if (fraction is None) == (macs is None):
        raise click.UsageError("give either --fraction or --macs, such as --macs 0.5")
    atomic.refuse_occupied(path, overwrite)
    if macs is not None:
        try:
            macs = int(macs) if macs.isdigit() else float(macs)
        except ValueError as error:
            raise click.UsageError(f"--macs takes a share such as 0.5 or a number, got {macs!r}") from error
    model = open_model(source, overrides, weights, dtype)
    from kzoo.rewrites import filters

    pruned = filters.prune_filters(model, fraction, macs=macs, layers=list(layers) or None)
    report = filters.prune_report(model, pruned)
    _write(pruned, path, overwrite)
    if as_json:
        return print_json(report)
    for row in report["layers"]:
        click.echo(f"  {row['name']}: {row['pruned_filters']} of {row['filters']}")
    click.echo(filters.report_line(report))
    return click.echo(f"wrote {path}; next: kzoo train {model.kzoo.name} --weights {shlex.quote(str(path))} ...")


def _write(model, path, overwrite):
    """Saves a rewritten model as a folder."""
    from kzoo import building
    from kzoo.support import atomic

    with atomic.folder(path, overwrite) as temporary:
        building.save(model, temporary)

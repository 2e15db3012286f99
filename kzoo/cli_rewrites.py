"""Commands that rewrite a model's graph."""

import click

from kzoo.cli import _open, cli


@cli.command("merge-lora")
@click.argument("source", metavar="RUN")
@click.argument("path", metavar="OUT")
@click.option("--overwrite", is_flag=True, help="Replace what stands at OUT.")
def merge_lora(source, path, overwrite):
    """Add a run's low-rank updates to its weights.

    RUN is a run folder or saved folder of a model with such updates; OUT becomes a saved folder of the plain model.
    """
    from kzoo import atomic

    atomic.refuse_occupied(path, overwrite)
    model, description = _open(source)
    from kzoo import checkpoint
    from kzoo.rewrites import lora

    merged = lora.merge_lora(model)
    with atomic.folder(path, overwrite) as temporary:
        checkpoint.save(merged, temporary)
        extra = {"class_names": description["class_names"]} if "class_names" in description else {}
        checkpoint.write_description(merged, temporary, **extra)
    click.echo(f"wrote {path}: {merged.kzoo.name} with {len(lora.find_settings(model)['layers'])} updates merged")

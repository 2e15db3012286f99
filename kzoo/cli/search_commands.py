"""The command that finds pictures by words."""

import click

from kzoo.cli import entry, row_files


@entry.command(
    "search runs/clip pictures/ 'a ship'", "search runs/clip pictures/ 'a ship' 'a red apple' --index photos"
)
@click.argument("source")
@click.argument("folder")
@click.argument("texts", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=5, help="The number of pictures to name for each text.")
@click.option("--index", "prefix", metavar="NAME", help="Keep the pictures' vectors in NAME.npy and NAME.json.")
@click.option("--rebuild", is_flag=True, help="Compute the vectors of --index anew.")
@entry.model_options
@entry.json_option
def search(source, folder, texts, top, prefix, rebuild, overrides, weights, dtype, as_json):
    """Find the pictures of a folder that texts describe.

    SOURCE is a run folder, a saved or published folder, an hf:// address or a catalogue name, of a model such as CLIP.
    With --index the pictures are read once; an index of another model, or of files that have changed since, is refused.
    """
    from kzoo.data.columns.numbers import PICTURES

    files = row_files.expanded([folder], PICTURES)
    model = entry.open_model(source, overrides, weights, dtype)
    from kzoo import tasks

    rows = tasks.of(model).search(model, folder, files, list(texts), top, prefix, rebuild)
    if as_json:
        return entry.print_json(rows)
    for row in rows:
        click.echo(f"{row['text']}:")
        for found in row["files"]:
            click.echo(f"  {found['similarity']:.3f}  {found['file']}")
    return None

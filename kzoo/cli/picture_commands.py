"""Files of pictures that a model writes."""

import click

from kzoo.cli.entry import open_model, with_options
from kzoo.cli.sound_commands import chosen

OF_PICTURES = {"num_images", "seed"}

picture_options = with_options(
    click.option("--count", "num_images", type=int, help="Of pictures: how many are written, 64 by default."),
)


def write_pictures(path, source) -> None:
    """Writes pictures into a grid or a folder; UsageError for options that are of something else.

    Args:
        source: the arguments of `open_model`.
    """
    settings = chosen(path, OF_PICTURES, "pictures", OF_PICTURES)
    model = open_model(*source)
    from kzoo import tasks

    click.echo(tasks.of(model).generate_file(model, path, **settings))

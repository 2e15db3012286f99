"""The whole command line: each file imported here adds its commands."""

from kzoo.cli import (  # noqa: F401
    catalog_commands,
    explaining_commands,
    genome_commands,
    rewriting_commands,
    search_commands,
    sound_commands,
    text_commands,
    training_commands,
    using_commands,
)
from kzoo.cli.entry import cli, main

__all__ = ["cli", "main"]

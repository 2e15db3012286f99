"""The whole command line: each file imported here adds its commands."""

from kzoo.cli import catalog_commands, rewriting_commands, text_commands, training_commands, using_commands  # noqa: F401
from kzoo.cli.entry import cli, main

__all__ = ["cli", "main"]

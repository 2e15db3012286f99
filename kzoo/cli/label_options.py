"""Options of commands that tell pictures apart by words."""

import click

from kzoo.cli import entry

NAMES = ("labels", "templates")

labels = entry.with_options(
    click.option(
        "--labels", multiple=True, metavar="TEXT...", help="For CLIP: the words to choose among, after FILES."
    ),
    click.option("--template", "templates", multiple=True, metavar="TEXT", help="What a label stands in: 'a red {}'."),
)


class ManyLabels(click.Command):
    """A command whose option --labels takes all that follows it, up to the next option."""

    def parse_args(self, ctx, args) -> list:
        found, repeats = [], False
        for one in args:
            if repeats and not one.startswith("-"):
                found.append("--labels")
            repeats = one == "--labels" or (repeats and not one.startswith("-"))
            found += [] if one == "--labels" else [one]
        return super().parse_args(ctx, found)


def taken(options) -> dict:
    """What was given of them, removed from a command's other options; templates need labels."""
    given = {name: options.pop(name) for name in NAMES}
    if given["templates"] and not given["labels"]:
        raise click.UsageError("--template is what --labels stand in; name these")
    return {name: value for name, value in given.items() if value}

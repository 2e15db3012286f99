"""Options of commands that write down speech: how frames become words."""

import click

from kzoo.cli import entry

NAMES = ("beam_width", "words", "language_model", "language_weight", "word_bonus")

decoding = entry.with_options(
    click.option("--beam-width", type=click.IntRange(1), help="Search transcripts of speech among so many beams."),
    click.option("--words", metavar="FILE", help="The only words of speech there may be, one on each line."),
    click.option("--language-model", metavar="FILE", help="An n-gram model of words in ARPA form, for speech."),
    click.option("--language-weight", type=float, help="How much the language model counts (0.5)."),
    click.option("--word-bonus", type=float, help="What every word adds to a transcript's score (1.5)."),
)


def taken(options) -> dict:
    """The options of decoding that were given, removed from a command's others; words and models need beams."""
    given = {name: options.pop(name) for name in NAMES}
    given = {name: value for name, value in given.items() if value is not None}
    return {"beam_width": 64, **given} if given.keys() & {"words", "language_model"} else given

"""Commands for models that write sound."""

import sys

import click
from click.core import ParameterSource

from kzoo.cli.entry import command, model_options, open_model, with_options

OF_MODEL = {"source", "path", "recording", "overrides", "weights", "dtype"}  # options whatever a file holds
OF_SOUND = {"speaker", "seconds", "temperature", "seed"}

sound_options = with_options(
    click.option("--speaker", metavar="ID|NAME", help="Of sound: whose voice, or which digit, it is."),
    click.option("--seconds", type=float, help="Of sound: how long it is."),
)


def write_sound(path, source, settings, **more) -> None:
    """Writes a file of sound, with a bar on standard error; UsageError for options that are of text alone.

    Args:
        source: the arguments of `open_model`.
        settings: of `kzoo.generate`; None where not given.
    """
    settings = {name: value for name, value in settings.items() if value is not None}
    settings |= chosen(path, OF_SOUND, "sound", {"temperature", "seed"})
    model = open_model(*source)
    from kzoo import tasks

    bar = click.progressbar(length=1, label="samples", file=sys.stderr)

    def progress(count, total):
        bar.length = total
        bar.update(count - bar.pos)

    with bar:
        line = tasks.of(model).generate_file(model, path, progress=progress, **settings, **more)
    click.echo(line)


def chosen(path, known, what, taken) -> dict:
    """The options of a command that were given, of those `taken`; UsageError for others than those of a kind of file.

    Args:
        known: the options of that kind, beside those of its model.
    """
    context = click.get_current_context()
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    words = {option.name: option.opts[-1] for option in context.command.params}
    if others := sorted(words[name] for name in given - OF_MODEL - known):
        raise click.UsageError(f"{', '.join(others)}: not for {what} ({path})")
    return {name: context.params[name] for name in given & taken}


@command("vocode runs/vocoder speech.wav out.wav --seed 1")
@click.argument("source")
@click.argument("recording", metavar="SPEECH.wav")
@click.argument("path", metavar="OUT.wav")
@click.option("--speaker", metavar="ID|NAME", help="Whose voice it is, for a model that knows several.")
@click.option("--temperature", type=float, default=1.0, help="Less draws from a narrower distribution.")
@click.option("--seed", type=int, default=0, help="The seed of drawn samples.")
@model_options
def vocode(source, recording, path, speaker, temperature, seed, overrides, weights, dtype):
    """Write a recording anew from its mel spectrogram alone.

    SOURCE is a run folder, a saved folder, or a catalogue name with --weights, of a model that takes mel frames.
    """
    write_sound(path, (source, overrides, weights, dtype), {"speaker": speaker}, recording=recording)

"""Files of pictures that a model writes."""

import sys

import click

from kzoo.cli.entry import open_model, with_options
from kzoo.cli.sound_commands import chosen

# the options of pictures by what kzoo.generate calls them
OF_PICTURES = {
    "num_images", "prompts", "negative_prompt", "guidance", "num_steps", "sampler", "image", "strength", "mask",
    "preview", "seed",
}  # fmt: skip

picture_options = with_options(
    click.option("--count", "num_images", type=int, help="Of pictures: how many are written, of each prompt."),
    click.option("--steps", "num_steps", type=int, help="Of diffusion: how often noise is removed (50)."),
    click.option("--guidance", type=float, help="Of diffusion: how closely pictures follow the prompt (7.5)."),
    click.option("--negative-prompt", metavar="TEXT", help="Of diffusion: what pictures go away from."),
    click.option("--sampler", metavar="NAME", help="Of diffusion: ddim, euler, dpm_solver, …; the model's by default."),
    click.option("--image", metavar="FILE", help="Of diffusion: a picture to change."),
    click.option("--strength", type=float, help="Of diffusion: how much of it, from 0 to 1 (0.8)."),
    click.option("--mask", metavar="FILE", help="Of diffusion: where to paint it anew, white on black."),
    click.option("--preview", is_flag=True, help="Of diffusion: write the file every few steps."),
)


def write_pictures(path, source) -> None:
    """Writes pictures into a grid or a folder, with a bar on standard error; UsageError for options of something else.

    Args:
        source: the arguments of `open_model`.
    """
    settings = chosen(path, OF_PICTURES, "pictures", OF_PICTURES)
    if prompts := settings.pop("prompts", None):
        settings["prompt"] = list(prompts)
    model = open_model(*source)
    from kzoo import tasks

    bar = click.progressbar(length=1, label="steps", file=sys.stderr)

    def progress(count, total):
        bar.length = total
        bar.update(count - bar.pos)

    with bar:
        line = tasks.of(model).generate_file(model, path, progress=progress, **settings)
    click.echo(line)


def refuse_without_file(given) -> None:
    """UsageError for an option of pictures where no file is named; `given` is {option: value}."""
    words = {"num_images": "count", "num_steps": "steps"}
    if told := [words.get(name, name).replace("_", "-") for name, value in given.items() if value not in (None, False)]:
        raise click.UsageError(f"--{told[0]} is of pictures; name the file or folder to write, grid.png")

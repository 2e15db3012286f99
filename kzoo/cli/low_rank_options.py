"""Low-rank updates on the command line: the options of `kzoo train`."""

from typing import Any

import click

OPTIONS = (
    click.option("--lora-rank", type=int, help="Train low-rank updates of this rank beside frozen layers (LoRA)."),
    click.option("--lora-layers", multiple=True, metavar="PATTERN", help="Dense layers to update; can be repeated."),
    click.option("--lora-alpha", type=float, help="The scale of the updates; the rank by default."),
    click.option("--lora-dropout", type=float, help="The dropout rate of their inputs."),
    click.option("--lora-train", multiple=True, metavar="PATTERN", help="More layers to train, such as a new head."),
)


def take(options) -> dict:
    """Removes what OPTIONS added from a command's options; the keywords of `kzoo.lora`, {} without a rank."""
    found = {key: options.pop(f"lora_{key}", None) for key in ("rank", "layers", "alpha", "dropout", "train")}
    settings = {key: value for key, value in found.items() if value not in (None, ())}
    if settings and "rank" not in settings:
        given = ", ".join(f"--lora-{key}" for key in settings)
        raise click.UsageError(f"{given} belongs to --lora-rank, which says how wide the updates are")
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def adapt(model, settings, rewrites=()) -> Any:
    """The model as a resumed run rewrote it, else with the updates that were asked for, if any."""
    from kzoo import rewrites as rooms

    if rewrites:
        return rooms.repeat(model, rewrites)
    if not settings:
        return model
    from kzoo.rewrites.low_rank_updates import lora, lora_report, report_line

    model = lora(model, **settings)
    click.echo(report_line(lora_report(model)), err=True)
    return model

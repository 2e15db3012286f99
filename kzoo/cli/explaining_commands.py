"""The command that says why a model answers what it answers."""

import pathlib

import click

from kzoo.cli import entry


@entry.command(
    "explain runs/mnist_cnn seven.png why.png",
    "explain runs/resnet20 cat.png why.png --method grad_cam --target cat --check deletion",
    "explain runs/reviews 'a fine film' why.html --method occlusion",
)
@click.argument("source")
@click.argument("example")
@click.argument("path", metavar="OUTPUT")
@click.option(
    "--method",
    metavar="NAME",
    help="saliency, gradient_x_input, integrated_gradients, smoothgrad, grad_cam, grad_cam++, occlusion or rise; "
    "integrated_gradients by default, grad_cam with --at.",
)
@click.option("--target", metavar="CLASS", help="A class, by name or number, or PLACE,CLASS; else the likeliest.")
@click.option("--against", metavar="CLASS", help="Why the target and not this one.")
@click.option("--at", metavar="TAP", help="The layer that Grad-CAM looks at; by default the last one with places.")
@click.option(
    "--check", "checks", multiple=True, metavar="NAME", help="deletion, infidelity, sensitivity or randomization."
)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="A setting of the method: steps=100.")
@click.option("--seed", type=int, default=0, help="Of what is drawn at random.")
@entry.model_options
@entry.overwrite_option
@entry.json_option
def explain(source, example, path, target, against, options, overrides, weights, dtype, overwrite, as_json, **how):
    """Draw what in an example speaks for the model's answer.

    SOURCE is a run folder, a saved or published folder, an hf:// address or a catalogue name. EXAMPLE is a file, or a
    text for a model that reads texts; OUTPUT is a .png, or for texts also an .html.
    """
    from kzoo.explaining import explanation_pictures
    from kzoo.support import atomic

    explanation_pictures.check_path(path)
    atomic.refuse_occupied(path, overwrite)
    settings = entry.settings_of(options, "--option")
    model = entry.open_model(source, overrides, weights, dtype)
    import kzoo

    how |= {"target": _place(target), "against": _place(against), **settings}
    found = kzoo.explain(model, _read(model, example), **how)
    found.draw(path)
    row = {
        "model": found.model, "method": found.method, "at": found.at, "target": found.target[0],
        "answer": found.name_of(0), "value": found.values[0],
        "checks": {key: value[0] if isinstance(value, list) else value for key, value in found.checks.items()},
    }  # fmt: skip
    if as_json:
        return entry.print_json(row)
    click.echo(f"wrote {path}: {found.method} of {row['answer']} ({row['value']:.4g})")
    for key, value in row["checks"].items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        click.echo(f"{key}: " + ", ".join(f"{name} {number:.3g}".strip() for name, number in parts))
    return None


def _place(text):
    """A class by number or name, or several numbers with commas between them."""
    if text is None:
        return None
    parts = [int(part) if part.strip().lstrip("-").isdigit() else part for part in text.split(",")]
    return parts[0] if len(parts) == 1 else tuple(parts)


def _read(model, example):
    """What `kzoo.explain` takes, of a file or a text."""
    from kzoo.data import columns

    wanted = columns.inputs_of(model)
    if any(column.kind == "tokens" for column in wanted.values()) and not pathlib.Path(example).is_file():
        return [example]
    if len(wanted) > 1 and not any(column.kind == "waveform" for column in wanted.values()):
        taken = ", ".join(wanted)
        raise click.UsageError(f"{model.name} takes {taken}; kzoo.explain(model, {{name: array}}) explains these")
    return next(iter(wanted.values())).read(example)

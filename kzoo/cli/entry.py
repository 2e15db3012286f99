"""The command line. Each command imports its room itself, so that help and listing stay instant."""

import functools
import json
import logging
import os
import pathlib
import sys
from typing import Any

import click

from kzoo.support import quiet
from kzoo.version import __version__

AUGMENTATIONS = "digits (--augment), small_images, small_images_light, photos or photos_strong."
LOAD_HEAD = "kzoo.load_head"  # whether --no-load-head is absent, in the metadata of a command's context
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True}


def main() -> None:
    """Runs the command line: exit status 0 done, 1 failed, 2 bad input (one line, no traceback), 130 interrupted."""
    try:
        sys.exit(cli.main(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="kzoo") or 0)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:
        message, status = str(error.__cause__ or "") or "interrupted", 130
    except click.ClickException as error:
        message, status = error.format_message(), 2
    except UnicodeEncodeError as error:
        message, status = f"{error.object!r} is a name that is not UTF-8; rename it", 2
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("KZOO_TRACEBACK"):
            raise
        message, status = str(error), 2
    except ArithmeticError as error:
        message, status = str(error), 1
    except RuntimeError as error:
        if "home directory" not in str(error) or os.environ.get("KZOO_TRACEBACK"):
            raise
        message, status = f"{error} Set HOME, or write paths without ~", 2
    print(f"kzoo: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def import_keras() -> None:
    """Imports Keras without the start-up messages that TensorFlow writes regardless of every logging setting."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "keras" in sys.modules or os.environ.get("KZOO_TRACEBACK"):
        return
    logging.getLogger("absl").setLevel(logging.ERROR)
    with quiet.silent_stderr():
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()
            tf.get_logger().setLevel("ERROR")


def command(*examples, cls=click.Command) -> Any:
    """Adds a command that is named by the first word of its examples, which end its help."""
    lines = ["\b", "Examples:", *(f"  kzoo {example}" for example in examples)]
    return cli.command(examples[0].split()[0], cls=cls, epilog="\n".join(lines))


def print_json(value, **options) -> None:
    """Prints JSON for programs."""
    click.echo(json.dumps(value, indent=2, **options))


def settings_of(pairs, option="--set") -> dict:
    """`key=value` pairs of an option as keyword arguments; values are Python literals, else strings."""
    import ast

    settings = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise click.UsageError(f"{option} takes key=value, got {pair!r}")
        try:
            settings[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            settings[key] = text
    return settings


def open_model(source, overrides=(), weights=None, dtype=None) -> Any:
    """A model from a run folder, a saved folder, a published folder or address, or a catalogue name."""
    from kzoo import catalog
    from kzoo.catalog import configurations

    folder = pathlib.Path(source)
    is_ours = folder.is_dir() and not configurations.is_published(folder)
    context = click.get_current_context(silent=True)
    load_head = context is None or context.meta.get(LOAD_HEAD, True)
    if is_ours and (overrides or weights or not load_head):
        raise click.UsageError(
            "--set, --weights and --no-load-head are for a model of the catalogue; a folder itself says how its model "
            "is built"
        )
    if not folder.is_dir() and not source.startswith("hf://"):
        if os.sep in source:
            raise click.UsageError(f"no folder at {source}")
        catalog.find(source)
        require_weights(weights, load_head)
    import_keras()
    from kzoo import building

    if is_ours:
        return building.load(source, dtype)
    return building.build(source, weights=weights, dtype=dtype, load_head=load_head, **settings_of(overrides))


def require_weights(weights, load_head) -> None:
    """UsageError for --no-load-head with nothing to load."""
    if not load_head and not weights:
        raise click.UsageError("--no-load-head leaves the head of --weights out; pass --weights")


def load_data(name, source, model, **options) -> Any:
    """The data set named, else the one the run was trained on, else the task's default, with the run's tokenizer."""
    from kzoo import tasks
    from kzoo.data import load
    from kzoo.data.sources import table_files
    from kzoo.training import open_run

    run = open_run(source)
    name = name or run.facts.get("data", {}).get("name") or tasks.of(model).default_data
    options = {key: value for key, value in options.items() if value is not None}
    known = {key: value for key, value in run.data_choices.items() if key != "columns" or table_files.find(name)}
    return load(name, model, **{**known, **options})


def with_options(*options) -> Any:
    """A decorator that gives a command several options."""
    return lambda command: functools.reduce(lambda decorated, option: option(decorated), reversed(options), command)


def show_notes(data) -> None:
    """Prints the notes of a data set."""
    for note in data.notes:
        click.echo(note, err=True)


set_option = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of the model.")
augmentation_option = click.option("--augment-recipe", metavar="NAME", help=AUGMENTATIONS)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is at the output path.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
model_options = with_options(
    set_option,
    click.option("--weights", metavar="PATH", help="A safetensors file or saved folder to load into the model."),
    click.option(
        "--no-load-head",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, is_given: context.meta.update({LOAD_HEAD: not is_given}),
        help="Leave the classifier random, for another number of classes than --weights has.",
    ),
    click.option("--dtype", metavar="POLICY", help="Keras dtype policy, such as mixed_bfloat16."),
)
place_options = with_options(
    click.option("--data-dir", metavar="FOLDER", help="The folder of prepared data (TFDS_DATA_DIR by default)."),
    click.option("--manual-dir", metavar="FOLDER", help="The data set's files as their authors publish them."),
    click.option("--download", is_flag=True, default=None, help="Download the data set if it is not prepared."),
    click.option("--skip-bad", is_flag=True, default=None, help="Leave out files that are not images, and bad rows."),
)
data_options = with_options(
    click.option("--data", "data_name", metavar="NAME|PATH", help="A data set, a folder of class folders, a table."),
    click.option("--trim", is_flag=True, default=None, help="Cut silence from both ends of every sound."),
    click.option("--columns", metavar="NAMES", help="A table's columns, the one to learn last: text,label."),
    place_options,
    click.option("--tokenizer", metavar="KIND|PATH", help="A kind to train (see kzoo.data.load), a file or a folder."),
    click.option("--max-length", type=int, help="The most tokens of a text, or the tokens of a language model's row."),
    click.option("--whole-words", is_flag=True, default=None, help="Mask whole words, with all their tokens."),
)


@click.group(context_settings=HELP)
@click.version_option(__version__, prog_name="kzoo")
def cli():
    """kzoo: build, train, evaluate and export landmark neural networks."""


def line_of(numbers) -> str:
    """Numbers by name as one line."""
    known = {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in numbers.items()}
    return "  ".join(f"{key} {value}" for key, value in known.items())

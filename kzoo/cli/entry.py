"""The command line. Each command imports its room inside, so that help and listing stay instant."""

import json
import os
import pathlib
import sys

import click

from kzoo.version import __version__

AUGMENTATIONS = "digits (--augment), small_images, small_images_light, photos or photos_strong."
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def main():
    """Runs the command line: exit status 0 done, 1 failed, 2 bad input (one line, no traceback), 130 interrupted."""
    try:
        status = cli.main(standalone_mode=False, prog_name="kzoo")
    except click.exceptions.Abort as error:
        status = fail(str(error.__cause__ or "") or "interrupted", 130)
    except click.ClickException as error:
        status = fail(error.format_message(), 2)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("KZOO_TRACEBACK"):
            raise
        status = fail(str(error), 2)
    except ArithmeticError as error:
        status = fail(str(error), 1)
    except KeyboardInterrupt:
        status = fail("interrupted", 130)
    sys.exit(status or 0)


def fail(message, status):
    """Says in one line why the command failed; its exit status."""
    print(f"kzoo: {' '.join(str(message).split())}", file=sys.stderr)
    return status


def import_keras():
    """Imports Keras without the start-up messages that TensorFlow writes past every logging setting."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "keras" in sys.modules or os.environ.get("KZOO_TRACEBACK"):
        return
    sys.stderr.flush()
    saved, silent = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()
            tf.get_logger().setLevel("ERROR")
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(silent)


def console():
    """Standard output for tables; as wide as they need where no terminal says how wide it is."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def print_json(value):
    """Prints JSON for programs."""
    click.echo(json.dumps(value, indent=2))


def settings_of(pairs):
    """`--set key=value` pairs as keyword arguments; values are Python literals, else strings."""
    import ast

    settings = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set takes key=value, got {pair!r}")
        try:
            settings[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            settings[key] = text
    return settings


def open_model(source, overrides=(), weights=None, dtype=None):
    """A model from a run folder, a saved folder or a catalogue name."""
    from kzoo import catalog

    is_folder = pathlib.Path(source).is_dir()
    if not is_folder and os.sep in source:
        raise click.UsageError(f"no folder at {source}")
    if not is_folder:
        catalog.find(source)
    import_keras()
    from kzoo import building

    if is_folder:
        if overrides:
            raise click.UsageError(
                "--set builds a model from the catalogue; a folder says itself how its model is built"
            )
        return building.load(source, dtype)
    return building.build(source, weights=weights, dtype=dtype, **settings_of(overrides))


def load_data(name, source, model, **options):
    """The named data, else what the run was trained on, else the task's default, with the run's tokenizer."""
    from kzoo import tasks
    from kzoo.data import load
    from kzoo.training import open_run

    run = open_run(source)
    name = name or run.facts.get("data", {}).get("name") or tasks.of(model).default_data
    options = {key: value for key, value in options.items() if value is not None}
    return load(name, model, **{**run.data_choices, **options})


def with_options(*options):
    """A decorator that gives a command several options."""

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A keyword of the model's build."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
model_options = with_options(
    set_option,
    click.option("--weights", metavar="PATH", help="A safetensors file or saved folder to load into the model."),
    click.option("--dtype", metavar="POLICY", help="Keras dtype policy, such as mixed_bfloat16."),
)
data_options = with_options(
    click.option("--data", "data_name", metavar="NAME|FOLDER", help="Data set, or a folder of class folders."),
    click.option("--data-dir", metavar="FOLDER", help="Where prepared data lies (else TFDS_DATA_DIR)."),
    click.option("--manual-dir", metavar="FOLDER", help="The data set's files as their authors publish them."),
    click.option("--download", is_flag=True, default=None, help="Download the data set if it is not prepared."),
    click.option("--skip-bad", is_flag=True, default=None, help="Leave out a folder's files that are no images."),
    click.option("--tokenizer", metavar="KIND|PATH", help="Kind to train (see load), a file or a folder."),
    click.option("--max-length", type=int, help="Tokens that a text is cut to, or a language model's row has."),
    click.option("--whole-words", is_flag=True, default=None, help="Mask words with all their tokens."),
)


@click.group(context_settings=HELP)
@click.version_option(__version__, prog_name="kzoo")
def cli():
    """kzoo: build, train, evaluate and export landmark neural networks."""


def line_of(numbers):
    """Numbers by name as one line."""
    return "  ".join(
        f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in numbers.items()
    )

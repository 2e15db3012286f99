"""The command line. Each command imports its room inside, so that help and listing stay instant."""

import json
import os
import pathlib
import sys

import click

from kzoo.cli import low_rank_options as cli_lora
from kzoo.cli import pruning_options as cli_pruning
from kzoo.version import __version__

AUGMENTATIONS = "digits (--augment), small_images, small_images_light, photos or photos_strong."
HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def main():
    """Runs the command line: exit status 0 done, 1 failed, 2 bad input (one line, no traceback), 130 interrupted."""
    try:
        status = cli.main(standalone_mode=False, prog_name="kzoo")
    except click.exceptions.Abort as error:
        status = _fail(str(error.__cause__ or "") or "interrupted", 130)
    except click.ClickException as error:
        status = _fail(error.format_message(), 2)
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("KZOO_TRACEBACK"):
            raise
        status = _fail(str(error), 2)
    except ArithmeticError as error:
        status = _fail(str(error), 1)
    except KeyboardInterrupt:
        status = _fail("interrupted", 130)
    sys.exit(status or 0)


def _fail(message, status):
    print(f"kzoo: {' '.join(str(message).split())}", file=sys.stderr)
    return status


def _keras():
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


def _console():
    """Standard output for tables; as wide as they need where no terminal says how wide it is."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _print_json(value):
    click.echo(json.dumps(value, indent=2))


def _settings(pairs):
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


def _open(source, overrides=(), weights=None, dtype=None):
    """A model from a run folder, a saved folder or a catalogue name."""
    from kzoo import catalog

    is_folder = pathlib.Path(source).is_dir()
    if not is_folder and os.sep in source:
        raise click.UsageError(f"no folder at {source}")
    if not is_folder:
        catalog.find(source)
    _keras()
    from kzoo import building

    if is_folder:
        if overrides:
            raise click.UsageError(
                "--set builds a model from the catalogue; a folder says itself how its model is built"
            )
        return building.load(source, dtype)
    return building.build(source, weights=weights, dtype=dtype, **_settings(overrides))


def _load_data(name, source, model, **options):
    """The named data, else what the run was trained on, else the task's default, with the run's tokenizer."""
    from kzoo import tasks
    from kzoo.data import load

    folder = pathlib.Path(source)
    options = {key: value for key, value in options.items() if value is not None}
    if (folder / "run.json").is_file():
        then = json.loads((folder / "run.json").read_text(encoding="utf-8"))["data"]
        name = name or then["name"]
        for key in ("max_length", "whole_words"):
            if then.get(key):
                options.setdefault(key, then[key])
    if (folder / "tokenizer.json").is_file():
        options["tokenizer"] = folder / "tokenizer.json"
    return load(name or tasks.of(model).default_data, model, **options)


def _options(*options):
    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


set_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A keyword of the model's build."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
model_options = _options(
    set_option,
    click.option("--weights", metavar="PATH", help="A safetensors file or saved folder to load into the model."),
    click.option("--dtype", metavar="POLICY", help="Keras dtype policy, such as mixed_bfloat16."),
)
data_options = _options(
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


@cli.command("list")
@click.argument("pattern", default="*")
@click.option("--task", help="Only models for this task.")
@click.option("--max-params", type=float, help="Only models with at most so many parameters, such as 1e6.")
@json_option
def list_command(pattern, task, max_params, as_json):
    """List the models of the catalogue.

    PATTERN is a shell-style pattern of names; an architecture lists its variants.
    """
    from kzoo import catalog

    names = catalog.list_models(pattern, task, max_params)
    figures = catalog.figures()
    entries = [catalog.find(name) for name in names]
    if as_json:
        rows = [
            {
                "name": e.name,
                "architecture": e.architecture,
                "task": e.task,
                "summary": e.summary,
                **figures.get(e.name, {}),
            }
            for e in entries
        ]
        return _print_json(rows)
    if not names:
        raise click.UsageError(f"no model matches {pattern!r}; kzoo list shows all")
    from rich.table import Table

    from kzoo.cli.tables import short

    table = Table(box=None, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("MACs", justify="right", no_wrap=True)
    table.add_column("task", no_wrap=True)
    table.add_column("what it is", no_wrap=True, overflow="ellipsis")
    for entry in entries:
        numbers = figures.get(entry.name, {})
        table.add_row(
            entry.name, f"{numbers.get('parameters', 0):,}", short(numbers.get("macs", 0)), entry.task, entry.summary
        )
    return _console().print(table)


@cli.command()
@click.argument("name")
@set_option
@click.option("--length", type=int, default=128, show_default=True, help="Sequence length to count at.")
@click.option("--layers", is_flag=True, help="Also a row for every layer and operation.")
@json_option
def info(name, overrides, length, layers, as_json):
    """Show what a model is and what it costs."""
    from kzoo import catalog
    from kzoo.cli.tables import show

    catalog.find(name)
    _keras()
    from kzoo import measure

    facts = measure.info(name, length, layers, **_settings(overrides))
    return _print_json(facts) if as_json else show(_console(), facts)


recipe_options = _options(
    click.option("--epochs", type=int, help="Passes over the training data."),
    click.option("--batch-size", type=int, help="Examples a step."),
    click.option("--optimizer", help="adam, adamw or sgd."),
    click.option("--learning-rate", type=float, help="Rate, or scale of the transformer schedule."),
    click.option("--momentum", type=float, help="Of sgd."),
    click.option("--beta-2", type=float, help="Of adam and adamw."),
    click.option("--epsilon", type=float, help="Of adam and adamw."),
    click.option("--weight-decay", type=float, help="Decoupled weight decay."),
    click.option("--decay-vectors/--no-decay-vectors", default=None, help="Decay biases and normalization too."),
    click.option("--schedule", help="constant, cosine or transformer."),
    click.option("--warmup-steps", type=int, help="Steps of linear warm-up."),
    click.option("--label-smoothing", type=float, help="Share of the target spread over all classes."),
    click.option("--clip-norm", type=float, help="Largest global norm of the gradient."),
    click.option("--early-stopping", type=int, metavar="EPOCHS", help="Stop so long after the best validation loss."),
    click.option("--augment/--no-augment", default=None, help="Change training inputs at random, anew every epoch."),
    click.option("--train-from", metavar="STAGE", help="Freeze what comes before this layer or stage."),
    click.option("--augment-recipe", metavar="NAME", help=AUGMENTATIONS),
    click.option("--seed", type=int, help="Of weights, order, augmentation and dropout."),
    click.option("--backup-steps", type=int, help="Back up every so many steps as well as every epoch."),
    click.option("--steps-per-execution", type=int, help="Steps between two returns to Python."),
    click.option("--jit-compile/--no-jit-compile", default=None, help="Compile steps with XLA or not."),
    click.option("--fuse/--no-fuse", default=None, help="Batch norm and Adam in one operation each or not."),
    click.option("--deterministic/--no-deterministic", default=None, help="Only operations that repeat bit for bit."),
    click.option("--tensorboard/--no-tensorboard", default=None, help="Write TensorBoard events."),
)


def _newest_run():
    """The folder in `runs` whose run was backed up last."""
    runs = sorted(pathlib.Path("runs").glob("*/run.json"), key=lambda path: path.parent.stat().st_mtime)
    if not runs:
        raise click.UsageError("no run to resume in runs; give --run-folder FOLDER")
    return runs[-1].parent


@cli.command()
@click.argument("name", required=False)
@model_options
@data_options
@recipe_options
@_options(*cli_pruning.OPTIONS, *cli_lora.OPTIONS)
@click.option("--run-folder", metavar="FOLDER", help="Where the run is kept (runs/NAME by default).")
@click.option("--resume", is_flag=True, help="Continue the run in the run folder from its last backup.")
@click.option("--overwrite", is_flag=True, help="Start again in a run folder that holds a run, deleting it.")
@click.option("--force", is_flag=True, help="Resume although epochs, learning rate or versions differ.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def train(name, overrides, weights, dtype, data_name, run_folder, resume, overwrite, force, quiet, **options):
    """Train a model by its task's recipe.

    With --resume, NAME and options may be left out: the run folder knows them.
    """
    from kzoo import catalog
    from kzoo.support import atomic

    low_rank, rewrites = cli_lora.take(options), ()
    options = {key: value for key, value in options.items() if value is not None}
    cli_pruning.parse(options, resume)
    if "augment_recipe" in options:
        options["augment"] = options.pop("augment_recipe")
    data_keys = ("data_dir", "manual_dir", "download", "skip_bad", "tokenizer", "max_length", "whole_words")
    data_choices = {key: options.pop(key) for key in data_keys if key in options}
    settings = _settings(overrides)
    if name is None and resume and run_folder is None:
        run_folder = _newest_run()
        click.echo(f"resuming {run_folder}, the newest run", err=True)
    if name is None and run_folder is None:
        raise click.UsageError("name the model to train, or pass --resume to go on with a run")
    folder = pathlib.Path(run_folder or f"runs/{name}")
    if resume and (folder / "run.json").is_file():
        then = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        name = name or then["model"]["name"]
        settings = settings or then["model"]["overrides"]
        dtype = dtype or then["model"].get("dtype")
        rewrites = () if low_rank else then["model"].get("rewrites", ())
        data_name = data_name or then["data"]["name"]
        options = {**then["recipe"], **options}
        if (folder / "tokenizer.json").is_file():
            data_choices.setdefault("tokenizer", folder / "tokenizer.json")
        for key in ("skip_bad", "max_length", "whole_words"):
            if then["data"].get(key):
                data_choices.setdefault(key, then["data"][key])
    elif resume and run_folder and name is None:
        raise click.UsageError(f"no run to resume in {folder}")
    entry = catalog.find(name)
    if not resume and not overwrite:
        atomic.refuse_occupied(folder)
    _keras()
    import keras

    from kzoo import building, tasks
    from kzoo.data import load
    from kzoo.training import fit
    from kzoo.training.recipe import make_recipe

    recipe = make_recipe(tasks.find(entry.task_of(settings), name).recipe, options)
    keras.utils.set_random_seed(recipe.seed)
    made_by = cli_pruning.rewrites_beside(weights)
    model = building.build(name, weights=weights, dtype=dtype, rewrites=made_by, **{
        key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})  # fmt: skip
    model = cli_lora.adapt(model, low_rank, rewrites[len(made_by) :])
    data = load(
        data_name or tasks.of(model).default_data, model,
        batch_size=recipe.batch_size, seed=recipe.seed, augment=recipe.augment, **data_choices,
    )  # fmt: skip
    for note in data.notes:
        click.echo(note, err=True)
    run = fit(model, data, folder, resume=resume, overwrite=overwrite, force=force, progress=not quiet, **options)
    click.echo(run.message)
    click.echo(f"steps: {run.execution}")
    cli_pruning.show(run.sparsity)
    if data.test is not None:
        numbers = tasks.evaluate(model, data)
        click.echo(f"test: {_line(numbers)}")
    click.echo(f"weights, history, curves and backup are in {run.folder}")
    click.echo(f"next: kzoo export {run.folder} exports/{model.name}")


def _line(numbers):
    return "  ".join(
        f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in numbers.items()
    )


@cli.command()
@click.argument("source")
@model_options
@data_options
@click.option("--split", default="test", show_default=True, help="train, validation or test.")
@click.option("--batch-size", type=int, default=64, show_default=True)
@json_option
def evaluate(source, overrides, weights, dtype, data_name, split, as_json, **options):
    """Evaluate a model on a split of a data set.

    SOURCE is a run folder, a saved folder or a catalogue name.
    """
    model = _open(source, overrides, weights, dtype)
    from kzoo import tasks

    data = _load_data(data_name, source, model, **options)
    numbers = {"model": model.kzoo.name, "data": data.name, "split": split, **tasks.evaluate(model, data, split)}
    if as_json:
        _print_json(numbers)
    else:
        click.echo(_line(numbers))


@cli.command()
@click.argument("source")
@click.argument("files", nargs=-1)
@model_options
@data_options
@click.option("--split", default="test", show_default=True, help="Which split of --data to read.")
@click.option("--limit", type=click.IntRange(1), default=5, show_default=True, help="How many examples of --data.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="How many classes to name.")
@click.option("--draw", metavar="FILE.png", help="Draw what a detector finds into this file.")
@json_option
def predict(source, files, overrides, weights, dtype, data_name, split, limit, top, draw, as_json, **options):
    """Predict for files or for examples of a data set.

    SOURCE is a run folder, a saved folder or a catalogue name; FILES are images or .npy arrays of examples. A model of
    text takes texts, or files of one text a line, in their place.
    """
    model = _open(source, overrides, weights, dtype)
    from kzoo.tasks import predictions
    from kzoo.tasks.detection import findings

    if draw and model.kzoo.task != predictions.DETECTION:
        raise click.UsageError(f"--draw draws boxes of a detector; {model.kzoo.name} is for {model.kzoo.task}")
    if files and model.kzoo.task in predictions.TEXT_TASKS:
        tokenizer, texts = options["tokenizer"] or source, predictions.read_lines(files)
        from kzoo.data import Tokenizer

        rows = predictions.for_texts(model, texts, Tokenizer.load(tokenizer), model.kzoo.class_names, top)
    elif files:
        rows = predictions.for_files(model, files, model.kzoo.class_names, top)
    else:
        data = _load_data(data_name, source, model, batch_size=limit, **options)
        rows = predictions.for_data(model, data, split, limit, top)
    if draw:
        images = [findings.read(path) for path in files] or findings.pictures(data, split, limit)
        findings.draw(draw, images, rows)
        click.echo(f"wrote {draw}", err=True)
    if as_json:
        return _print_json(rows)
    for row in rows:
        click.echo(predictions.line(row))
    return None


@cli.command()
@click.argument("source")
@click.argument("path")
@model_options
@click.option("--format", "format_name", default="saved_model", help="saved_model (default), litert, onnx, openvino.")
@click.option("--precision", default="float32", show_default=True, help="float32, bfloat16, int8 or int8_weights.")
@click.option("--calibration", metavar="DATA", help="Data set whose examples show int8 the ranges of activations.")
@click.option("--ranges", help="How int8 finds them: min_max, mean_min_max, percentile or mse.")
@click.option("--with-preprocessing", is_flag=True, help="Take uint8 images of the model's size, normalised inside.")
@click.option("--data", "data_name", metavar="DATA", help="Compare accuracy before and after on this data set.")
@click.option("--length", type=click.IntRange(1), help="Fix sequences to so many steps; LiteRT wants it.")
@click.option("--overwrite", is_flag=True, help="Replace what stands at PATH.")
@json_option
def export(source, path, overrides, weights, dtype, format_name, calibration, data_name, overwrite, as_json, **how):
    """Export a model and prove the export equal to it.

    SOURCE is a run folder, a saved folder or a catalogue name; PATH is the folder to create. A SavedModel also takes
    images of any size, and language models generate there; the other formats have no form for that loop.
    """
    from kzoo.support import atomic

    atomic.refuse_occupied(path, overwrite)
    model = _open(source, overrides, weights, dtype)
    from kzoo.exporting.saved_model import export as write

    calibration = _load_data(calibration, source, model) if calibration else None
    data = _load_data(data_name, source, model) if data_name else None
    report = write(model, path, format_name, overwrite, calibration=calibration, data=data, **how)
    if as_json:
        return _print_json(report)
    click.echo(f"wrote {report['path']} ({report['bytes']:,} bytes, signatures {', '.join(report['signatures'])})")
    return click.echo(
        f"reloaded and compared at batch sizes {report['batch_sizes']}: largest difference "
        f"{report['max_difference']:.2g} on outputs up to {report['scale']:.2g}"
        + (f"; int8 covers {100 * report['int8_coverage']:.0f} % of MACs" if report.get("int8_coverage") else "")
        + ("; accuracy {before:.4f} before, {after:.4f} after".format(**report["accuracy"]) if data else "")
    )


@cli.command("show-data")
@click.argument("name")
@click.argument("path", metavar="OUTPUT.png")
@click.option("--model", "model_name", metavar="MODEL", help="Fit the images to this model; else their own size.")
@set_option
@click.option("--augment", is_flag=True, help="The default augmentation of kzoo train.")
@click.option("--augment-recipe", metavar="NAME", help=AUGMENTATIONS)
@click.option("--epochs", type=click.IntRange(1), default=2, show_default=True, help="How many epochs to show.")
@click.option("--count", type=click.IntRange(1), default=8, show_default=True, help="How many examples to show.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of order and augmentation.")
@click.option("--data-dir", metavar="FOLDER", help="Where prepared data lies (else TFDS_DATA_DIR).")
@click.option("--manual-dir", metavar="FOLDER", help="The data set's files as their authors publish them.")
@click.option("--download", is_flag=True, help="Download the data set if it is not prepared.")
@click.option("--skip-bad", is_flag=True, help="Leave out a folder's files that are no images.")
def show_data(name, path, model_name, overrides, augment, augment_recipe, epochs, count, seed, skip_bad, **places):
    """Draw training images before and after augmentation, one row an example, as a PNG.

    NAME is a data set or a folder of class folders of images.
    """
    from kzoo import catalog

    if overrides and not model_name:
        raise click.UsageError("--set builds a model; name it with --model")
    if model_name:
        catalog.find(model_name)
    _keras()
    from kzoo import building
    from kzoo.data import load, sheet

    model = building.build(model_name, **_settings(overrides)) if model_name else sheet.canvas(name, **places)
    data = load(name, model, seed=seed, augment=augment_recipe or augment, skip_bad=skip_bad, **places)
    for note in data.notes:
        click.echo(note, err=True)
    sheet.draw(path, data, epochs, count)
    click.echo(f"wrote {path}")

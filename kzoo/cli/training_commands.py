"""The command that trains."""

import functools
import shlex

import click

from kzoo.cli import entry, low_rank_options, pruning_options

DATA_KEYS = (
    "data_dir",
    "manual_dir",
    "download",
    "skip_bad",
    "tokenizer",
    "max_length",
    "whole_words",
    "columns",
    "trim",
)

recipe_options = entry.with_options(
    click.option("--epochs", type=int, help="Passes over the training data."),
    click.option("--batch-size", type=int, help="Examples per step."),
    click.option("--optimizer", help="adam, adamw or sgd."),
    click.option("--learning-rate", type=float, help="The rate, or the scale of the transformer schedule."),
    click.option("--momentum", type=float, help="Of sgd."),
    click.option("--beta-1", type=float, help="Of adam and adamw."),
    click.option("--beta-2", type=float, help="Of adam and adamw."),
    click.option("--epsilon", type=float, help="Of adam and adamw."),
    click.option("--weight-decay", type=float, help="Decoupled weight decay."),
    click.option("--decay-vectors/--no-decay-vectors", default=None, help="Decay biases and normalization too."),
    click.option("--schedule", help="constant, cosine or transformer."),
    click.option("--warmup-steps", type=int, help="Steps of linear warm-up."),
    click.option("--label-smoothing", type=float, help="The share of the target spread over all classes."),
    click.option("--clip-norm", type=float, help="The largest global norm of the gradient."),
    click.option("--ema", type=float, metavar="SHARE", help="Keep moving averages of the weights, such as 0.999."),
    click.option("--early-stopping", type=int, metavar="EPOCHS", help="Epochs to wait for a better validation loss."),
    click.option("--augment/--no-augment", default=None, help="Change training inputs at random, anew every epoch."),
    click.option("--train-from", metavar="STAGE", help="Freeze everything before this layer or stage."),
    entry.augmentation_option,
    click.option("--seed", type=int, help="Of weights, order, augmentation and dropout."),
    click.option("--backup-steps", type=int, help="Back up after this many steps as well as after every epoch."),
    click.option("--steps-per-execution", type=int, help="Steps between two returns to Python."),
    click.option("--jit-compile/--no-jit-compile", default=None, help="Compile steps with XLA or not."),
    click.option("--fuse/--no-fuse", default=None, help="Run batch norm and Adam as one operation each or not."),
    click.option("--deterministic/--no-deterministic", default=None, help="Use operations that repeat bit for bit."),
    click.option("--tensorboard/--no-tensorboard", default=None, help="Write TensorBoard events."),
)


@entry.command("train mnist_cnn --epochs 5", "train resnet50 --data photos/", "train --resume")
@click.argument("name", required=False)
@entry.model_options
@entry.data_options
@recipe_options
@entry.with_options(*pruning_options.OPTIONS, *low_rank_options.OPTIONS)
@click.option("--loss", help="In place of the task's; of a GAN non_saturating, saturating, hinge or wgan_gp.")
@click.option("--run-folder", metavar="FOLDER", help="The folder of the run (runs/NAME by default).")
@click.option("--resume", is_flag=True, help="Continue the run in the run folder from its last backup.")
@click.option("--overwrite", is_flag=True, help="Delete the run in the run folder and start again.")
@click.option("--force", is_flag=True, help="Resume although epochs, learning rate or versions differ.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def train(name, overrides, weights, dtype, data_name, loss, run_folder, resume, overwrite, force, quiet, **options):
    """Train a model by its task's recipe.

    With --resume, NAME and options may be left out: the run folder knows them. An option that is left out is what the
    recipe of the model's task says, which kzoo info NAME shows.
    """
    from kzoo import catalog
    from kzoo.support import atomic

    low_rank = low_rank_options.take(options)
    choices = {key: value for key, value in options.items() if value is not None}
    pruning_options.parse(choices, resume)
    if "augment_recipe" in choices:
        choices["augment"] = choices.pop("augment_recipe")
    how = {key: choices.pop(key) for key in DATA_KEYS if key in choices}
    asked = {"name": name, "overrides": entry.settings_of(overrides), "dtype": dtype, "data": data_name}
    if name is None and run_folder is None and not resume:
        raise click.UsageError("name the model to train, or pass --resume to continue a run")
    if name is not None and not resume:
        catalog.find(name)
    if not resume:
        entry.require_weights(weights, click.get_current_context().meta[entry.LOAD_HEAD])
    if not resume and not overwrite:
        atomic.refuse_occupied(run_folder or f"runs/{name}")
    entry.import_keras()
    from kzoo import tasks
    from kzoo.training import fit, open_run
    from kzoo.training.recipe import make_recipe

    run = open_run(_newest() if name is None and run_folder is None else run_folder or f"runs/{name}")
    model = run.adopted_model() if resume and run.facts else None
    if model is not None and (name not in (None, model.kzoo.name) or overrides or weights or dtype or low_rank):
        raise click.UsageError(f"{run.path} holds {model.kzoo.name} as it is; leave out what says how to build a model")
    if resume and run.facts:
        asked, choices, how = run.resumed(asked, choices, how)
        loss = loss or run.facts.get("loss")
    elif asked["name"] is None:
        raise click.UsageError(f"no run to resume in {run.path}")
    if model is None:
        name = asked["name"]
        task = tasks.find(catalog.find(name).task_of(asked["overrides"]), name)
        task.check_trains(name)
        recipe = make_recipe(tasks.recipe_of(name, asked["overrides"]), choices)
        model, data = _prepared(asked, how, weights, low_rank, recipe, resume)
    else:
        data = _loaded(model, asked, make_recipe(tasks.of(model).recipe, choices), how)
    entry.show_notes(data)
    how_to_run = {"resume": resume, "overwrite": overwrite, "force": force, "progress": not quiet}
    done = fit(model, data, run.path, loss=loss, **how_to_run, **choices)
    click.echo(done.message)
    click.echo(f"steps: {done.execution}")
    pruning_options.show(done.sparsity)
    if data.test is not None:
        click.echo(f"test: {entry.line_of(tasks.evaluate(model, data))}")
    click.echo(f"weights, history, curves and backup are in {done.folder}")
    click.echo(f"next: kzoo export {shlex.quote(str(done.folder))} {shlex.quote(f'exports/{model.name}')}")


def _prepared(asked, how, weights, low_rank, recipe, resume) -> tuple:
    """The model that a command asks for, and its data.

    The vocabulary of a new one follows the tokenizer, and the number of its classes the data, unless they are set; a
    head of --weights for other classes is left out.
    """
    import keras

    from kzoo import building, catalog
    from kzoo.data import Tokenizer, vocabulary_size
    from kzoo.data.tokenizing.tokenizers import KINDS

    load_head = click.get_current_context().meta[entry.LOAD_HEAD]
    name, sizes, made_by = asked["name"], asked["overrides"], pruning_options.rewrites_beside(weights)

    def prepare():
        keras.utils.set_random_seed(recipe.seed)
        built = {"weights": weights, "load_head": load_head, "dtype": asked["dtype"], "rewrites": made_by}
        model = building.build(name, **built, **sizes)
        model = low_rank_options.adapt(model, low_rank, [] if low_rank else asked.get("rewrites", [])[len(made_by) :])
        return model, _loaded(model, asked, recipe, how)

    def fit_vocabulary(tokenizer):
        how["tokenizer"], sizes["vocabulary_size"] = tokenizer, tokenizer.vocabulary_size
        click.echo(f"vocabulary_size={tokenizer.vocabulary_size}, as many tokens as the tokenizer has", err=True)

    settings = catalog.arguments_of(catalog.find(name), sizes)
    is_new = not (resume or weights)
    if not resume and "num_classes" in settings and "num_classes" not in sizes:
        load_head = _fit_classes(asked, how, weights if load_head else None) and load_head
    is_open = "vocabulary_size" in settings and "vocabulary_size" not in sizes
    if is_new and is_open and how.get("tokenizer", KINDS[0]) not in KINDS:
        fit_vocabulary(Tokenizer.load(how["tokenizer"]))
        is_open = False
    model, data = prepare()
    if is_new and is_open and data.tokenizer and data.tokenizer.vocabulary_size < vocabulary_size(model):
        fit_vocabulary(data.tokenizer)
        model, data = prepare()
    return model, data


def _loaded(model, asked, recipe, how):
    from kzoo import tasks
    from kzoo.data import load

    options = {"batch_size": recipe.batch_size, "seed": recipe.seed, "augment": recipe.augment, **how}
    return load(asked["data"] or tasks.of(model).default_data, model, **options)


def _fit_classes(asked, how, weights) -> bool:
    """Sets `num_classes` to what the data hold, where that differs from what the model would have.

    Returns False where weights have a head of other sizes then.
    """
    from kzoo import building, tasks
    from kzoo.measure import without_weights
    from kzoo.tasks.feeding.loading import width_of
    from kzoo.weights.checkpoint import has_other_head

    def shapes():
        return without_weights(functools.partial(building.build, asked["name"], **sizes))

    sizes = asked["overrides"]
    model = shapes()
    count = width_of(asked["data"] or tasks.of(model).default_data, model, **how)
    if count is not None and count != tasks.of(model).num_results(model):
        sizes["num_classes"] = count
        click.echo(f"num_classes={count}, as many as the data hold", err=True)
    if count is None or not weights or not has_other_head(shapes(), weights):
        return True
    click.echo(f"the head of {weights} is for other classes and is left out; the model's is new", err=True)
    return False


def _newest():
    """The folder of the newest run, which is printed to standard error."""
    from kzoo.training import newest_run

    run = newest_run()
    if run is None:
        raise click.UsageError("no run to resume in runs; give --run-folder FOLDER")
    click.echo(f"resuming {run.path}, the newest run", err=True)
    return run.path

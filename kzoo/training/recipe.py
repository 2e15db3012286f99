"""How a model is trained: every choice with its default, all checked before anything runs."""

import dataclasses
import logging
import math

import keras
from keras import ops

from kzoo.support.suggest import did_you_mean
from kzoo.training.pruning import parse_pattern

OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}
CHOICES = {"optimizer": tuple(OPTIMIZERS), "schedule": ("constant", "cosine", "transformer")}


@keras.saving.register_keras_serializable("kzoo")
class TransformerSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then decay with the inverse square root of the step (Vaswani et al. 2017, equation 3).

    rate = scale * hidden_dim^-0.5 * min(step^-0.5, step * warmup_steps^-1.5), with steps counted from 1.
    """

    def __init__(self, hidden_dim, warmup_steps=4000, scale=1.0):
        self.hidden_dim, self.warmup_steps, self.scale = hidden_dim, warmup_steps, scale

    def __call__(self, step):
        step = ops.cast(step, "float32") + 1.0
        return self.scale * self.hidden_dim**-0.5 * ops.minimum(step**-0.5, step * self.warmup_steps**-1.5)

    def get_config(self) -> dict:
        return {"hidden_dim": self.hidden_dim, "warmup_steps": self.warmup_steps, "scale": self.scale}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The choices of a training run; the `recipe` of a task sets the defaults that differ from these.

    Raises TypeError or ValueError that names the field, what was passed and what is wanted.

    epochs, batch_size: passes over the training data, and examples in a step.
    optimizer, learning_rate, momentum, beta_1, beta_2, epsilon, weight_decay: "adam", "adamw" or "sgd", its constants.
    decay_vectors: whether weight decay also applies to biases and normalization; it always applies to matrices.
    schedule, warmup_steps: "constant", "cosine" to zero over the run, or "transformer"; steps of linear warm-up.
    label_smoothing: share of the target that is spread over all classes.
    clip_norm: largest global norm of the gradient, or None.
    ema: share of the moving average of the weights that stays in a step, such as 0.999, or None for no average. The
        averages are the weights that a run keeps; losses and metrics while it trains are of the weights themselves.
    early_stopping: stop after this many epochs without a lower validation loss and keep the best epoch's weights.
    train_from: name of a layer or stage; the weights before it, and the statistics of batch norms there, stay as is.
    augment: random changes to the training inputs, new in every epoch: True, False or a name in `kzoo.data.RECIPES`.
    prune: share of each kernel's weights to make zero, such as 0.8, or "N:M" such as "2:4": only the N largest of every
        M weights along the inputs stay. See `kzoo.training.pruning`.
    prune_begin, prune_end: between which shares of the run's steps weights become zero; the others then train on.
    prune_every: steps between two updates of the masks; None makes about 20 updates, at most 100 steps apart.
    seed: of order and augmentation; `kzoo train` also builds the model with it, so that weights and dropout repeat.
    backup_steps: also save the full state whenever this many steps are done; it is always saved after an epoch.
    steps_per_execution: steps that run between two returns to Python; None chooses by the model's size.
    jit_compile: compile the step with XLA; None chooses what measures faster, see `kzoo.training.execution`.
    fuse: train batch norm and Adam in one TensorFlow operation each; None chooses what measures faster.
    deterministic: let TensorFlow use only operations that give the same bits twice (in the whole process).
    tensorboard: write event files into the run folder.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    decay_vectors: bool = True
    schedule: str = "constant"
    warmup_steps: int = 0
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None
    early_stopping: int | None = None
    augment: bool | str = False
    train_from: str | None = None
    prune: float | str | None = None
    prune_begin: float = 0.0
    prune_end: float = 0.75
    prune_every: int | None = None
    seed: int = 0
    backup_steps: int | None = None
    steps_per_execution: int | None = None
    jit_compile: bool | None = None
    fuse: bool | None = None
    deterministic: bool = True
    tensorboard: bool = True

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name), field.type)
        if self.schedule == "transformer" and self.warmup_steps < 1:
            raise ValueError(f"warmup_steps must be at least 1 for schedule='transformer', got {self.warmup_steps}")
        if self.ema and self.prune:
            raise ValueError(f"ema={self.ema!r} would average weights that prune={self.prune!r} makes zero; pass one")
        if self.prune_begin > self.prune_end:
            raise ValueError(f"prune_begin must be at most prune_end, got {self.prune_begin} and {self.prune_end}")


# what a number must be: (a test of that, the fields that must be so)
BOUNDS = {
    "at least 1": (lambda value: value >= 1, (
        "epochs", "batch_size", "early_stopping", "backup_steps", "steps_per_execution", "prune_every")),
    "at least 0": (lambda value: value >= 0, ("weight_decay", "warmup_steps")),
    f"at least 0 and at most {2**31 - 1}": (lambda value: 0 <= value < 2**31, ("seed",)),
    "at least 0 and at most 1": (lambda value: 0 <= value <= 1, ("prune_begin", "prune_end")),
    "from 0 up to but not including 1": (lambda value: 0 <= value < 1, (
        "momentum", "beta_1", "beta_2", "label_smoothing")),
    "a finite number above 0": (lambda value: value > 0, ("learning_rate", "epsilon", "clip_norm")),
    "a share above 0 and below 1": (lambda value: 0 < value < 1, ("prune", "ema")),
}  # fmt: skip


def _check(name, value, kind):
    if value is None and "None" in str(kind):
        return
    if name == "train_from":
        if not isinstance(value, str):
            raise TypeError(f"train_from must be the name of a layer or stage, got {value!r}")
    elif name == "augment" and isinstance(value, str):
        from kzoo.data import RECIPES  # which imports TensorFlow

        if value not in RECIPES:
            raise ValueError(f"augment must be True, False or one of {', '.join(RECIPES)}, got {value!r}")
    elif kind in (bool, bool | str, bool | None):
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    elif name in CHOICES:
        if value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, got {value!r}")
    elif name == "prune" and isinstance(value, str):
        parse_pattern(value)
    else:
        _check_number(name, value, "int" in str(kind))


def _check_number(name, value, whole):
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        wanted = "a number" if isinstance(value, bool) or not whole else "an int"
        wanted = "a share such as 0.8 or a pattern such as '2:4'" if name == "prune" else wanted
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    bounds, is_good = next((bounds, is_good) for bounds, (is_good, names) in BOUNDS.items() if name in names)
    if not is_good(value) or not math.isfinite(value):
        raise ValueError(f"{name} must be {bounds}, got {value!r}")


def make_recipe(defaults, choices) -> Recipe:
    """A task's default recipe with a user's choices; TypeError for an unknown one, ValueError for a bad value."""
    known = [field.name for field in dataclasses.fields(Recipe)]
    for name in choices:
        if name not in known:
            raise TypeError(f"{did_you_mean('training option', name, known)} (all: {', '.join(known)})")
    return Recipe(**{**defaults, **choices})


def with_short_warmup(recipe, choices, num_steps) -> Recipe:
    """The recipe with a warm-up of a tenth of a run that it would take the greater half of, unless it was chosen.

    The highest rate of the transformer schedule hangs on the warm-up; it stays what it was, unless the learning rate
    was chosen. What is shortened is logged.

    Args:
        choices: the fields that a user chose.
        num_steps: the steps of the run.
    """
    long, is_transformer = recipe.warmup_steps, recipe.schedule == "transformer"
    if "warmup_steps" in choices or 2 * long <= num_steps:
        return recipe
    short = max(num_steps // 10, 1 if is_transformer else 0)
    changes, told = {"warmup_steps": short}, ""
    if is_transformer and "learning_rate" not in choices:
        changes["learning_rate"] = recipe.learning_rate * math.sqrt(short / long)
        told = ", at the same highest rate"
    logging.getLogger("kzoo").warning(
        f"the run has {num_steps:,} steps, so the warm-up takes {short:,} of them and not {long:,}{told}; "
        "warmup_steps= (--warmup-steps) chooses another"
    )
    return dataclasses.replace(recipe, **changes)


def make_optimizer(recipe, model, num_steps) -> keras.Optimizer:
    """A fresh Keras optimizer for a run of `num_steps` steps.

    Raises ValueError for a warm-up as long as the run, and for the Transformer's schedule without a token embedding.
    """
    rate, warmup_steps, is_cosine = recipe.learning_rate, recipe.warmup_steps, recipe.schedule == "cosine"
    if is_cosine and warmup_steps >= num_steps:
        raise ValueError(f"warmup_steps {warmup_steps} leaves nothing of the {num_steps} steps to the cosine")
    if recipe.schedule == "transformer":
        widths = [layer.output_dim for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
        if not widths:
            raise ValueError(f"schedule='transformer' needs a model with a token embedding; {model.name} has none")
        rate = TransformerSchedule(widths[0], warmup_steps, rate)
    elif is_cosine or warmup_steps:
        start, target = (0.0, rate) if warmup_steps else (rate, None)
        decay_steps, lowest = max(1, num_steps - warmup_steps), 0.0 if is_cosine else 1.0
        rate = keras.optimizers.schedules.CosineDecay(
            start, decay_steps, alpha=lowest, warmup_target=target, warmup_steps=warmup_steps
        )
    constants = ("momentum",) if recipe.optimizer == "sgd" else ("beta_1", "beta_2", "epsilon")
    decays = recipe.weight_decay or recipe.optimizer == "adamw"  # which takes no None
    optimizer = OPTIMIZERS[recipe.optimizer](
        rate,
        global_clipnorm=recipe.clip_norm,
        weight_decay=float(recipe.weight_decay) if decays else None,
        use_ema=recipe.ema is not None,
        ema_momentum=recipe.ema or 0.99,
        **{name: getattr(recipe, name) for name in constants},
    )
    if not recipe.decay_vectors:
        optimizer.exclude_from_weight_decay([weight for weight in model.trainable_variables if len(weight.shape) < 2])
    return optimizer

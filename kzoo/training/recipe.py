"""How a model is trained: every choice with its default, checked before anything runs."""

import dataclasses
import math

import keras
from keras import ops

from kzoo.support.suggest import did_you_mean
from kzoo.training.pruning import parse_pattern

OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}
SCHEDULES = ("constant", "cosine", "transformer")


@keras.saving.register_keras_serializable("kzoo")
class TransformerSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then decay with the inverse square root of the step (Vaswani et al. 2017, equation 3).

    rate = scale * hidden_dim^-0.5 * min(step^-0.5, step * warmup_steps^-1.5), with steps counted from 1.
    """

    def __init__(self, hidden_dim, warmup_steps=4000, scale=1.0):
        self.hidden_dim = hidden_dim
        self.warmup_steps = warmup_steps
        self.scale = scale

    def __call__(self, step):
        step = ops.cast(step, "float32") + 1.0
        return self.scale * self.hidden_dim**-0.5 * ops.minimum(step**-0.5, step * self.warmup_steps**-1.5)

    def get_config(self):
        return {"hidden_dim": self.hidden_dim, "warmup_steps": self.warmup_steps, "scale": self.scale}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The choices of a training run; a task's row in `kzoo.tasks` sets the defaults that differ from these.

    epochs, batch_size: passes over the training data, examples a step.
    optimizer, learning_rate, momentum, beta_2, epsilon, weight_decay: "adam", "adamw" or "sgd" and its constants.
    decay_vectors: whether the weight decay also holds for biases and normalization; matrices always have it.
    schedule, warmup_steps: "constant", "cosine" to zero over the run, or "transformer"; linear warm-up in steps.
    label_smoothing: share of the target spread over all classes.
    clip_norm: largest global norm of the gradient, or None.
    early_stopping: stop after so many epochs without a lower validation loss and keep the best epoch's weights.
    train_from: name of a layer or stage; what comes before it keeps its weights, batch norms their statistics.
    augment: random changes to the training inputs, new in every epoch: True, False or a name of `kzoo.data.RECIPES`.
    prune: share of each kernel's weights to make zero, such as 0.8, or "N:M" such as "2:4": only the N largest of every
        M weights along the inputs stay. See `kzoo.training.pruning`.
    prune_begin, prune_end: between which shares of the run's steps weights become zero; then those left train on.
    prune_every: steps between two updates of the masks; None makes about 20 updates, at most 100 steps apart.
    seed: of order and augmentation; `kzoo train` builds the model with it too, so that weights and dropout repeat.
    backup_steps: also save the full state every so many steps; it is always saved after every epoch.
    steps_per_execution: steps run between two returns to Python; None chooses by the model's size.
    jit_compile: compile the step with XLA; None chooses what measures faster, see `kzoo.training.execution`.
    fuse: train batch norm and Adam in one operation of TensorFlow each; None chooses what measures faster.
    deterministic: let TensorFlow use only operations that give the same bits twice (for the whole process).
    tensorboard: write event files into the run folder.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    decay_vectors: bool = True
    schedule: str = "constant"
    warmup_steps: int = 0
    label_smoothing: float = 0.0
    clip_norm: float | None = None
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
        if self.prune_begin > self.prune_end:
            raise ValueError(f"prune_begin must be at most prune_end, got {self.prune_begin} and {self.prune_end}")


# field -> (lowest, highest) allowed value; None leaves that side open
RANGES = {
    "epochs": (1, None), "batch_size": (1, None), "weight_decay": (0, None), "warmup_steps": (0, None),
    "early_stopping": (1, None), "backup_steps": (1, None), "steps_per_execution": (1, None), "seed": (0, 2**31 - 1),
    "prune_begin": (0, 1), "prune_end": (0, 1), "prune_every": (1, None),
}  # fmt: skip
FRACTIONS = ("momentum", "beta_2", "label_smoothing")
POSITIVE = ("learning_rate", "epsilon", "clip_norm")
CHOICES = {"optimizer": tuple(OPTIMIZERS), "schedule": SCHEDULES}


def _check(name, value, kind):
    if value is None and "None" in str(kind):
        return
    if name == "train_from":
        if not isinstance(value, str):
            raise TypeError(f"train_from must be the name of a layer or stage, got {value!r}")
        return
    if name == "augment" and isinstance(value, str):
        from kzoo.data import RECIPES

        if value not in RECIPES:
            raise ValueError(f"augment must be True, False or one of {', '.join(RECIPES)}, got {value!r}")
        return
    if name == "prune":
        _check_prune(value)
        return
    switch = kind in (bool, bool | str, bool | None)
    if switch or isinstance(value, bool):
        if not switch or not isinstance(value, bool):
            raise TypeError(f"{name} must be {'True or False' if switch else 'a number'}, got {value!r}")
        return
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}, got {value!r}")
        return
    if not isinstance(value, int if "int" in str(kind) else int | float):
        raise TypeError(f"{name} must be {'an int' if 'int' in str(kind) else 'a number'}, got {value!r}")
    if name in POSITIVE:
        good, bounds = value > 0, "a finite number above 0"
    elif name in FRACTIONS:
        good, bounds = 0 <= value < 1, "from 0 up to but not including 1"
    else:
        lowest, highest = RANGES[name]
        good = value >= lowest and (highest is None or value <= highest)
        bounds = f"at least {lowest}" + (f" and at most {highest}" if highest else "")
    if not good or not math.isfinite(value):
        raise ValueError(f"{name} must be {bounds}, got {value!r}")


def _check_prune(value):
    if isinstance(value, str):
        parse_pattern(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"prune must be a share such as 0.8 or a pattern such as '2:4', got {value!r}")
    elif not 0 < value < 1:
        raise ValueError(f"prune must be a share above 0 and below 1, got {value!r}")


def make_recipe(defaults, choices):
    """A task's default recipe with a user's choices; TypeError for an unknown one, ValueError for a bad value."""
    known = [field.name for field in dataclasses.fields(Recipe)]
    for name in choices:
        if name not in known:
            raise TypeError(f"{did_you_mean('training option', name, known)} (all: {', '.join(known)})")
    return Recipe(**{**defaults, **choices})


def make_optimizer(recipe, model, num_steps):
    """A fresh Keras optimizer for a run of `num_steps` steps."""
    rate = recipe.learning_rate
    if recipe.schedule == "cosine" and recipe.warmup_steps >= num_steps:
        raise ValueError(f"warmup_steps {recipe.warmup_steps} leaves nothing of the {num_steps} steps to the cosine")
    if recipe.schedule == "transformer":
        rate = TransformerSchedule(_hidden_dim(model), recipe.warmup_steps, recipe.learning_rate)
    elif recipe.schedule == "cosine" or recipe.warmup_steps:
        decay_steps = max(1, num_steps - recipe.warmup_steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if recipe.warmup_steps else recipe.learning_rate,
            decay_steps,
            alpha=0.0 if recipe.schedule == "cosine" else 1.0,
            warmup_target=recipe.learning_rate if recipe.warmup_steps else None,
            warmup_steps=recipe.warmup_steps,
        )
    constants = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {
        "beta_2": recipe.beta_2, "epsilon": recipe.epsilon}  # fmt: skip
    decays = recipe.weight_decay or recipe.optimizer == "adamw"  # which takes no None
    weight_decay = float(recipe.weight_decay) if decays else None
    optimizer = OPTIMIZERS[recipe.optimizer](
        rate, global_clipnorm=recipe.clip_norm, weight_decay=weight_decay, **constants
    )
    if not recipe.decay_vectors:
        optimizer.exclude_from_weight_decay([weight for weight in model.trainable_variables if len(weight.shape) < 2])
    return optimizer


def _hidden_dim(model):
    """The width that the Transformer's schedule scales with: that of the token embedding."""
    widths = [layer.output_dim for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    if not widths:
        raise ValueError(f"schedule='transformer' needs a model with a token embedding; {model.name} has none")
    return widths[0]

"""Where a run stands, what makes it the same run, and going on from its last backup."""

import dataclasses
import json
import sys

import keras

from kzoo.training import backup
from kzoo.training.recipe import Recipe

# Differences between a backup and the run that resumes it: these change no number (of what a recipe leaves open counts
# what was chosen, `jit_compile` and `fuse`), ...
HARMLESS = {
    "recipe.tensorboard", "recipe.backup_steps", "recipe.steps_per_execution", "recipe.jit_compile",
    "recipe.fuse",
}  # fmt: skip
# ... these change what follows, which the user may want (force=True); any other difference is another run.
FORCIBLE = {
    "recipe.epochs", "recipe.early_stopping", "recipe.learning_rate", "recipe.deterministic", "keras", "backend",
    "jit_compile", "fuse",
}  # fmt: skip


@dataclasses.dataclass
class State:
    """Where a run stands; stored in every backup."""

    epoch: int = 0  # epochs done
    step: int = 0  # steps done in the epoch after those
    history: list = dataclasses.field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    finished: bool = False


def identity(trainee, recipe, data, fuse):
    """What a resumed run must share with the run that was interrupted, JSON-able; the trainee is compiled."""
    model, (network, _) = trainee.model, trainee.networks[0]
    facts = {
        "model": {
            "name": model.kzoo.name,
            "overrides": model.kzoo.overrides,
            "dtype": keras.dtype_policies.get(network.dtype_policy).name,
            **({"rewrites": model.kzoo.rewrites} if model.kzoo.rewrites else {}),
        },
        "recipe": dataclasses.asdict(recipe),
        "data": data.fingerprint,
        "jit_compile": bool(trainee.runner.jit_compile),
        "fuse": fuse,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
    return json.loads(json.dumps(facts))  # tuples become lists, as they will in the backup


def resume(trainee, folder, facts, force):
    """The state of the last backup in `folder`, restored into a compiled trainee; a fresh state if there is none.

    Args:
        facts: the `identity` of the run that goes on.

    Raises ValueError that lists every field in which `facts` differ from the backup's, unless all of them change no
    number, or `force` is True and all may be changed; and for damaged backups.
    """
    path, saved, warning = backup.read_state(folder)
    if path is None:
        return State()
    if warning:
        print(f"warning: {warning}; going back to {path.name}", file=sys.stderr)
    then, now = _flat(saved.pop("identity")), _flat(facts)
    for field in dataclasses.fields(Recipe):  # what an earlier release could not choose was as it is by default now
        then.setdefault(f"recipe.{field.name}", field.default)
    then.setdefault("jit_compile", now["jit_compile"])  # runs of earlier releases did not record it
    then.setdefault("fuse", False)  # nor could they
    state = State(**saved)
    differing = {key for key in then.keys() | now.keys() if then.get(key) != now.get(key)} - HARMLESS
    longer = now["recipe.epochs"] >= then["recipe.epochs"]
    fixed_length = then["recipe.schedule"] == "cosine" or then["recipe.prune"]  # both count in shares of the run
    if longer and not fixed_length:
        differing.discard("recipe.epochs")
    if differing - FORCIBLE or (differing and not force):
        listed = "; ".join(f"{key} was {then.get(key)!r}, now {now.get(key)!r}" for key in sorted(differing))
        hint = "start another run" if differing - FORCIBLE else "pass force=True (--force) to go on all the same"
        raise ValueError(f"{folder} cannot be resumed like this: {listed}; {hint}")
    if state.epoch == then["recipe.epochs"] < now["recipe.epochs"]:
        state.finished = False
    elif state.epoch >= now["recipe.epochs"]:
        state.finished = True
    backup.restore(path, trainee)
    if "recipe.learning_rate" in differing and now["recipe.schedule"] == "constant" and not now["recipe.warmup_steps"]:
        for _, optimizer in trainee.networks:
            optimizer.learning_rate = now["recipe.learning_rate"]  # a variable, which the backup has just set
    return state


def _flat(nested, prefix=""):
    if not isinstance(nested, dict) or not nested:
        return {prefix[:-1]: nested}
    return {key: value for name, item in nested.items() for key, value in _flat(item, f"{prefix}{name}.").items()}

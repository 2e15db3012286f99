"""Where a run stands, what makes it the same run, and going on from its last backup."""

import dataclasses
import json
import pathlib
import re
import sys

import keras

from kzoo.building import archives
from kzoo.training import backup
from kzoo.training.recipe import Recipe

# Differences between a backup and the run that resumes it. These change no number; of the choices that a recipe leaves
# open, what was chosen is compared instead, as `jit_compile` and `fuse`.
HARMLESS = {f"recipe.{name}" for name in ("tensorboard", "backup_steps", "steps_per_execution", "jit_compile", "fuse")}
# These change what follows, which the user may want (force=True). Any other difference makes it another run.
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


def identity(trainee, recipe, data, fuse) -> dict:
    """What a resumed run must share with the run that was interrupted, JSON-able; the trainee is compiled."""
    card, (network, _) = trainee.model.kzoo, trainee.networks[0]
    facts = {
        "model": {
            # Keras numbers models without a name anew in each process.
            "name": card.name if card.architecture else re.sub(r"_\d+$", "", card.name),
            "overrides": card.overrides,
            "dtype": keras.dtype_policies.get(network.dtype_policy).name,
            **({"rewrites": card.rewrites} if card.rewrites else {}),
            **({} if card.architecture else {"graph": [archives.digest_of_graph(part) for part in trainee.parts]}),
        },
        "recipe": dataclasses.asdict(recipe),
        "data": data.fingerprint,
        **{name: _told(value) for name, value in trainee.own.items()},
        "jit_compile": bool(trainee.runner.jit_compile),
        "fuse": fuse,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
    }
    return json.loads(json.dumps(facts))  # tuples become lists, as they will in the backup


def _told(own):
    """A loss, or metrics, of the user's in words that are the same in every process."""
    if isinstance(own, list | tuple):
        return [_told(one) for one in own]
    return own if isinstance(own, str) else getattr(own, "name", None) or getattr(own, "__name__", type(own).__name__)


def restored(trainee, folder, facts, force) -> State:
    """The state of the last backup in `folder`, restored into a compiled trainee; a fresh state if there is none.

    Args:
        facts: the `identity` of the run that goes on.
        force: go on although something differs that the user may want to change.

    Raises ValueError that lists every field in which `facts` differ from the backup's, unless none of them changes a
    number, or `force` is True and all of them may be changed; and for damaged backups.
    """
    path, saved, warning = backup.read_state(folder)
    if path is None:
        left = [name for name in ("history.json", "weights.safetensors") if (pathlib.Path(folder) / name).exists()]
        if left:
            raise ValueError(
                f"{folder} holds {' and '.join(left)} and no backup to go on from, so a run would replace them; name "
                "another folder, or start again with overwrite=True (--overwrite)"
            )
        return State()
    if warning:
        print(f"warning: {warning}; going back to {path.name}", file=sys.stderr)
    then, now = _flat(saved.pop("identity")), _flat(facts)
    # What an earlier release could not choose was as it is by default now, and it did not record how steps ran.
    defaults = {f"recipe.{field.name}": field.default for field in dataclasses.fields(Recipe)}
    then = {**defaults, "jit_compile": now["jit_compile"], "fuse": False, **then}
    state = State(**saved)
    differing = {key for key in then.keys() | now.keys() if then.get(key) != now.get(key)} - HARMLESS
    fixed_length = then["recipe.schedule"] == "cosine" or then["recipe.prune"]  # both count in shares of the run
    if now["recipe.epochs"] >= then["recipe.epochs"] and not fixed_length:
        differing.discard("recipe.epochs")
    if differing - FORCIBLE or (differing and not force):
        listed = "; ".join(f"{key} was {then.get(key)!r}, now {now.get(key)!r}" for key in sorted(differing))
        hint = "start another run" if differing - FORCIBLE else "pass force=True (--force) to go on all the same"
        raise ValueError(f"{folder} cannot be resumed like this: {listed}; {hint}")
    if state.epoch == then["recipe.epochs"] < now["recipe.epochs"]:
        state.finished = False
    elif state.epoch >= now["recipe.epochs"]:
        state.finished = True
    if not backup.restore(path, trainee) and state.step:
        where = f"epoch {state.epoch + 1} are those of its steps from {state.step + 1} on"
        print(
            f"warning: {path.name} holds the running metrics of an earlier release; those of {where}", file=sys.stderr
        )
    if "recipe.learning_rate" in differing and now["recipe.schedule"] == "constant" and not now["recipe.warmup_steps"]:
        for _, optimizer in trainee.networks:
            optimizer.learning_rate = now["recipe.learning_rate"]  # a variable, which the backup has just set
    return state


def _flat(nested, prefix=""):
    if not isinstance(nested, dict) or not nested:
        return {prefix[:-1]: nested}
    return {key: value for name, item in nested.items() for key, value in _flat(item, f"{prefix}{name}.").items()}

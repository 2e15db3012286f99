"""The card that every model carries as `model.kzoo`: what it is, what it reads, and what its outputs are called."""

import dataclasses

from kzoo.catalog.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Card:
    """What kzoo knows of a model; the only attribute that kzoo hangs on a Keras model.

    Args:
        name: the variant it was built as, or the name of a model that `kzoo.build` did not make.
        architecture: the model file it comes from; None for a model that `kzoo.build` did not make.
        task: what it is for; None where that is not known.
        overrides: the keywords that it was built with beside those of its variant.
        rewrites: the rewrites of its graph since then, in order: dicts of their keywords and `rewrite`, their name.
        preprocessing: how images become its input.
        tokenizer: the `kzoo.data.Tokenizer` of its texts, or None.
        class_names: names of the classes that its outputs stand for, or None.
        noise: the schedule of noise by which it diffuses, as `diffusers`' scheduler_config.json has it, or None.
        trims_silence: whether silence was cut from both ends of the sounds it learned from, and is from files it hears.
        names: the family of checkpoints that its weights came from, under whose names they are saved; None for the one
            that its layers are named after.
    """

    name: str
    architecture: str | None = None
    task: str | None = None
    overrides: dict = dataclasses.field(default_factory=dict)
    rewrites: tuple = ()
    preprocessing: Preprocessing = Preprocessing()
    tokenizer: object = dataclasses.field(default=None, compare=False)
    class_names: list | None = None
    names: str | None = None
    trims_silence: bool = False
    noise: dict | None = None

    def __str__(self) -> str:
        built = ", ".join(f"{key}={value!r}" for key, value in self.overrides.items())
        facts = [f"{self.name}" + (f" ({built})" if built else ""), (self.task or "no known task").replace("_", " ")]
        facts += [f"rewritten by {row['rewrite']}" for row in self.rewrites]
        if self.preprocessing != Preprocessing():
            facts.append(str(self.preprocessing))
        if self.trims_silence:
            facts.append("silence is cut from sounds")
        if self.noise:
            facts.append(f"noise of {self.noise['_class_name']}")
        if self.tokenizer is not None:
            facts.append(f"tokenizer of {self.tokenizer.vocabulary_size:,} tokens")
        if self.class_names:
            listed = ", ".join(self.class_names[:5]) + ", ..." * (len(self.class_names) > 5)
            facts.append(f"{len(self.class_names)} classes: {listed}")
        return "; ".join(facts)

    def __repr__(self) -> str:
        return f"<kzoo card: {self}>"


def card_of(model) -> Card:
    """The card of a model; for one that kzoo did not make, a card with its name alone.

    Raises ValueError for attributes that earlier releases read from the model itself.
    """
    for name in ("preprocessing", "tokenizer"):
        if name in vars(model):
            raise ValueError(
                f"{model.name}.{name} is no longer read; write kzoo.catalog.update_card(model, {name}=...) in its place"
            )
    return getattr(model, "kzoo", None) or Card(model.name)


def update_card(model, **facts) -> None:
    """Replaces fields of a model's card, such as `tokenizer` or `class_names`."""
    model.kzoo = dataclasses.replace(card_of(model), **facts)

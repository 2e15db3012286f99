"""What the two networks play for: the losses of discriminator and generator, from the logits of the discriminator.

Logits are float32 (batch, 1), above 0 where the discriminator believes that a picture is real.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras import ops

from kzoo.support.suggest import did_you_mean


@dataclasses.dataclass(frozen=True)
class Game:
    """The losses of one way to play.

    Args:
        discriminator: `discriminator(real, fake)` from logits.
        generator: `generator(fake)` from logits.
        is_probable: whether a sigmoid makes probabilities of the logits.
        penalty: the weight of the gradient penalty of the discriminator.
        critic_steps: steps of the discriminator to one of the generator.
    """

    discriminator: Callable
    generator: Callable
    is_probable: bool = True
    penalty: float = 0.0
    critic_steps: int = 1

    def score(self, logits) -> Any:
        """The mean of what the discriminator says: of probabilities, or of its outputs where they are none."""
        return ops.mean(ops.sigmoid(logits) if self.is_probable else logits)


def _entropy(real, fake):
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))


# Goodfellow et al. 2014, algorithm 1 and the end of section 3; Lim, Ye 2017, https://arxiv.org/abs/1705.02894, and
# Miyato et al. 2018, https://arxiv.org/abs/1802.05957, equations 16 and 17; Gulrajani et al. 2017,
# https://arxiv.org/abs/1704.00028, algorithm 1.
GAMES = {
    "non_saturating": Game(_entropy, lambda fake: ops.mean(ops.softplus(-fake))),
    "saturating": Game(_entropy, lambda fake: -ops.mean(ops.softplus(fake))),
    "hinge": Game(
        lambda real, fake: ops.mean(ops.relu(1 - real)) + ops.mean(ops.relu(1 + fake)),
        lambda fake: -ops.mean(fake),
        is_probable=False,
    ),
    "wgan_gp": Game(
        lambda real, fake: ops.mean(fake) - ops.mean(real),
        lambda fake: -ops.mean(fake),
        is_probable=False,
        penalty=10.0,
        critic_steps=5,
    ),
}


def find(name) -> Game:
    """The game of that name; ValueError or TypeError for others."""
    if not isinstance(name, str):
        raise TypeError(f"loss must be one of {', '.join(GAMES)} for a pair of networks, got {name!r}")
    if name not in GAMES:
        raise ValueError(f"{did_you_mean('loss', name, GAMES)} (all: {', '.join(GAMES)})")
    return GAMES[name]

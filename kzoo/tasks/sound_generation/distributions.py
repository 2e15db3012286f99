"""The distribution of the next sample that a network's outputs stand for: its loss, and how a sample is drawn.

Every sample is drawn from numbers in [0, 1) that the caller passes, so that it depends on its arguments alone and is
the same on every backend.
"""

import dataclasses
import math
from typing import Any

import keras
from keras import ops

from kzoo import catalog
from kzoo.generation.sampling import sample
from kzoo.layers.waves import mu_law_decode, mu_law_encode

EDGE = 0.999  # samples beyond it belong to the outermost levels
FLAT = 1e-5  # a level with a smaller probability is taken from the density at its middle
SHARE = 1e-5  # how near numbers that are drawn with come to 0 and 1


@dataclasses.dataclass(frozen=True)
class MuLaw:
    """Logits of the mu-law classes of the next sample, van den Oord et al. 2016, section 2.2."""

    num_levels: int
    num_draws: int = 1  # numbers that a sample is drawn with

    def loss(self, y, outputs) -> Any:
        """Cross-entropy in nats: y (batch, samples) in [-1, 1], outputs (batch, samples, num_levels)."""
        ids = mu_law_encode(y, self.num_levels)
        return ops.sparse_categorical_crossentropy(ids, outputs, from_logits=True)

    def draw(self, outputs, uniform, temperature) -> Any:
        """A sample (batch,) of outputs (batch, num_levels), uniform (batch, 1); temperature 0 takes the likeliest."""
        likeliest = ops.cast(ops.argmax(outputs, axis=-1), "int32")
        drawn = sample(outputs, uniform[:, 0], ops.maximum(temperature, 1e-6))
        return mu_law_decode(ops.where(temperature > 0, drawn, likeliest), self.num_levels)


@dataclasses.dataclass(frozen=True)
class Logistics:
    """Logits, means and log-scales of logistic components, rounded to `num_levels` levels of [-1, 1].

    Salimans et al. 2017, https://arxiv.org/abs/1701.05517, section 2.1, as r9y9's `discretized_mix_logistic_loss`.
    """

    num_levels: int
    num_mixtures: int

    @property
    def num_draws(self) -> int:
        """One for the choice of each component, and one for the sample."""
        return self.num_mixtures + 1

    @property
    def least(self) -> float:
        """The least log-scale: r9y9 has -7 for 256 levels and -16 for 65,536."""
        return -16.0 if self.num_levels > 256 else -7.0

    def loss(self, y, outputs) -> Any:
        """Minus the log probability of the level that y (batch, samples) falls into, in nats."""
        logits, means, log_scales = ops.split(outputs, 3, axis=-1)
        log_scales, y = ops.maximum(log_scales, self.least), y[..., None]
        inverse, half = ops.exp(-log_scales), 1 / (self.num_levels - 1)
        upper, middle, lower = (inverse * (y - means + shift) for shift in (half, 0.0, -half))
        # The difference of sigmoid(upper) and sigmoid(lower), whose digits would cancel where levels are narrow
        inside = ops.sigmoid(upper) * ops.sigmoid(-lower) * -ops.expm1(lower - upper)
        density = middle - log_scales - 2 * ops.softplus(middle) - math.log((self.num_levels - 1) / 2)
        between = ops.where(inside > FLAT, ops.log(ops.maximum(inside, 1e-12)), density)
        at_the_top = ops.where(y > EDGE, -ops.softplus(lower), between)
        found = ops.where(y < -EDGE, upper - ops.softplus(upper), at_the_top)
        return -ops.logsumexp(found + ops.log_softmax(logits, axis=-1), axis=-1)

    def draw(self, outputs, uniform, temperature) -> Any:
        """A sample (batch,) of outputs (batch, 3 * num_mixtures), uniform (batch, num_draws).

        A component is chosen by Gumbel's trick. A temperature scales both choices: 0 takes the likeliest component's
        mean.
        """
        logits, means, log_scales = ops.split(outputs, 3, axis=-1)
        u = SHARE + (1 - 2 * SHARE) * uniform
        chosen = ops.argmax(logits - temperature * ops.log(-ops.log(u[:, :-1])), axis=-1)
        choice = ops.one_hot(chosen, self.num_mixtures, dtype=outputs.dtype)
        mean, log_scale = (ops.sum(choice * each, axis=-1) for each in (means, log_scales))
        noise = ops.log(u[:, -1]) - ops.log(1 - u[:, -1])
        scale = ops.exp(ops.maximum(log_scale, self.least))
        return ops.clip(mean + temperature * scale * noise, -1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Mean and log-scale of the next sample, Ping et al. 2018, https://arxiv.org/abs/1807.07281, section 3.1."""

    num_levels: int
    num_draws: int = 1
    least: float = -16.0  # log-scale

    def loss(self, y, outputs) -> Any:
        """Minus the log density at y (batch, samples), in nats."""
        mean, log_scale = outputs[..., 0], ops.maximum(outputs[..., 1], self.least)
        return 0.5 * ops.square((y - mean) * ops.exp(-log_scale)) + log_scale + 0.5 * math.log(2 * math.pi)

    def draw(self, outputs, uniform, temperature) -> Any:
        """A sample (batch,) of outputs (batch, 2), uniform (batch, 1)."""
        noise = math.sqrt(2) * ops.erfinv(2 * (SHARE + (1 - 2 * SHARE) * uniform[:, 0]) - 1)
        scale = ops.exp(ops.maximum(outputs[:, 1], self.least))
        return ops.clip(outputs[:, 0] + temperature * scale * noise, -1.0, 1.0)


def distribution_of(model) -> Any:
    """The distribution that a model of the catalogue was built for."""
    given = catalog.arguments(model)
    kinds = {
        "mulaw": lambda: MuLaw(given["num_levels"]),
        "logistics": lambda: Logistics(given["num_levels"], given["num_mixtures"]),
        "gaussian": lambda: Gaussian(given["num_levels"]),
    }
    return kinds[given["distribution"]]()


@keras.saving.register_keras_serializable("kzoo")
class SampleLoss(keras.losses.Loss):
    """Minus the log probability of the next samples, averaged over the weights' sum, in nats or in bits; float32.

    Targets (batch, samples) in [-1, 1], predictions (batch, samples, channels). A Gaussian has a density: what it gives
    a level of `num_levels` is the density at its middle times the level's width, 2 / (num_levels - 1).
    """

    def __init__(self, kind, in_bits=False, name="negative_log_likelihood"):
        super().__init__(name=name, reduction="mean_with_sample_weight", dtype="float32")
        self.kind, self.in_bits = kind, in_bits

    def call(self, y_true, y_pred) -> Any:
        loss = self.kind.loss(y_true, y_pred)
        if not self.in_bits:
            return loss
        width = math.log(2 / (self.kind.num_levels - 1)) if isinstance(self.kind, Gaussian) else 0.0
        return (loss - width) / math.log(2)

    def get_config(self) -> dict:
        kind = {"class": type(self.kind).__name__, **dataclasses.asdict(self.kind)}
        return {"kind": kind, "in_bits": self.in_bits, "name": self.name}

    @classmethod
    def from_config(cls, config) -> "SampleLoss":
        kind = dict(config["kind"])
        made = {each.__name__: each for each in (MuLaw, Logistics, Gaussian)}[kind.pop("class")](**kind)
        return cls(**{**config, "kind": made})

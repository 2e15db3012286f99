"""Random changes to training sequences, a whole batch at once, as a pure function of one row of numbers per example."""

import dataclasses

import tensorflow as tf

from kzoo.data.genomes.alphabet import complements
from kzoo.data.splits import fold


@dataclasses.dataclass(frozen=True)
class LetterAugmentation:
    """How sequences are changed at random.

    Args:
        reverse: share of the sequences that become their reverse complements.
        mutate: share of the letters that are drawn anew.
        reversed_label: the class of what was reversed, by its name; None where a label holds for both strands. A splice
            junction does not: read from the other strand it is none.

    Raises ValueError that names the field and its range.
    """

    reverse: float = 0.5
    mutate: float = 0.0
    reversed_label: str | None = None

    mixes = False

    def __post_init__(self):
        for name in ("reverse", "mutate"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f"augmentation {name} must be from 0 to 1, got {value!r}")

    def reversed(self, drawn) -> tf.Tensor:
        """Which sequences are reversed by their rows of `draw`, bool (batch,)."""
        return drawn["strand"] < self.reverse

    def draw(self, key, count) -> dict:
        """The random numbers of an epoch's `count` sequences: (count,) for their strand, and a seed (count, 2) each."""
        return {
            "strand": tf.random.stateless_uniform((count,), fold(key, 0), alg="philox"),
            "seeds": tf.random.stateless_uniform((count, 2), fold(key, 1), None, None, tf.int32, "philox"),
        }

    def apply(self, ids, drawn, letters) -> tf.Tensor:
        """Ids (batch, length), changed by their rows of `draw`; zeros at the end are at the beginning then."""
        if self.mutate:
            length = tf.shape(ids)[1]

            def numbers(seed):
                return tf.random.stateless_uniform((length, 2), seed, alg="philox")

            random = tf.map_fn(numbers, drawn["seeds"], fn_output_signature=tf.float32)
            anew = 1 + tf.cast(random[..., 1] * len(letters), tf.int32)
            ids = tf.where((random[..., 0] < self.mutate) & (ids > 0), anew, ids)
        if self.reverse:
            other = tf.gather(tf.constant(complements(letters)), ids)[:, ::-1]
            ids = tf.where(self.reversed(drawn)[:, None], other, ids)
        return ids

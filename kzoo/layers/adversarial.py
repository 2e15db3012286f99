"""What the two networks of a DCGAN share: sizes that halve, batch norm and the initialisation of `pytorch/examples`."""

import keras

from kzoo.layers import images


def normal(mean=0.0) -> keras.Initializer:
    """Where weights begin: near 0, and scales of batch norm near 1 (Radford et al. 2015, section 4)."""
    return keras.initializers.RandomNormal(mean, stddev=0.02)


def batch_norm(x, name) -> keras.KerasTensor:
    """Batch normalisation with torch's constants and DCGAN's initialisation."""
    return images.batch_norm(x, name, gamma_initializer=normal(1.0))


def num_halvings(shape, keyword, model) -> int:
    """How often the sides of a picture (height, width, channels) halve until 4 to 7 pixels are left of each.

    Raises ValueError that names the keyword and the nearest sizes, for sides that cannot be halved as often as each
    other.
    """
    if len(shape) != 3 or None in shape:
        raise ValueError(f"{model}: {keyword} must be (height, width, channels), all known, got {shape}")
    counts = {max(side // 4, 1).bit_length() - 1 for side in shape[:2]}
    (count, *others) = counts
    if others or count < 1 or any(side % (1 << count) for side in shape[:2]):
        raise ValueError(
            f"{model}: {keyword} {tuple(shape)} cannot be halved to 4 to 7 pixels a side; wanted sides of 4, 5, 6 or 7 "
            "times a power of 2, the same one for both, such as 28, 32, 48 or 64"
        )
    return count

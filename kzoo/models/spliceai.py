"""SpliceAI: dilated residual convolutions over thousands of nucleotides, which mark where introns begin and end.

Jaganathan et al. 2019, https://doi.org/10.1016/j.cell.2018.12.015, figure 1 and supplementary figure S1. Layers are
numbered as in the authors' Keras files: convolutions and batch norms in the order in which their code makes them.
"""

import keras
from keras import layers

from kzoo.layers.one_hot_letters import LetterOneHot

TASK = "nucleotide_classification"
INPUTS = {"letters": "letters"}
AGREES_WITH = "the authors' Keras files"
CLASS_NAMES = ("none", "acceptor", "donor")
VARIANTS = {
    "spliceai_10k": {},
    "spliceai_2k": {"kernel_sizes": (11, 11, 21), "dilation_rates": (1, 4, 10)},
    "spliceai_400nt": {"kernel_sizes": (11, 11), "dilation_rates": (1, 4)},
    "spliceai_80nt": {"kernel_sizes": (11,), "dilation_rates": (1,)},
}


def build(
    filters=32,
    kernel_sizes=(11, 11, 21, 41),
    dilation_rates=(1, 4, 10, 25),
    num_units=4,
    letters="ACGT",
    num_classes=3,
    name="spliceai_10k",
) -> keras.Model:
    """Nucleotides, int32 ids (batch, length), to logits of each (batch, length, num_classes), float32.

    The class of a nucleotide follows from as many on either side as half the context, the sum of 2 * dilation_rate *
    (kernel_size - 1) over all residual units: 80, 400, 2,000 or 10,000. What lies outside the sequence is unknown, id
    0, as in the authors' code, whose files take the context as part of the sequence. Classes are none, acceptor (the
    first nucleotide of an exon) and donor (the last one).

    Args:
        kernel_sizes, dilation_rates: of the residual units of each group.
        num_units: residual units in a group, after which it adds to the output.
        letters: those that ids stand for, from 1.

    Raises ValueError unless there are as many dilation rates as kernel sizes, and for an even kernel size.
    """
    if len(kernel_sizes) != len(dilation_rates) or not all(size % 2 for size in kernel_sizes):
        raise ValueError(
            f"{name}: kernel_sizes {tuple(kernel_sizes)} must be odd, and as many as dilation_rates "
            f"{tuple(dilation_rates)}"
        )
    groups = list(zip(kernel_sizes, dilation_rates, strict=True))
    # every unit has two convolutions, which see as far as this on either side
    reach = num_units * sum(rate * (size - 1) for size, rate in groups)
    numbers = {"conv1d": 0, "batch_normalization": 0}

    def numbered(kind):
        numbers[kind] += 1
        return f"{kind}_{numbers[kind]}"

    def convolved(x, size=1, rate=1):
        return layers.Conv1D(filters, size, padding="same", dilation_rate=rate, name=numbered("conv1d"))(x)

    def activated(x):
        norm = numbered("batch_normalization")
        return layers.ReLU(name=f"{norm}.relu")(layers.BatchNormalization(name=norm)(x))

    def unit(x, size, rate):
        y = convolved(activated(x), size, rate)
        y = convolved(activated(y), size, rate)
        return layers.Add(name=f"conv1d_{numbers['conv1d']}.add")([x, y])

    ids = keras.Input((None,), dtype="int32", name="letters")
    x = LetterOneHot(len(letters), name="one_hot")(ids)
    x = convolved(layers.ZeroPadding1D(reach, name="flanks")(x))
    output = convolved(x)
    for size, rate in groups:
        for _ in range(num_units):
            x = unit(x, size, rate)
        side = convolved(x)
        output = layers.Add(name=f"conv1d_{numbers['conv1d']}.skip")([output, side])
    output = layers.Cropping1D(reach, name="center")(output)
    logits = layers.Conv1D(num_classes, 1, dtype="float32", name=numbered("conv1d"))(output)
    return keras.Model(ids, logits, name=name)

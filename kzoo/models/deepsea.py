"""DeepSEA: three convolutions over 1,000 nucleotides, which tell what binds there and how open the chromatin is.

Zhou, Troyanskaya 2015, https://doi.org/10.1038/nmeth.3547, supplementary table on the model. Layer names and
`deepsea_selene` follow the class in selene (FunctionLab/selene, models/deepsea.py), which has as many hidden units as
labels; the paper has 925. The authors' own files order letters A, G, C, T: build such a network with letters="AGCT".
"""

import keras
from keras import layers

from kzoo.layers.one_hot_letters import LetterOneHot
from kzoo.support.suggest import did_you_mean

# the task by head
TASK = {"labels": "multilabel_classification", "classes": "dna_classification"}
INPUTS = {"letters": "letters"}
AGREES_WITH = "selene's `DeepSEA`"
HEAD = ("classifier.2",)
VARIANTS = {
    "deepsea": {},
    "deepsea_selene": {"hidden_dim": 919},
    # for the 60 nucleotides of `splice_junctions`
    "deepsea_small": {
        "filters": (32, 48),
        "pool_size": 2,
        "hidden_dim": 64,
        "sequence_length": 60,
        "head": "classes",
        "num_classes": 3,
    },
}


def build(
    filters=(320, 480, 960),
    kernel_size=8,
    pool_size=4,
    hidden_dim=925,
    dropout=0.5,
    sequence_length=1000,
    letters="ACGT",
    head="labels",
    num_classes=919,
    name="deepsea",
) -> keras.Model:
    """Nucleotides, int32 ids (batch, sequence_length), to logits (batch, num_classes), float32.

    Args:
        filters: of the convolutions, of which all but the last are pooled.
        dropout: after the last convolution; 0.4 of it after the others, as the paper has 0.5 and 0.2.
        letters: those that ids stand for, from 1; id 0 stands for all of them alike.
        head: what is learned of a sequence, "labels", any number of which hold, or "classes", one of which does.

    Raises ValueError for another head, and for a sequence that is too short for its convolutions.
    """
    if head not in TASK:
        raise ValueError(f"{name}: {did_you_mean('head', head, list(TASK))}")
    ids = keras.Input((sequence_length,), dtype="int32", name="letters")
    x = LetterOneHot(len(letters), 1 / len(letters), name="one_hot")(ids)
    for index, count in enumerate(filters):
        is_last = index == len(filters) - 1
        if x.shape[1] < kernel_size:
            raise ValueError(
                f"{name}: {sequence_length} letters leave {x.shape[1]} places for convolution {index + 1} of width "
                f"{kernel_size}; pass a larger sequence_length, fewer filters or a smaller pool_size"
            )
        where = f"conv_net.{4 * index}"
        x = layers.ReLU(name=f"{where}.relu")(layers.Conv1D(count, kernel_size, name=where)(x))
        if not is_last:
            x = layers.MaxPooling1D(pool_size, name=f"{where}.pool")(x)
        x = layers.Dropout(dropout if is_last else 0.4 * dropout, name=f"{where}.dropout")(x)
    # torch flattens channels first
    x = layers.Flatten(name="flatten")(layers.Permute((2, 1), name="channels_first")(x))
    x = layers.Dense(hidden_dim, activation="relu", name="classifier.0")(x)
    return keras.Model(ids, layers.Dense(num_classes, dtype="float32", name="classifier.2")(x), name=name)

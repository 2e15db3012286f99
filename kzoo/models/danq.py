"""DanQ: a convolution that finds motifs in 1,000 nucleotides and an LSTM in both directions that reads their order.

Quang, Xie 2016, https://doi.org/10.1093/nar/gkw226, methods. Layer names follow the class in selene
(FunctionLab/selene, models/danQ.py), whose LSTM runs over the examples of a batch; here it runs over the sequence, as
in the paper. Torch keeps two biases a direction where the authors' Keras model has one; loading adds them, saving
writes the sum and zeros.
"""

import keras
from keras import layers

from kzoo.layers.one_hot_letters import LetterOneHot
from kzoo.support.suggest import did_you_mean

# the task by head
TASK = {"labels": "multilabel_classification", "classes": "dna_classification"}
INPUTS = {"letters": "letters"}
AGREES_WITH = "selene's `DanQ`"
HEAD = ("classifier.3",)
VARIANTS = {"danq": {}}


def build(
    filters=320,
    kernel_size=26,
    pool_size=13,
    units=320,
    hidden_dim=925,
    dropout=0.5,
    sequence_length=1000,
    letters="ACGT",
    head="labels",
    num_classes=919,
    name="danq",
) -> keras.Model:
    """Nucleotides, int32 ids (batch, sequence_length), to logits (batch, num_classes), float32.

    Args:
        units: of the LSTM in either direction.
        dropout: after the LSTM; 0.4 of it after the pooling, as the paper has 0.5 and 0.2.
        letters: those that ids stand for, from 1; id 0 stands for all of them alike.
        head: what is learned of a sequence, "labels", any number of which hold, or "classes", one of which does.

    Raises ValueError for another head, and for a sequence that is shorter than a pool of convolutions.
    """
    if head not in TASK:
        raise ValueError(f"{name}: {did_you_mean('head', head, list(TASK))}")
    if sequence_length < kernel_size + pool_size - 1:
        raise ValueError(
            f"{name}: sequence_length {sequence_length} is below {kernel_size + pool_size - 1}, one pool of "
            f"{pool_size} convolutions of width {kernel_size}; pass a larger one or smaller kernel_size or pool_size"
        )
    ids = keras.Input((sequence_length,), dtype="int32", name="letters")
    x = LetterOneHot(len(letters), 1 / len(letters), name="one_hot")(ids)
    x = layers.ReLU(name="nnet.0.relu")(layers.Conv1D(filters, kernel_size, name="nnet.0")(x))
    x = layers.MaxPooling1D(pool_size, name="nnet.0.pool")(x)
    x = layers.Dropout(0.4 * dropout, name="nnet.0.dropout")(x)
    x = layers.Bidirectional(layers.LSTM(units, return_sequences=True), name="bdlstm.0.l0")(x)
    x = layers.Flatten(name="flatten")(layers.Dropout(dropout, name="bdlstm.0.dropout")(x))
    x = layers.Dense(hidden_dim, activation="relu", name="classifier.1")(x)
    return keras.Model(ids, layers.Dense(num_classes, dtype="float32", name="classifier.3")(x), name=name)

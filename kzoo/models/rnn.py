"""RNN: stacked recurrent layers over a sequence, classified from the last step.

LSTM: Hochreiter, Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; GRU: Cho et al. 2014, in the form whose
reset gate acts after the matrix product, as torch and cuDNN compute it; simple: Elman 1990, tanh. Layer names follow
the torch module of the founding text (docs/origins.md): one recurrent module `rnn` with its layers l0, l1, ..., then
`fc`. Torch keeps two biases where an LSTM or simple cell needs one; loading adds them, saving writes the sum and zeros.
"""

import keras
from keras import layers

TASK = "sequence_classification"
INPUTS = {"features": "sequence"}
AGREES_WITH = "`torch.nn.LSTM`, `GRU`, `RNN`"
# the attribute that other modules keep theirs in
NAMES = {"torch": {}, "lstm": {"lstm.{}": "rnn.{}"}, "gru": {"gru.{}": "rnn.{}"}}
VARIANTS = {"rnn_lstm": {"cell": "lstm"}, "rnn_gru": {"cell": "gru"}, "rnn_simple": {"cell": "simple"}}

_CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple": layers.SimpleRNN}


def build(
    cell="lstm", num_layers=2, units=8, num_features=10, num_classes=2, bidirectional=False, name="rnn_lstm"
) -> keras.Model:
    """Sequences (batch, length, num_features) to logits (batch, num_classes).

    With `bidirectional` every layer also reads the sequence backwards, and the class follows from the state of either
    direction at its own end, 2 * units: torch's `h_n[-2]` and `h_n[-1]`, not `outputs[:, -1]`.
    """
    if cell not in _CELLS:
        raise ValueError(f"rnn: cell must be one of {', '.join(_CELLS)}, got {cell!r}")
    features = keras.Input((None, num_features), name="features")
    x = features
    for index in range(num_layers):
        layer = _CELLS[cell](units, return_sequences=index < num_layers - 1, name=f"rnn.l{index}")
        x = layers.Bidirectional(layer, name=layer.name)(x) if bidirectional else layer(x)
    logits = layers.Dense(num_classes, dtype="float32", name="fc")(x)
    return keras.Model(features, logits, name=name)

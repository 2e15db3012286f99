"""RNN: stacked recurrent layers over a sequence, classified from the last step.

LSTM: Hochreiter, Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; GRU: Cho et al. 2014, in the form whose
reset gate acts after the matrix product, as torch and cuDNN compute it; simple: Elman 1990, tanh. Layer names follow
the torch module of the founding text (docs/origins.md): one recurrent module `rnn` with its layers l0, l1, ..., then
`fc`. Torch keeps two biases where an LSTM or simple cell needs one; loading adds them, saving writes the sum and zeros.
"""

import keras
from keras import layers

TASK = {"classification": "sequence_classification", "states": "feature_extraction"}
INPUTS = {"features": "sequence", "padding_mask": "mask"}
AGREES_WITH = "`torch.nn.LSTM`, `GRU`, `RNN`"
OTHER_HEADS = (r"fc\.",)
# the attribute that other modules keep theirs in
NAMES = {"torch": {}, "lstm": {"lstm.{}": "rnn.{}"}, "gru": {"gru.{}": "rnn.{}"}}
VARIANTS = {"rnn_lstm": {"cell": "lstm"}, "rnn_gru": {"cell": "gru"}, "rnn_simple": {"cell": "simple"}}

_CELLS = {"lstm": layers.LSTM, "gru": layers.GRU, "simple": layers.SimpleRNN}


def stacked(states, name) -> keras.KerasTensor:
    """States (batch, units) of all layers and directions as one, (batch, num_states, units)."""
    rows = [layers.Reshape((1, -1), name=f"{name}.{index}")(state) for index, state in enumerate(states)]
    return layers.Concatenate(axis=1, name=name)(rows) if len(rows) > 1 else rows[0]


def build(
    cell="lstm", num_layers=2, units=8, num_features=10, num_classes=2, bidirectional=False, masked=False,
    head="classification", name="rnn_lstm",
) -> keras.Model:  # fmt: skip
    """Sequences (batch, length, num_features) to logits (batch, num_classes).

    With `bidirectional` every layer also reads the sequence backwards, and the class follows from the state of either
    direction at its own end, 2 * units: torch's `h_n[-2]` and `h_n[-1]`, not `outputs[:, -1]`.

    With `masked` there is a second input, `padding_mask` (batch, length), int32, 1 for a step and 0 for padding after
    the end: padded steps change nothing, as in torch's packed sequences.

    `head="states"` gives a dict in place of logits: `outputs` (batch, length, units) of all steps of the last layer, 2
    * units for both directions, 0 where there is padding; `hidden` (batch, num_layers, units), the last state of every
    layer, a layer's two directions side by side, and for an LSTM `cell` as well: torch's `h_n` and `c_n`, batch first.
    """
    for key, value, known in (("cell", cell, _CELLS), ("head", head, TASK)):
        if value not in known:
            raise ValueError(f"rnn: {key} must be one of {', '.join(known)}, got {value!r}")
    features, mask = keras.Input((None, num_features), name="features"), None
    # cuDNN takes no row of nothing but padding.
    how = {"use_cudnn": False} if masked and cell != "simple" else {}
    if masked:
        mask = keras.Input((None,), dtype="int32", name="padding_mask")
    inputs = {"features": features, "padding_mask": mask} if masked else features
    wants_states, x, states = head == "states", features, []
    for index in range(num_layers):
        is_last = index == num_layers - 1
        layer = _CELLS[cell](
            units, return_sequences=wants_states or not is_last, return_state=wants_states,
            zero_output_for_mask=masked and wants_states, name=f"rnn.l{index}", **how,
        )  # fmt: skip
        layer = layers.Bidirectional(layer, name=layer.name) if bidirectional else layer
        x = layer(x, mask=mask) if masked else layer(x)
        if wants_states:
            x, *last = x
            states += last
    if not wants_states:
        return keras.Model(inputs, layers.Dense(num_classes, dtype="float32", name="fc")(x), name=name)
    kinds = {"hidden": states[::2], "cell": states[1::2]} if cell == "lstm" else {"hidden": states}
    found = {"outputs": x, **{kind: stacked(each, kind) for kind, each in kinds.items()}}
    return keras.Model(inputs, found, name=name)

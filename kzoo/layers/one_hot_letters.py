"""Letters of biological sequences on their way into a network."""

import math
from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kzoo")
class LetterOneHot(layers.Layer):
    """Ids (batch, length) as one-hot vectors (batch, length, num_letters): the i-th letter has id i, counted from 1.

    Id 0, of a letter that is not known, becomes `unknown` in every place: 0, or 1 / num_letters for all letters alike.
    No weights. Raises ValueError for a number of letters that is no int of at least 1.
    """

    def __init__(self, num_letters, unknown=0.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if type(num_letters) is not int or num_letters < 1:
            raise ValueError(f"num_letters must be an int of at least 1, got {num_letters!r}")
        self.num_letters, self.unknown = num_letters, unknown

    def call(self, inputs) -> Any:
        # Compared, since ONNX and TensorFlow disagree about ids below 0 in a one-hot.
        ids = ops.expand_dims(inputs, -1)
        x = ops.cast(ops.equal(ids, ops.arange(1, self.num_letters + 1, dtype=inputs.dtype)), self.compute_dtype)
        return x if not self.unknown else x + self.unknown * ops.cast(ops.equal(ids, 0), self.compute_dtype)

    def compute_output_spec(self, inputs) -> Any:
        return keras.KerasTensor((*inputs.shape, self.num_letters), dtype=self.compute_dtype)

    def get_config(self) -> dict:
        return {**super().get_config(), "num_letters": self.num_letters, "unknown": self.unknown}


@keras.saving.register_keras_serializable("kzoo")
class ReverseComplement(layers.Layer):
    """Ids (batch, length) as the other strand reads them; no weights.

    Args:
        across: the id of the letter across from each id, from 0.
    """

    def __init__(self, across, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.across = tuple(across)

    def call(self, inputs) -> Any:
        return ops.flip(ops.take(ops.convert_to_tensor(self.across, dtype=inputs.dtype), inputs, axis=0), axis=1)

    def compute_output_spec(self, inputs) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


@keras.saving.register_keras_serializable("kzoo")
class StrandMean(layers.Layer):
    """[outputs, outputs] of both strands as outputs whose probabilities are the means of theirs; no weights.

    Args:
        kind: "softmax" or "sigmoid", which makes probabilities of the outputs, or "linear" where they are numbers.

    Raises ValueError for another kind.
    """

    def __init__(self, kind, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        if kind not in ("softmax", "sigmoid", "linear"):
            raise ValueError(f"kind must be softmax, sigmoid or linear, got {kind!r}")
        self.kind = kind

    def call(self, inputs) -> Any:
        one, other = inputs
        if self.kind == "linear":
            return (one + other) / 2
        if self.kind == "softmax":
            return ops.logaddexp(ops.log_softmax(one), ops.log_softmax(other)) - math.log(2)
        holds = ops.logaddexp(ops.log_sigmoid(one), ops.log_sigmoid(other))
        return holds - ops.logaddexp(ops.log_sigmoid(-one), ops.log_sigmoid(-other))

    def compute_output_shape(self, input_shape) -> tuple:
        return input_shape[0]

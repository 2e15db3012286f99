"""Letters of biological sequences on their way into a network."""

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

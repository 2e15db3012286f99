"""Small steps between the layers of sequence models: a token prepended, taken out or reversed, a split, a bias."""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kzoo")
class ClassToken(layers.Layer):
    """Puts one learned token before a sequence: (batch, length, hidden_dim) to (batch, length + 1, hidden_dim).

    Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3; the last layer's output at its place describes the
    whole sequence.

    Weight: `embedding` (1, 1, hidden_dim).
    """

    TENSORS = {"embedding": ("{}", "same")}  # a parameter of the network itself, under the layer's name

    def build(self, input_shape) -> None:
        self.embedding = self.add_weight((1, 1, input_shape[-1]), initializer="zeros", name="embedding")

    def call(self, inputs) -> Any:
        batch, _, hidden_dim = ops.shape(inputs)
        token = ops.broadcast_to(ops.convert_to_tensor(self.embedding), (batch, 1, hidden_dim))
        return ops.concatenate([ops.cast(token, inputs.dtype), inputs], axis=1)

    def compute_output_shape(self, input_shape) -> tuple:
        batch, length, hidden_dim = input_shape
        return (batch, None if length is None else length + 1, hidden_dim)


@keras.saving.register_keras_serializable("kzoo")
class Split(layers.Layer):
    """Splits the last axis, (..., num_parts * width), into a list of `num_parts` tensors (..., width); no weights.

    Raises ValueError for a number of parts that is no int of at least 1 or does not divide the axis.
    """

    def __init__(self, num_parts, **kwargs):
        super().__init__(**kwargs)
        if type(num_parts) is not int or num_parts < 1:
            raise ValueError(f"num_parts must be an int of at least 1, got {num_parts!r}")
        self.num_parts = num_parts

    def call(self, inputs) -> Any:
        return ops.split(inputs, self.num_parts, axis=-1)

    def compute_output_shape(self, input_shape) -> tuple:
        *others, size = input_shape
        if size % self.num_parts:
            raise ValueError(f"{self.name}: num_parts {self.num_parts} does not divide the last axis, {size}")
        return [(*others, size // self.num_parts)] * self.num_parts


@keras.saving.register_keras_serializable("kzoo")
class FirstToken(layers.Layer):
    """The first token's features: (batch, length, hidden_dim) to (batch, hidden_dim); no weights."""

    def call(self, inputs) -> Any:
        return inputs[:, 0]

    def compute_output_shape(self, input_shape) -> tuple:
        return (input_shape[0], input_shape[2])


@keras.saving.register_keras_serializable("kzoo")
class Reverse(layers.Layer):
    """Reverses a sequence, padding included: (batch, length, ...) with the last step first; no weights."""

    def call(self, inputs) -> Any:
        return ops.flip(inputs, axis=1)

    def compute_output_shape(self, input_shape) -> tuple:
        return input_shape


@keras.saving.register_keras_serializable("kzoo")
class Bias(layers.Layer):
    """Adds a vector to the last axis, for references that keep the bias of a tied output apart.

    Weight: `bias` (last axis).
    """

    TENSORS = {"bias": ("bias", "same")}

    def build(self, input_shape) -> None:
        self.bias = self.add_weight((input_shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs) -> Any:
        return inputs + self.bias

    def compute_output_shape(self, input_shape) -> tuple:
        return input_shape

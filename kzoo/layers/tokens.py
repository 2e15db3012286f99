"""Small steps between the layers of models: a token prepended, taken out or reversed, a split, a bias, a factor."""

import math
from typing import Any

import keras
from keras import layers, ops

from kzoo.layers.positions import token_positions


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
class EndToken(layers.Layer):
    """The features at the end of each text: (batch, length, hidden_dim) to (batch, hidden_dim); no weights.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.4.

    Args:
        end_id: the token whose first place ends a text; a text without it ends at its first token, as transformers has
            it. None: the first place of its highest id, which is the end token of CLIP's vocabulary.

    Call arguments:
        inputs: (batch, length, hidden_dim).
        token_ids: (batch, length), int.
    """

    def __init__(self, end_id=None, **kwargs):
        super().__init__(**kwargs)
        self.end_id = end_id

    def call(self, inputs, token_ids) -> Any:
        ids = token_ids if self.end_id is None else ops.cast(ops.equal(token_ids, self.end_id), "int32")
        places = ops.argmax(ids, axis=1)
        # Not by a product with a one among zeros, which LiteRT gets wrong in int8.
        chosen = ops.equal(token_positions(inputs)[None], ops.cast(places, "int32")[:, None])
        return ops.sum(ops.where(chosen[..., None], inputs, ops.zeros_like(inputs)), axis=1)

    def compute_output_shape(self, inputs_shape, token_ids_shape) -> tuple:
        return (inputs_shape[0], inputs_shape[2])


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


@keras.saving.register_keras_serializable("kzoo")
class AtMost(keras.constraints.Constraint):
    """Keeps a weight at or below `limit`."""

    def __init__(self, limit):
        self.limit = limit

    def __call__(self, w) -> Any:
        return ops.minimum(w, self.limit)

    def get_config(self) -> dict:
        return {"limit": self.limit}


@keras.saving.register_keras_serializable("kzoo")
class Temperature(layers.Layer):
    """Multiplies by a learned factor, the inverse temperature of a softmax: 1 / 0.07 at first, and never above 100.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 2.5. Every step of training is cut to the limit after
    it is taken; a file's value is used as it is.

    Weight: `scale` (), the factor's logarithm.
    """

    TENSORS = {"scale": ("{}", "same")}

    def build(self, input_shape) -> None:
        start = keras.initializers.Constant(math.log(1 / 0.07))
        self.scale = self.add_weight((), initializer=start, constraint=AtMost(math.log(100)), name="scale")

    def call(self, inputs) -> Any:
        return inputs * ops.cast(ops.exp(self.scale), inputs.dtype)

    def compute_output_shape(self, input_shape) -> tuple:
        return input_shape

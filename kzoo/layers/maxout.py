"""Maxout units: each gives the largest of several linear functions of its inputs."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kzoo")
class Maxout(layers.Layer):
    """The largest of every `num_pieces` neighbours: (..., units * num_pieces) to (..., units).

    Goodfellow et al. 2013, https://arxiv.org/abs/1302.4389, section 2; the linear pieces are the layer before it.
    Raises ValueError where the last axis is no multiple of `num_pieces`.
    """

    def __init__(self, num_pieces, **kwargs):
        super().__init__(**kwargs)
        self.num_pieces = num_pieces

    def compute_output_shape(self, input_shape) -> tuple:
        if input_shape[-1] % self.num_pieces:
            raise ValueError(f"{self.name}: num_pieces={self.num_pieces} must divide the last axis of {input_shape}")
        return (*input_shape[:-1], input_shape[-1] // self.num_pieces)

    def call(self, inputs) -> keras.KerasTensor:
        units = self.compute_output_shape(inputs.shape)[-1]
        return ops.max(ops.reshape(inputs, (*ops.shape(inputs)[:-1], units, self.num_pieces)), axis=-1)

    def get_config(self) -> dict:
        return {**super().get_config(), "num_pieces": self.num_pieces}

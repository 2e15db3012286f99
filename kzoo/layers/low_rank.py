"""A frozen linear map with a trained update of low rank."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kzoo")
class LowRankDense(layers.Layer):
    """activation(x W + b + (alpha / rank) x A B), where W and b are those of a frozen Dense layer.

    LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1. B starts at zero, so the layer starts as the
    Dense layer it holds; A starts as in the authors' code. Keras's own `Dense.enable_lora` adds the product A B to W,
    so its gradient is as large as W, and it has no dropout.

    Args:
        dense: the `keras.layers.Dense` to update. It is shared and becomes untrainable.
        rank: columns of A.
        alpha: the update is scaled by alpha / rank; `rank` by default.
        dropout: share of the inputs of A to drop while training, from 0 up to but not including 1.

    Weights: `lora_a` (inputs, rank), `lora_b` (rank, units), beside those of `dense`.
    """

    TENSORS = {  # as `peft` names the updates
        "kernel": ("weight", "kernel"),
        "bias": ("bias", "same"),
        "lora_a": ("lora_A.weight", "kernel"),
        "lora_b": ("lora_B.weight", "kernel"),
    }

    def __init__(self, dense, rank, alpha=None, dropout=0.0, **kwargs):
        kwargs = {"name": dense.name, "dtype": dense.dtype_policy, **kwargs}
        super().__init__(**kwargs)
        dense.trainable = False
        self.dense = dense
        self.rank = rank
        self.alpha = rank if alpha is None else alpha
        self.dropout = dropout
        self.seed_generator = keras.random.SeedGenerator() if dropout > 0 else None

    @property
    def kernel(self) -> keras.Variable:
        """The frozen W (inputs, units)."""
        return self.dense.kernel

    @property
    def bias(self) -> keras.Variable | None:
        """The frozen b (units,), or None."""
        return self.dense.bias

    @property
    def units(self) -> int:
        """Width of the output."""
        return self.dense.units

    @property
    def activation(self) -> Callable:
        """What is applied last."""
        return self.dense.activation

    @property
    def scale(self) -> float:
        """The factor of A B."""
        return self.alpha / self.rank

    def build(self, input_shape) -> None:
        if not self.dense.built:
            self.dense.build(input_shape)
        # uniform between -1 / sqrt(inputs) and 1 / sqrt(inputs)
        initializer = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
        self.lora_a = self.add_weight((input_shape[-1], self.rank), initializer=initializer, name="lora_a")
        self.lora_b = self.add_weight((self.rank, self.units), initializer="zeros", name="lora_b")

    def call(self, inputs, training=False) -> Any:
        x = inputs
        if training and self.dropout > 0:
            x = keras.random.dropout(x, self.dropout, seed=self.seed_generator)
        update = ops.matmul(ops.matmul(x, self.lora_a), self.lora_b) * self.scale
        x = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            x = ops.add(x, self.bias)
        x = ops.add(x, update)
        return x if self.activation is None else self.activation(x)

    def compute_output_shape(self, input_shape) -> tuple:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "dense": keras.saving.serialize_keras_object(self.dense),
            "rank": self.rank,
            "alpha": self.alpha,
            "dropout": self.dropout,
        }

    @classmethod
    def from_config(cls, config) -> Any:
        return cls(**{**config, "dense": keras.saving.deserialize_keras_object(config["dense"])})

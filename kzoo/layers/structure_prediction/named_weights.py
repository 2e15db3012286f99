"""What layers of this room share: weights under the names of DeepMind's modules, and the maps that they are of."""

import keras
from keras import layers, ops

EPSILON = 1e-5  # of layer normalisation, Haiku's
# how DeepMind's code begins: `linear` for a plain map, `relu` before a ReLU, `glorot` for attention, `final` for the
# last map of a residual, which begins as nothing
INITIALIZERS = {
    "linear": {"class_name": "LecunNormal", "config": {}},
    "relu": {"class_name": "HeNormal", "config": {}},
    "glorot": {"class_name": "GlorotUniform", "config": {}},
    "final": "zeros",
    "gate": "zeros",
    "zeros": "zeros",
    "ones": "ones",
}


class NamedWeights(layers.Layer):
    """A layer whose weights are found under the paths of DeepMind's modules.

    `PATHS` of a class lists them; an attribute is called as its path is, with underscores for dots.
    """

    PATHS = ()

    @property
    def TENSORS(self) -> dict:
        """{variable: (tensor, layout)}, as kzoo/weights/layouts.py reads it."""
        return {path.replace(".", "_"): (path, "same") for path in self.PATHS}

    def weight(self, path, shape, start) -> None:
        """Adds a weight; `start` is a key of INITIALIZERS or an initializer."""
        if path not in self.PATHS:
            raise ValueError(f"{type(self).__name__} does not list {path} in PATHS")
        start = INITIALIZERS.get(start, start) if isinstance(start, str) else start
        attribute = path.replace(".", "_")
        setattr(self, attribute, self.add_weight(shape=shape, initializer=start, name=attribute))

    def norm_weights(self, path, width) -> None:
        """Adds those of a layer normalisation."""
        self.weight(f"{path}.scale", (width,), "ones")
        self.weight(f"{path}.offset", (width,), "zeros")

    def linear_weights(self, path, inputs, outputs, start="linear", bias="zeros") -> None:
        """Adds those of a linear map."""
        self.weight(f"{path}.weights", (inputs, outputs), start)
        self.weight(f"{path}.bias", (outputs,), bias)

    def norm(self, path, x) -> keras.KerasTensor:
        """Layer normalisation over the last axis, computed in float32."""
        path = path.replace(".", "_")
        scale, offset = getattr(self, f"{path}_scale"), getattr(self, f"{path}_offset")
        return ops.layer_normalization(x, scale, offset, axis=-1, epsilon=EPSILON)

    def linear(self, path, x) -> keras.KerasTensor:
        """A linear map of the last axis."""
        path = path.replace(".", "_")
        return product(x, getattr(self, f"{path}_weights")) + getattr(self, f"{path}_bias")


def product(x, matrix) -> keras.KerasTensor:
    """x (..., inputs) by a matrix (inputs, outputs), as one product of matrices."""
    flat = ops.reshape(x, (-1, matrix.shape[0]))
    return ops.reshape(ops.matmul(flat, matrix), (*ops.shape(x)[:-1], matrix.shape[-1]))


def softmax(logits, axis=-1) -> keras.KerasTensor:
    """Computed in float32, in the dtype of the logits; ones along an axis of one place, of which Keras warns."""
    if logits.shape[axis] == 1:
        return ops.ones_like(logits)
    return ops.cast(ops.softmax(ops.cast(logits, "float32"), axis=axis), logits.dtype)

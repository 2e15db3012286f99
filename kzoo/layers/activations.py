"""Activations of the references in the form that CPUs and runtimes are fast at, as functions that files can name."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("kzoo")
def gelu(x) -> keras.KerasTensor:
    """GELU, as BERT and ViT have it: x times the normal distribution's share below x, of any shape
    (Hendrycks, Gimpel 2016, https://arxiv.org/abs/1606.08415, section 2).

    Keras writes it by `erfc`, which takes TensorFlow longer on a CPU and which OpenVINO does not fuse into the product
    before it. Half precision keeps to that form: 1 + erf has no digits left there where erf is near -1.
    """
    if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16"):
        return ops.gelu(x, approximate=False)
    return 0.5 * x * (1 + ops.erf(x * 0.5**0.5))


@keras.saving.register_keras_serializable("kzoo")
def gelu_tanh(x) -> keras.KerasTensor:
    """GELU by its tanh approximation, as GPT-2 has it (same paper)."""
    return ops.gelu(x, approximate=True)


@keras.saving.register_keras_serializable("kzoo")
def quick_gelu(x) -> keras.KerasTensor:
    """GELU by a sigmoid, x sigmoid(1.702 x), as OpenAI's CLIP has it (same paper)."""
    return x * ops.sigmoid(1.702 * x)

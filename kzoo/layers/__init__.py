"""Layers that own weights or subtle mathematics and serve more than one model; `keras.ops` only."""

from kzoo.layers.activations import gelu, gelu_tanh, quick_gelu
from kzoo.layers.attention import DotProductAttention, multi_head_attention, scaled_dot_product_attention
from kzoo.layers.low_rank import LowRankDense
from kzoo.layers.maxout import Maxout
from kzoo.layers.normalization import LocalResponseNormalization
from kzoo.layers.pooling import AdaptiveAveragePooling2D, MaskedAveragePooling1D
from kzoo.layers.positions import LearnedPositions, RelativePositionBias, RotaryPositions, SinusoidalPositions
from kzoo.layers.pyramids import NearestResize
from kzoo.layers.tokens import Bias, ClassToken, EndToken, FirstToken, Reverse, Split, Temperature

__all__ = [
    "AdaptiveAveragePooling2D",
    "Bias",
    "ClassToken",
    "DotProductAttention",
    "EndToken",
    "FirstToken",
    "LearnedPositions",
    "LocalResponseNormalization",
    "LowRankDense",
    "MaskedAveragePooling1D",
    "Maxout",
    "NearestResize",
    "RelativePositionBias",
    "Reverse",
    "RotaryPositions",
    "SinusoidalPositions",
    "Split",
    "Temperature",
    "gelu",
    "gelu_tanh",
    "multi_head_attention",
    "quick_gelu",
    "scaled_dot_product_attention",
]

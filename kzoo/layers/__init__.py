"""Layers that own weights or subtle mathematics and serve more than one model; `keras.ops` only."""

from kzoo.layers.attention import DotProductAttention, multi_head_attention, scaled_dot_product_attention
from kzoo.layers.normalization import LocalResponseNormalization
from kzoo.layers.pooling import AdaptiveAveragePooling2D
from kzoo.layers.positions import LearnedPositions, RelativePositionBias, RotaryPositions, SinusoidalPositions
from kzoo.layers.tokens import ClassToken, Split

__all__ = [
    "AdaptiveAveragePooling2D",
    "ClassToken",
    "DotProductAttention",
    "LearnedPositions",
    "LocalResponseNormalization",
    "RelativePositionBias",
    "RotaryPositions",
    "SinusoidalPositions",
    "Split",
    "multi_head_attention",
    "scaled_dot_product_attention",
]

"""Layers that own weights or subtle mathematics and serve more than one model; `keras.ops` only."""

from kzoo.layers.attention import DotProductAttention, multi_head_attention, scaled_dot_product_attention
from kzoo.layers.normalization import LocalResponseNormalization
from kzoo.layers.pooling import AdaptiveAveragePooling2D
from kzoo.layers.positions import LearnedPositions, RelativePositionBias, RotaryPositions, SinusoidalPositions

__all__ = [
    "AdaptiveAveragePooling2D",
    "DotProductAttention",
    "LearnedPositions",
    "LocalResponseNormalization",
    "RelativePositionBias",
    "RotaryPositions",
    "SinusoidalPositions",
    "multi_head_attention",
    "scaled_dot_product_attention",
]

"""Walking, replaying and joining flat functional graphs."""

from kzoo.graph.walking import (
    Call,
    Step,
    calls,
    features,
    find_tap,
    layers_before,
    longest_sequence,
    num_bytes,
    record,
    replace_layers,
    replay,
    require_flat,
    strides,
)

__all__ = [
    "Call", "Step", "calls", "features", "find_tap", "layers_before", "longest_sequence", "num_bytes", "record",
    "replace_layers", "replay", "require_flat", "strides",
]  # fmt: skip

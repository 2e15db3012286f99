"""Walking, replaying and joining flat functional graphs."""

from kzoo.graph.embedding import embed
from kzoo.graph.walking import (
    Call,
    Step,
    calls,
    check_image_size,
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
    "Call",
    "Step",
    "calls",
    "check_image_size",
    "embed",
    "features",
    "find_tap",
    "layers_before",
    "longest_sequence",
    "num_bytes",
]
__all__ += ["record", "replace_layers", "replay", "require_flat", "strides"]

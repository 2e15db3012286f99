"""oneDNN: TensorFlow's faster kernels for CPUs, on where TensorFlow would leave them off.

TensorFlow turns them on by itself only on processors with instructions such as AVX-512 VNNI, and reads the switch once,
when it is loaded. With AVX2 alone, training steps were measured 1.2 (ResNet-50, BERT-base) to 2.1 times (LSTM) as fast
with them. One image at a time through `predict_on_batch` was 0.85 times as fast, because oneDNN then reorders the
weights of every convolution in each call; `kzoo.fast` holds constants, which are reordered once. Sums are taken in
another order, so outputs differ in their last bits.
"""

import os
import sys

SWITCH = "TF_ENABLE_ONEDNN_OPTS"


def turn_on() -> None:
    """Turns oneDNN on for this process and those it starts, unless TensorFlow is loaded or the user has chosen."""
    if "tensorflow" not in sys.modules:
        os.environ.setdefault(SWITCH, "1")


def describe() -> str:
    """Whether oneDNN is on, as far as is known, for people."""
    chosen = os.environ.get(SWITCH)
    if chosen is None:
        return f"oneDNN as TensorFlow chose (import kzoo before keras, or set {SWITCH}=1, for faster steps)"
    return f"oneDNN {'off' if chosen == '0' else 'on'} ({SWITCH}={chosen})"

"""Makes tests/golden/timm_channels.safetensors: how timm adapts a first convolution to other numbers of channels.

In an environment of its own:

    pip install torch==2.13.0 safetensors numpy && pip install --no-deps timm torchvision pillow
    python scripts/golden/timm_channels.py
"""

import pathlib
import sys
import types

import safetensors.torch
import torch

sys.modules["torchvision._meta_registrations"] = types.ModuleType("unused")  # its operators match no CPU build of torch
from timm.models import adapt_input_conv  # noqa: E402

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "timm_channels.safetensors"

if __name__ == "__main__":
    torch.manual_seed(0)
    kernel = torch.randn(4, 3, 3, 3)
    adapted = {f"channels.{count}": adapt_input_conv(count, kernel.clone()).contiguous() for count in (1, 2, 3, 4, 7)}
    safetensors.torch.save_file({"kernel": kernel, **adapted}, GOLDEN)
    print(f"{GOLDEN}: {GOLDEN.stat().st_size:,} bytes")

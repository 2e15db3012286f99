"""Makes tests/golden/timm_channels.safetensors: how timm adapts a first convolution to other
numbers of channels, and positions of patches to other sizes of images.

In an environment of its own:

    pip install torch==2.13.0 safetensors numpy && pip install --no-deps timm torchvision pillow
    python scripts/golden/timm_channels.py
"""

import torch
import writing
from torchvision_networks import import_torchvision

import_torchvision()  # which timm imports too
from timm.layers import resample_abs_pos_embed  # noqa: E402
from timm.models import adapt_input_conv  # noqa: E402

if __name__ == "__main__":
    torch.manual_seed(0)
    kernel = torch.randn(4, 3, 3, 3)
    adapted = {f"channels.{count}": adapt_input_conv(count, kernel.clone()).numpy() for count in (1, 2, 3, 4, 7)}
    positions = torch.randn(1, 1 + 4 * 4, 6)
    grids = {"positions": positions} | {
        f"positions.{rows}.{columns}": resample_abs_pos_embed(positions, [rows, columns])
        for rows, columns in ((2, 3), (7, 4), (6, 5))
    }
    grids = {name: value.numpy() for name, value in grids.items()}
    writing.write("timm_channels", {"kernel": kernel.numpy(), **adapted, **grids})

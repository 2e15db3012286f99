"""Makes the golden files of the networks of diffusion from `diffusers` and transformers, and checks the way back.

Weights are drawn by tests/seeded_weights.py, so the files hold inputs and outputs only. In an environment of its own:

    pip install torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 safetensors numpy
    python scripts/golden/diffusion_networks.py

The way back, at full size: kzoo writes a checkpoint and its output, where kzoo is installed; diffusers loads the
checkpoint strictly and must give the same output.

    PYTHONPATH=. python scripts/golden/diffusion_networks.py --write FOLDER NAME ...
    python scripts/golden/diffusion_networks.py --check-back FOLDER
"""

import numpy as np
import writing
from seeded_weights import draw_images

TIMESTEPS = np.array([3, 917], "float32")  # of the two examples of a batch
SIZE = (12, 20)


def unet_2d(diffusers, **how):
    """A network of three levels, with attention in the second."""
    return diffusers.UNet2DModel(
        in_channels=3,
        out_channels=5,
        block_out_channels=(8, 12, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        **how,
    )


def references():
    """{case: (module, inputs as kzoo takes them, function of the module and these that gives outputs by name)}."""
    import diffusers

    sample = draw_images(*SIZE)
    ddpm = {"attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1}
    return {
        "unet_2d": (
            unet_2d(diffusers, attention_head_dim=4), {"sample": sample, "timestep": TIMESTEPS}, run_unet
        ),
        "unet_2d_ddpm": (
            unet_2d(diffusers, norm_eps=1e-6, **ddpm), {"sample": sample, "timestep": TIMESTEPS}, run_unet
        ),
    }  # fmt: skip


def channels_first(array):
    import torch

    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def channels_last(tensor):
    return tensor.numpy().transpose(0, 2, 3, 1)


def run_unet(module, sample, timestep):
    import torch

    return {"prediction": channels_last(module(channels_first(sample), torch.from_numpy(timestep)).sample)}


def make():
    import diffusers
    import torch

    for case, (module, inputs, run) in references().items():
        writing.load_drawn(module.eval())
        with torch.no_grad():
            outputs = run(module, **inputs)
        tensors = {f"input.{name}": value for name, value in inputs.items()}
        tensors |= {f"output.{case}.{name}": value for name, value in outputs.items()}
        writing.write(f"diffusers_{case}", tensors, diffusers=diffusers.__version__, torch=torch.__version__)


if __name__ == "__main__":
    writing.main(__doc__, make)

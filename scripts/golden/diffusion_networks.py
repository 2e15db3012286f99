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


def unet_condition(diffusers, **how):
    """A network of two levels, the second of which reads texts."""
    return diffusers.UNet2DConditionModel(
        in_channels=4,
        out_channels=5,
        block_out_channels=(8, 12),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=6,
        **how,
    )


def autoencoder(kind, **how):
    return kind(
        block_out_channels=(8, 12),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        **how,
    )


def clip_text(activation):
    import transformers

    sizes = {"vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "max_position_embeddings": 9}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_act": activation, "eos_token_id": 30}
    return transformers.CLIPTextModel(transformers.CLIPTextConfig(**sizes, **layers))


def references():
    """{case: (module, inputs as kzoo takes them, function of the module and these that gives outputs by name)}."""
    import diffusers

    random = np.random.default_rng(5)
    noisy = {"sample": draw_images(*SIZE), "timestep": TIMESTEPS}
    noisy_latents = {"sample": draw_images(*SIZE, 4), "timestep": TIMESTEPS}
    noisy_latents["encoder_hidden_states"] = random.standard_normal((2, 7, 6), "float32")
    picture = {"image": draw_images(*SIZE) / 4, "latents": draw_images(6, 10, 4)}
    ddpm = {"attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1}
    texts = {"token_ids": random.integers(0, 31, (2, 8), "int32")}
    kl = autoencoder(diffusers.AutoencoderKL, latent_channels=4)
    vq = autoencoder(diffusers.VQModel, latent_channels=3, vq_embed_dim=4, num_vq_embeddings=9)
    return {
        "unet_2d": (unet_2d(diffusers, attention_head_dim=4), noisy, run_unet),
        "unet_2d_ddpm": (unet_2d(diffusers, norm_eps=1e-6, **ddpm), noisy, run_unet),
        "unet_condition": (unet_condition(diffusers, attention_head_dim=2), noisy_latents, run_unet),
        "unet_condition_linear": (
            unet_condition(diffusers, attention_head_dim=(2, 3), use_linear_projection=True), noisy_latents, run_unet
        ),
        "autoencoder_kl": (kl, picture, run_autoencoder),
        "vq_model": (vq, picture, run_autoencoder),
        "clip_text": (clip_text("quick_gelu"), texts, run_text),
        "clip_text_gelu": (clip_text("gelu"), texts, run_text),
    }  # fmt: skip


def channels_first(array):
    import torch

    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def channels_last(tensor):
    return tensor.numpy().transpose(0, 2, 3, 1)


def run_unet(module, sample, timestep, **states):
    import torch

    states = {name: torch.from_numpy(value) for name, value in states.items()}
    found = module(channels_first(sample), torch.from_numpy(timestep), **states)
    return {"prediction": channels_last(found.sample)}


def run_autoencoder(module, image, latents):
    encoded = module.encode(channels_first(image))
    decoded = channels_last(module.decode(channels_first(latents)).sample)
    if hasattr(encoded, "latents"):
        return {"encoded": channels_last(encoded.latents), "decoded": decoded}
    return {"moments": channels_last(encoded.latent_dist.parameters), "decoded": decoded}


def run_text(module, token_ids):
    import torch

    return {"prediction": module(torch.from_numpy(token_ids).long()).last_hidden_state.numpy()}


def published(name):
    """The name of a text encoder's tensor as it was published, which transformers 5 writes without its first part."""
    return f"text_model.{name}" if name.startswith(("embeddings.", "encoder.layers.", "final_layer")) else name


def make():
    import diffusers
    import torch

    for case, (module, inputs, run) in references().items():
        rename = published if case.startswith("clip") else lambda name: name
        writing.load_drawn(module.eval(), rename)
        with torch.no_grad():
            outputs = run(module, **inputs)
        tensors = {f"input.{name}": value for name, value in inputs.items()}
        tensors |= {f"output.{case}.{name}": value for name, value in outputs.items()}
        writing.write(f"diffusers_{case}", tensors, diffusers=diffusers.__version__, torch=torch.__version__)


if __name__ == "__main__":
    writing.main(__doc__, make)

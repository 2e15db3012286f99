"""Makes the golden files of the networks of diffusion from `diffusers` and transformers, and checks the way back.

Weights are drawn by tests/seeded_weights.py, so the files hold inputs and outputs only; so do the folders of whole
pipelines in tests/golden/pipelines, as `diffusers` saves them, without weights. Outputs hardly show the constants of
norms, which stand in diffusion_epsilons.json. In an environment of its own:

    pip install torch==2.13.0 diffusers==0.42.1 transformers==5.24.0 safetensors numpy
    python scripts/golden/diffusion_networks.py

The way back: kzoo writes folders with random weights of full size, and outputs for small pictures, where kzoo is
installed; diffusers loads them as pipelines, every tensor of them, and must give the same outputs.

    PYTHONPATH=. python scripts/golden/diffusion_networks.py --write FOLDER NAME ...
    python scripts/golden/diffusion_networks.py --check-back FOLDER
"""

import json
import pathlib
import shutil

import numpy as np
import writing
from seeded_weights import draw_images
from writing import GOLDEN

SMALL_PICTURES = {
    "ddpm_cifar10": {},
    "ldm_celebahq": {"unet": {"input_shape": (16, 24, 3)}, "vqvae": {"input_shape": (64, 96, 3)}},
    **dict.fromkeys(
        ("stable_diffusion_1_5", "stable_diffusion_2_1"),
        {"unet": {"input_shape": (16, 24, 4)}, "vae": {"input_shape": (128, 192, 3)}},
    ),
}
PROMPTS = ["A red apple, isn't it?", ""]
TIMESTEPS = np.array([3, 917], "float32")  # of the two examples of a batch
SIZE = (12, 20)


def unet_2d(diffusers, out_channels=5, **how):
    """A network of three levels, with attention in the second."""
    return diffusers.UNet2DModel(
        in_channels=3,
        out_channels=out_channels,
        block_out_channels=(8, 12, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        **how,
    )


def unet_condition(diffusers, out_channels=5, **how):
    """A network of two levels, the second of which reads texts."""
    return diffusers.UNet2DConditionModel(
        in_channels=4,
        out_channels=out_channels,
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


def renamed(case):
    """From the names of a module's tensors to those here."""
    return published if case == "text_encoder" or case.startswith("clip") else lambda name: name


def draw(case, module):
    writing.load_drawn(module.eval(), renamed(case))
    return module


def make():
    import diffusers
    import torch

    epsilons = {}
    for case, (module, inputs, run) in references().items():
        draw(case, module)
        rename = renamed(case)
        epsilons[case] = {rename(name): one.eps for name, one in module.named_modules() if hasattr(one, "eps")}
        with torch.no_grad():
            outputs = run(module, **inputs)
        tensors = {f"input.{name}": value for name, value in inputs.items()}
        tensors |= {f"output.{case}.{name}": value for name, value in outputs.items()}
        writing.write(f"diffusers_{case}", tensors, diffusers=diffusers.__version__, torch=torch.__version__)
    (GOLDEN / "diffusion_epsilons.json").write_text(json.dumps(epsilons, indent=0) + "\n")
    make_pipelines()


def make_pipelines():
    """Folders of pipelines without weights, and what their networks give for a prompt or for noise alone."""
    import diffusers
    import torch
    import transformers

    tokenizer = transformers.CLIPTokenizer.from_pretrained(GOLDEN / "tokenizers" / "clip", model_max_length=9)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 6, "intermediate_size": 10, "max_position_embeddings": 9}
    config = transformers.CLIPTextConfig(**sizes, **ends, num_hidden_layers=1, num_attention_heads=2)
    scheduler = diffusers.PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1)
    parts = {
        "text_encoder": transformers.CLIPTextModel(config),
        "unet": unet_condition(diffusers, out_channels=4, attention_head_dim=2, sample_size=SIZE),
        "vae": autoencoder(diffusers.AutoencoderKL, latent_channels=4, sample_size=(24, 40)),
    }
    words = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = diffusers.StableDiffusionPipeline(**parts, tokenizer=tokenizer, scheduler=scheduler, **words)
    save(pipeline, parts)
    with torch.no_grad():
        ids = tokenizer(PROMPTS, padding="max_length", max_length=9, truncation=True, return_tensors="pt").input_ids
        states = parts["text_encoder"](ids).last_hidden_state
        given = {"sample": draw_images(*SIZE, 4), "timestep": TIMESTEPS, "encoder_hidden_states": states.numpy()}
        found = {"token_ids": ids.int().numpy(), "prediction": run_unet(parts["unet"], **given)["prediction"]}
    writing.write("pipeline_stable_diffusion", found, diffusers=diffusers.__version__)

    parts = {"unet": unet_2d(diffusers, out_channels=3, attention_head_dim=None, sample_size=SIZE)}
    save(diffusers.DDPMPipeline(**parts, scheduler=diffusers.DDPMScheduler(prediction_type="v_prediction")), parts)


def save(pipeline, parts):
    """Draws the weights of a pipeline's parts, and saves all of it but these."""
    for part, module in parts.items():
        draw(part, module)
    name = {"StableDiffusionPipeline": "stable_diffusion", "DDPMPipeline": "ddpm"}[type(pipeline).__name__]
    folder = GOLDEN / "pipelines" / name
    shutil.rmtree(folder, ignore_errors=True)
    pipeline.save_pretrained(folder)
    for path in folder.rglob("*"):
        if path.suffix == ".safetensors" or path.name in ("tokenizer.json", ".gitignore"):
            path.unlink()


def write(folder, *names):
    """Folders of whole pipelines with random weights, as kzoo writes them, and what each part gives."""
    import keras
    import safetensors.numpy

    import kzoo
    from kzoo.data import Tokenizer
    from kzoo.data.synthetic import synthetic_inputs

    keras.utils.set_random_seed(0)
    for name in names:
        assembly = kzoo.build(name, **SMALL_PICTURES[name])
        for model in assembly.values():
            for layer in model.layers:
                if type(layer).__name__ == "VectorQuantizer":
                    # At first all codes lie closer together than torch's distances to far vectors can tell.
                    layer.embeddings.assign(keras.random.normal(layer.embeddings.shape))
            if model.inputs[0].name == "token_ids":
                kzoo.catalog.update_card(model, tokenizer=Tokenizer.load(GOLDEN / "tokenizers" / "clip"))
        kzoo.save_weights(assembly, pathlib.Path(folder) / name, names="diffusers")
        for part, model in assembly.items():
            x = synthetic_inputs(model, 1, np.random.default_rng(0), 77)
            outputs = model(x)
            x = x if isinstance(x, dict) else {model.inputs[0].name: x}
            y = outputs if isinstance(outputs, dict) else {"prediction": outputs}
            tensors = {f"input.{key}": np.asarray(value) for key, value in x.items()}
            tensors |= {f"output.{key}": np.asarray(value) for key, value in y.items()}
            safetensors.numpy.save_file(tensors, pathlib.Path(folder) / f"{name}.{part}.safetensors")


def check_back(folder):
    """Pipelines of diffusers from these folders; their parts must give the same, 1e-4 of the scale at full size."""
    import diffusers
    import safetensors.numpy
    import torch

    for path in sorted(pathlib.Path(folder).glob("*.*.safetensors")):
        name, part, _ = path.name.split(".")
        index = json.loads((path.parent / name / "model_index.json").read_text())
        library, kind = index[part]
        kind = getattr(diffusers if library == "diffusers" else __import__(library), kind)
        module, told = kind.from_pretrained(path.parent / name / part, output_loading_info=True)
        if any(told[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
            raise SystemExit(f"{path}: {told}")
        tensors = safetensors.numpy.load_file(path)
        inputs = {key.removeprefix("input."): value for key, value in tensors.items() if key.startswith("input.")}
        run = run_text if "token_ids" in inputs else run_autoencoder if "image" in inputs else run_unet
        with torch.no_grad():
            found = run(module.eval(), **inputs)
        for key, value in found.items():
            ours = tensors[f"output.{key}"]
            difference = np.abs(ours - value).max() / np.abs(value).max()
            print(
                f"{name} {part} {key}: nothing missing or unexpected; largest difference {difference:.1e} of the scale"
            )
            if not difference <= 1e-4:
                raise SystemExit(1)


if __name__ == "__main__":
    writing.main(__doc__, make, write=(write, ("FOLDER", "[NAME]")), check_back=(check_back, ("FOLDER",)))

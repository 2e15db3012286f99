"""Stable Diffusion: pictures from words, by diffusion in the latents of an autoencoder.

Rombach et al. 2022, https://arxiv.org/abs/2112.10752, section 3. `stable_diffusion_2_1` is for pictures of 768 pixels
and predicts v (Salimans and Ho 2022); `latent_diffusion_small` is the same for pictures of 32 pixels.
"""

TASK = "image_diffusion"
AGREES_WITH = "`diffusers.StableDiffusionPipeline`"
PARTS = {
    "text_encoder": {"model": "clip_text_l_14"},
    "unet": {"model": "unet_condition_sd1"},
    "vae": {"model": "autoencoder_kl_f8"},
}
VARIANTS = {
    "stable_diffusion_1_5": {},
    "stable_diffusion_2_1": {
        "text_encoder": {"model": "clip_text_h_14"},
        "unet": {"model": "unet_condition_sd2"},
        "vae": {"input_shape": (768, 768, 3)},
    },
    "latent_diffusion_small": {
        "text_encoder": {"model": "clip_text_small"},
        "unet": {
            "model": "unet_condition_tiny",
            "filters": (64, 128),
            "down_blocks": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_blocks": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            "num_layers": 1,
            "num_heads": (2, 4),
            "context_dim": 64,
            "input_shape": (8, 8, 4),
        },
        "vae": {"model": "autoencoder_kl_small"},
    },
}
NOISE = {
    "stable_diffusion_1_5": {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "skip_prk_steps": True,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
    "stable_diffusion_2_1": {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": "v_prediction",
    },
    "latent_diffusion_small": {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
}
PIPELINE = {"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False}

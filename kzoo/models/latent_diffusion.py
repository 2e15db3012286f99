"""LatentDiffusion: pictures from noise alone, by diffusion in the latents of an autoencoder with a codebook.

Rombach et al. 2022, https://arxiv.org/abs/2112.10752, section 4.1 and table 12: faces of CelebA-HQ.
"""

TASK = "image_diffusion"
AGREES_WITH = "`diffusers.LDMPipeline`"
PARTS = {"unet": {"model": "unet_2d_celebahq"}, "vqvae": {"model": "vq_f4"}}
VARIANTS = {"ldm_celebahq": {}}
NOISE = {
    "ldm_celebahq": {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.0015,
        "beta_end": 0.0195,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
    },
}
PIPELINE = {"_class_name": "LDMPipeline"}

"""DDPM: pictures from noise alone, by diffusion of their pixels.

Ho et al. 2020, https://arxiv.org/abs/2006.11239, section 4 and appendix B: CIFAR-10.
"""

TASK = "image_diffusion"
AGREES_WITH = "`diffusers.DDPMPipeline`"
PARTS = {"unet": {"model": "unet_2d_cifar10"}}
VARIANTS = {"ddpm_cifar10": {}}
NOISE = {"ddpm_cifar10": {"_class_name": "DDPMScheduler", "variance_type": "fixed_large"}}
PIPELINE = {"_class_name": "DDPMPipeline"}

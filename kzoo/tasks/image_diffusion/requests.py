"""What a user asks a model of diffusion for: checked, made, and put into pictures."""

import numpy as np
from keras import ops

from kzoo.data import columns
from kzoo.data.checks import check_count
from kzoo.generation import denoising, noise_schedules, samplers
from kzoo.support import forks


def generate(
    task, model, num_images=1, num_steps=50, sampler=None, eta=0.0, image=None, strength=0.8, mask=None, seed=0,
    progress=None, xla=False,
) -> np.ndarray:  # fmt: skip
    """Makes pictures out of noise, uint8 (num_images, height, width, channels).

    What the i-th picture is depends on the seed and on i, not on how many there are. A program is compiled once for
    each number of pictures, whatever the sampler and its steps.

    Args:
        num_steps: how often the network is asked, but twice a step by "heun".
        sampler: one of `kzoo.generation.samplers.SAMPLERS`; by default that of the model's own schedule of noise.
        eta: of "ddim", how much of DDPM's noise is added.
        image: a picture to change, uint8 or floats in [0, 1], (height, width, channels), of the model's size.
        strength: how much of it, from 0, which gives it back, to 1, which leaves nothing of it but its mean.
        mask: where to paint anew, (height, width), bool or 0 and 1; the rest of `image` stays as it is.
        progress: a function of the steps done, of all steps, and of the pictures seen so far, uint8.
        xla: whether XLA compiles the loop; if not, TensorFlow runs its own operations.

    Raises ValueError or TypeError that name the argument; FloatingPointError where the network gives no numbers.
    """
    forks.check("kzoo.generate")
    check_count("num_images", num_images)
    check_count("seed", seed, minimum=0)
    shape = (num_images, *columns.inputs_of(model)["sample"].shape)
    if None in shape:
        raise ValueError(f"{model.name} takes pictures of any size; build it with an input_shape")
    noise = task.noise(model)
    noise_schedules.check_steps(num_steps, noise_schedules.settings_of(noise, samplers.SAMPLERS, sampler))
    begin, start = 0, None
    if image is None and mask is not None:
        raise ValueError("mask says which part of `image` to paint anew; pass the image too")
    if image is not None:
        picture = _picture(image, shape[1:])
        begin = num_steps - _steps_of(strength, num_steps)
        if begin == num_steps:
            return np.repeat(_to_uint8(picture), num_images, axis=0)
        start = denoising.Start(np.repeat(picture, num_images, axis=0), _mask(mask, shape[1:]))
    plan = samplers.plan(noise, num_steps, sampler, eta, begin)
    seen = progress and (lambda done, total, clean: progress(done, total, _to_uint8(clean)))
    found = denoising.denoise(model, plan, shape, seed=seed, start=start, progress=seen, xla=xla)
    return _to_uint8(found)


def _to_uint8(pictures):
    return ops.convert_to_numpy(denoising.to_uint8(pictures))


def _steps_of(strength, num_steps):
    if isinstance(strength, bool) or not isinstance(strength, int | float):
        raise TypeError(f"strength must be a number, got {strength!r}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be between 0 and 1, got {strength!r}")
    return min(int(num_steps * strength), num_steps)


def _picture(image, shape):
    """A picture (1, height, width, channels) in [-1, 1]."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[-1] == 1 and shape[-1] == 3:
        image = np.repeat(image, 3, axis=-1)
    if image.shape != tuple(shape):
        raise ValueError(f"image has shape {image.shape}; wanted {tuple(shape)}, resize it first")
    if image.dtype == np.uint8:
        image = image / np.float32(255)
    elif image.dtype.kind != "f" or not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
        raise ValueError(
            f"image is {image.dtype} from {image.min()} to {image.max()}; wanted uint8, or floats in [0, 1]"
        )
    return image[None].astype(np.float32) * 2 - 1


def _mask(mask, shape):
    if mask is None:
        return None
    mask = np.asarray(mask)
    if mask.shape != tuple(shape[:2]):
        raise ValueError(f"mask has shape {mask.shape}; wanted that of the image, {tuple(shape[:2])}")
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ValueError(f"mask holds {np.unique(mask)[:5]}; wanted True or 1 where to paint anew, else False or 0")
    return mask[None, ..., None].astype(np.float32)

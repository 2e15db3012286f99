"""What a user asks networks of diffusion for: checked, made, and put into pictures."""

import dataclasses
import logging
from typing import Any

import numpy as np
from keras import ops

from kzoo.data.checks import check_count
from kzoo.generation import denoising, noise_schedules, samplers
from kzoo.support import forks
from kzoo.tasks.image_diffusion.networks import networks_of

GUIDANCE = 7.5  # of Stable Diffusion


@dataclasses.dataclass(frozen=True)
class Words:
    """What texts say of pictures, and how far the pictures go with them.

    Args:
        prompt: a text or several.
        negative_prompt: what the pictures go away from; nothing by default.
        guidance: how far from the negative prompt towards the prompt answers go: 1 takes those of the prompt as they
            are, 0 those of the negative prompt; Ho and Salimans 2021 count from 0, diffusers as here.
        rescale: how much of the guided answers' spread is brought back, Lin et al. 2024, section 3.4.
    """

    prompt: str | list
    negative_prompt: str = ""
    guidance: float = GUIDANCE
    rescale: float = 0.0

    def __post_init__(self):
        texts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if not isinstance(texts, list | tuple) or not all(
            isinstance(text, str) for text in (*texts, self.negative_prompt)
        ):
            raise TypeError(
                f"prompt must be a text or a list of texts, got {self.prompt!r}, and negative_prompt a text"
            )
        if not texts:
            raise ValueError("prompt is an empty list; pass at least one text, which may be empty")
        for name, most in (("guidance", None), ("rescale", 1)):
            _check_number(name, getattr(self, name), most)

    @property
    def texts(self) -> list:
        """The prompts as a list."""
        return [self.prompt] if isinstance(self.prompt, str) else list(self.prompt)


def generate(
    task, model, num_images=1, prompt=None, negative_prompt="", guidance=None, rescale=0.0, num_steps=50, sampler=None,
    eta=0.0, image=None, strength=0.8, mask=None, seed=0, progress=None, xla=False,
) -> np.ndarray:  # fmt: skip
    """Makes pictures out of noise, uint8 (num_images, height, width, channels); of several prompts, so many of each.

    What the i-th picture is depends on the seed and on i, not on how many there are. A program is compiled once for
    each number of pictures, whatever the sampler, its steps, the texts and the guidance.

    Args:
        prompt, negative_prompt, guidance, rescale: for networks that read texts, see `Words`.
        num_steps: how many steps are taken; "heun" asks the network twice in each.
        sampler: one of `kzoo.generation.samplers.SAMPLERS`; by default that of the model's own schedule of noise.
        eta: of "ddim", how much of DDPM's noise is added.
        image: a picture to change, uint8 or floats in [0, 1], (height, width, channels), of the model's size.
        strength: how much of it, from 0, which gives it back, to 1, which leaves next to nothing of it.
        mask: where to paint anew, (height, width), bool or 0 and 1; the rest of `image` stays as it is.
        progress: a function of the steps done, of all steps, and of a function without arguments that gives the
            pictures as they are seen so far, uint8.
        xla: whether XLA compiles the loop; if not, TensorFlow runs its own operations.

    Raises ValueError or TypeError that name the argument; FloatingPointError where the network gives no numbers.
    """
    forks.check("kzoo.generate")
    networks = networks_of(model)
    check_count("num_images", num_images)
    check_count("seed", seed, minimum=0)
    noise = task.noise(model)
    noise_schedules.check_steps(num_steps, noise_schedules.settings_of(noise, samplers.SAMPLERS, sampler))
    words = _words(model, networks, prompt, negative_prompt, guidance, rescale)
    count = num_images * (len(words.texts) if words else 1)
    if image is None and mask is not None:
        raise ValueError("mask says which part of `image` to paint anew; pass the image too")
    begin, start, kept = 0, None, None
    if image is not None:
        kept, mask = _picture(image, networks.picture_shape), _mask(mask, networks.picture_shape)
        begin = num_steps - _steps_of(strength, num_steps)
        if begin == num_steps:
            return np.repeat(_to_uint8(kept), count, axis=0)
        start = _start(networks, kept, mask, count, seed)
    context, how = _context(networks, words, num_images)
    plan = samplers.plan(noise, num_steps, sampler, eta, begin)

    def finished(samples):
        pictures = networks.decode(samples)
        return _to_uint8(pictures if kept is None or mask is None else np.where(mask, pictures, kept))

    told = progress and (lambda done, total, clean: progress(done, total, lambda: finished(clean)))
    found = denoising.denoise(
        networks.denoiser, plan, (count, *networks.shape), context, how, seed, start, told, xla
    )  # fmt: skip
    return finished(found)


def _words(model, networks, prompt, negative_prompt, guidance, rescale):
    if networks.text_encoder is None:
        for name, value, usual in (("prompt", prompt, None), ("negative_prompt", negative_prompt, ""),
                                   ("guidance", guidance, None), ("rescale", rescale, 0.0)):  # fmt: skip
            if value != usual:
                raise ValueError(f"{name}={value!r}: {model.name} reads no texts; leave it out")
        return None
    if prompt is None:
        raise ValueError(f"{model.name} makes pictures of texts; pass prompt=, which may be an empty text")
    words = Words(prompt, negative_prompt, GUIDANCE if guidance is None else guidance, rescale)
    if words.guidance == 1 and words.negative_prompt:
        logging.getLogger("kzoo").warning("with guidance=1 the negative prompt is not looked at")
    return words


def _context(networks, words, num_images):
    """The hidden states of texts, one row a picture and, where answers are guided, first those of the negative one."""
    if words is None:
        return None, denoising.UNGUIDED
    ids = np.repeat(networks.ids(words.texts), num_images, axis=0)
    guidance = denoising.Guidance(float(words.guidance), float(words.rescale))
    if guidance.scale != 1:
        ids = np.concatenate([np.repeat(networks.ids([words.negative_prompt]), len(ids), axis=0), ids])
    return networks.context(ids), guidance


def _start(networks, picture, mask, count, seed):
    """The picture as it diffuses, and where it is painted anew there: wherever a part of a latent's pixels is."""
    samples = networks.encode(picture, np.random.default_rng([seed, count]))
    if mask is not None:
        factor = mask.shape[1] // samples.shape[1]
        mask = mask.reshape(1, samples.shape[1], factor, samples.shape[2], factor, 1).max(axis=(2, 4))
        mask = np.repeat(mask, count, axis=0)
    return denoising.Start(np.repeat(samples, count, axis=0), mask)


def _to_uint8(pictures) -> Any:
    return ops.convert_to_numpy(denoising.to_uint8(pictures))


def _check_number(name, value, most=None):
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 <= value <= (np.inf if most is None else most) or not np.isfinite(value):
        wanted = "a finite number of at least 0" if most is None else f"between 0 and {most}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def _steps_of(strength, num_steps):
    _check_number("strength", strength, 1)
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

"""Schedules of noise: how much of a picture is left at every timestep of diffusion, and the timesteps of a sampler.

The settings are those of `diffusers`' scheduler_config.json, by the defaults of the class that the file names.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kzoo.support.suggest import did_you_mean

EVERY = {
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear",
    "trained_betas": None, "prediction_type": "epsilon", "steps_offset": 0,
}  # fmt: skip
THRESHOLDS = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
CLIPPED = {"clip_sample": True, "clip_sample_range": 1.0}
SPACED = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
LEADING, LINSPACE = {"timestep_spacing": "leading"}, {"timestep_spacing": "linspace"}
TO_ZERO = {"rescale_betas_zero_snr": False}
CLASSES = {
    "DDPMScheduler": {**EVERY, **THRESHOLDS, **CLIPPED, **LEADING, **TO_ZERO, "variance_type": "fixed_small"},
    "DDIMScheduler": {**EVERY, **THRESHOLDS, **CLIPPED, **LEADING, **TO_ZERO, "set_alpha_to_one": True},
    "PNDMScheduler": {**EVERY, **LEADING, "skip_prk_steps": False, "set_alpha_to_one": False},
    "EulerDiscreteScheduler": {
        **EVERY, **LINSPACE, **TO_ZERO, **SPACED, "interpolation_type": "linear", "sigma_min": None, "sigma_max": None,
        "timestep_type": "discrete", "final_sigmas_type": "zero",
    },
    "EulerAncestralDiscreteScheduler": {**EVERY, **LINSPACE, **TO_ZERO},
    "HeunDiscreteScheduler": {
        **EVERY, **LINSPACE, **SPACED, **CLIPPED, "clip_sample": False, "beta_start": 0.00085, "beta_end": 0.012,
    },
    "DPMSolverMultistepScheduler": {
        **EVERY, **LINSPACE, **TO_ZERO, **SPACED, **THRESHOLDS, "solver_order": 2, "algorithm_type": "dpmsolver++",
        "solver_type": "midpoint", "lower_order_final": True, "euler_at_final": False, "use_lu_lambdas": False,
        "use_flow_sigmas": False, "flow_shift": 1.0, "final_sigmas_type": "zero", "lambda_min_clipped": -math.inf,
        "variance_type": None, "use_dynamic_shifting": False, "time_shift_type": "exponential",
    },
}  # fmt: skip
PREDICTIONS = ("epsilon", "sample", "v_prediction")
# What is offered, where it is not every value of the default's type; by class, and for every class.
OFFERED = {
    "": {
        "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2"), "trained_betas": (None,),
        "prediction_type": PREDICTIONS, "timestep_spacing": ("linspace", "leading", "trailing"),
        "thresholding": (False,), "use_exponential_sigmas": (False,), "use_beta_sigmas": (False,),
        "interpolation_type": ("linear",), "sigma_min": (None,), "sigma_max": (None,), "timestep_type": ("discrete",),
        "final_sigmas_type": ("zero", "sigma_min"), "solver_order": (1, 2),
        "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"), "solver_type": ("midpoint", "heun"),
        "use_lu_lambdas": (False,), "use_flow_sigmas": (False,), "use_dynamic_shifting": (False,),
    },
    "DDPMScheduler": {"variance_type": ("fixed_small", "fixed_small_log", "fixed_large")},
    "DPMSolverMultistepScheduler": {"variance_type": (None,)},
    "PNDMScheduler": {"prediction_type": ("epsilon", "v_prediction")},
    "EulerAncestralDiscreteScheduler": {"prediction_type": ("epsilon", "v_prediction")},
}  # fmt: skip
CLASS_KEY = "_class_name"
NEARLY_ZERO = 2.0**-24  # what diffusers leaves of a picture where a sampler would divide by nothing


def settings_of(noise: Mapping, samplers: Mapping, sampler: str | None = None) -> dict:
    """All settings of a sampler: what `noise` says, else the defaults of its class, and the sampler's name.

    Args:
        noise: the content of a scheduler_config.json, of whatever class.
        samplers: `{name: (class_name, settings, ...)}` of those that there are.
        sampler: another one than `noise` names, which then gives what both have.

    Raises ValueError for a class, a sampler, a key or a value that is not known or not offered.
    """
    if not isinstance(noise, Mapping):
        raise TypeError(f"noise must be a dict such as scheduler_config.json holds, got {noise!r}")
    known = {key for defaults in CLASSES.values() for key in defaults}
    for key in noise:
        if not key.startswith("_") and key not in known:
            raise ValueError(did_you_mean("setting of a schedule of noise", key, known))
    if sampler is None:
        class_name = noise.get(CLASS_KEY)
        if class_name not in CLASSES:
            raise ValueError(f"{CLASS_KEY} of the schedule of noise is {class_name!r}; offered: {', '.join(CLASSES)}")
        chosen = {}
    elif sampler in samplers:
        class_name, chosen = samplers[sampler][:2]
    else:
        raise ValueError(did_you_mean("sampler", sampler, samplers))
    defaults = CLASSES[class_name]
    choices = {**OFFERED[""], **OFFERED.get(class_name, {})}
    said = {key: value for key, value in noise.items() if key in defaults}
    if class_name != noise.get(CLASS_KEY, class_name):  # what another class means by a word need not be known here
        said = {key: value for key, value in said.items() if key in EVERY or value in choices.get(key, (value,))}
    settings = {**defaults, **said, **chosen}
    for key, value in settings.items():
        offered = choices.get(key)
        if offered is not None and value not in offered:
            raise ValueError(f"{key}={value!r} of {class_name}: offered {', '.join(map(repr, offered))}")
        if offered is None and (isinstance(value, bool) != isinstance(defaults[key], bool) or not _is_like(value, key)):
            raise TypeError(f"{key}={value!r} of {class_name}: wanted a value such as {defaults[key]!r}")
    if (
        settings.get("rescale_betas_zero_snr")
        and settings["prediction_type"] == "epsilon"
        and "clip_sample" in settings
    ):
        raise ValueError(
            "prediction_type='epsilon' with rescale_betas_zero_snr=True: of pure noise the noise says nothing of the "
            "picture; such a network predicts 'v_prediction' or 'sample'"
        )
    first = next(name for name, row in samplers.items() if row[0] == class_name)
    return {**settings, CLASS_KEY: class_name, "_sampler": sampler or first}


def _is_like(value, key):
    if key in ("num_train_timesteps", "steps_offset"):
        return isinstance(value, int) and value >= (1 if key == "num_train_timesteps" else 0)
    return isinstance(value, int | float | str)


def check_steps(num_steps: int, settings: Mapping, begin: int = 0) -> None:
    """ValueError or TypeError unless a sampler can take so many steps, of which the first `begin` are left out."""
    most = settings["num_train_timesteps"]
    for name, value in (("num_steps", num_steps), ("begin", begin)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
    if not 1 <= num_steps <= most:
        raise ValueError(f"num_steps must be between 1 and {most}, the timesteps of the training, got {num_steps}")
    if not 0 <= begin < num_steps:
        raise ValueError(f"begin must be at least 0 and below num_steps={num_steps}, got {begin}")
    if num_steps == most and settings["steps_offset"] and settings["timestep_spacing"] == "leading":
        raise ValueError(f"num_steps={num_steps} with steps_offset={settings['steps_offset']} passes the last timestep")


def remaining(settings: Mapping) -> np.ndarray:
    """The share of a picture's variance that is left at each timestep (a-bar), float64 (num_train_timesteps,).

    The products are those of single precision, which trained networks have seen. Sohl-Dickstein et al. 2015; cosine:
    Nichol and Dhariwal 2021, equation 17; down to nothing: Lin et al. 2024, algorithm 1.
    """
    count, name = settings["num_train_timesteps"], settings["beta_schedule"]
    ends = np.float32(settings["beta_start"]), np.float32(settings["beta_end"])
    if name == "linear":
        betas = _between(*ends, count)
    elif name == "scaled_linear":
        betas = _between(*(np.float32(settings[key] ** 0.5) for key in ("beta_start", "beta_end")), count) ** 2
    else:
        share = np.cos((np.arange(count + 1) / count + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = np.minimum(1 - share[1:] / share[:-1], 0.999).astype(np.float32)
    if settings.get("rescale_betas_zero_snr"):
        roots = np.sqrt(_products(betas))
        roots = (roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))
        left = roots**2
        betas = np.float32(1) - np.concatenate([left[:1], left[1:] / left[:-1]])
    left = _products(betas)
    if settings.get("rescale_betas_zero_snr") and "clip_sample" not in settings:
        left[-1] = NEARLY_ZERO
    return left.astype(np.float64)


def _between(begin, end, count):
    """Evenly spaced numbers, counted from both ends, in single precision."""
    step, index = (end - begin) / np.float32(max(count - 1, 1)), np.arange(count, dtype=np.float32)
    return np.where(index < count / 2, begin + step * index, end - step * (count - 1 - index)).astype(np.float32)


def _products(betas):
    return np.cumprod((np.float32(1) - betas).astype(np.float64)).astype(np.float32)


def remaining_after(settings: Mapping, left: np.ndarray, t: int) -> float:
    """What is left at timestep t, which may lie before the first: there the picture is clean, or as at the first."""
    if t >= 0:
        return float(left[t])
    return 1.0 if settings["set_alpha_to_one"] else float(left[0])


def timesteps(settings: Mapping, num_steps: int, last: int | None = None, extra: int = 0) -> list:
    """The timesteps that a sampler takes, from noise to the picture, as Lin et al. 2024, table 2, call the spacings.

    Args:
        last: the number of timesteps that are spread, by default all of the training.
        extra: how many more timesteps are spread than taken; the least are not.
    """
    count, spacing = last or settings["num_train_timesteps"], settings["timestep_spacing"]
    if spacing == "linspace":
        found = np.linspace(0, count - 1, num_steps + extra).round()[::-1]
    elif spacing == "leading":
        found = (np.arange(num_steps + extra) * (count // (num_steps + extra)))[::-1] + settings["steps_offset"]
    else:
        found = np.arange(count, 0, -settings["num_train_timesteps"] / num_steps).round() - 1
    return [int(t) for t in found[:num_steps]]


def sigmas(settings: Mapping, num_steps: int) -> tuple:
    """Timesteps, n of them, and n + 1 standard deviations of noise beside a clean picture of full size.

    With `use_karras_sigmas` they are spaced as Karras et al. 2022, equation 5, and the timesteps are read off.
    """
    left = remaining(settings)
    table = np.sqrt((1 - left) / left)
    if settings["_sampler"].startswith("dpm_solver"):
        logarithms = np.log(np.sqrt(left)) - np.log(np.sqrt(1 - left))
        kept = len(left) - int(np.searchsorted(logarithms[::-1], settings["lambda_min_clipped"]))
        extra = 0 if settings["timestep_spacing"] == "trailing" else 1
        taken, largest, smallest = timesteps(settings, num_steps, kept, extra), table[-1], table[0]
    else:
        # Timesteps of these samplers lie between those of the training where they must.
        taken = np.linspace(0, len(left) - 1, num_steps)[::-1].astype(np.float32).tolist()
        taken = taken if settings["timestep_spacing"] == "linspace" else timesteps(settings, num_steps)
        largest, smallest = None, None
    found = np.interp(taken, np.arange(len(table)), table)
    if settings.get("use_karras_sigmas"):
        ends = [(value if value is not None else other) ** (1 / 7) for value, other in
                ((largest, found[0]), (smallest, found[-1]))]  # fmt: skip
        found = (ends[0] + np.linspace(0, 1, num_steps) * (ends[1] - ends[0])) ** 7
        taken = np.interp(np.log(found), np.log(table), np.arange(len(table)))
        is_rounded = largest is not None and settings["beta_schedule"] != "squaredcos_cap_v2"
        taken = (taken.round() if is_rounded else taken).tolist()
    if largest is not None:
        taken = [int(t) for t in taken]
    end = table[0] if settings.get("final_sigmas_type") == "sigma_min" else 0.0
    return taken, np.array([*found, end], np.float32).tolist()


def clean_of(settings: Mapping, alpha: float, sigma: float) -> tuple:
    """The factors of a picture alpha clean + sigma noise, and of the network's answer, in the clean picture."""
    prediction = settings["prediction_type"]
    if prediction == "sample":
        return 0.0, 1.0
    return (alpha, -sigma) if prediction == "v_prediction" else (1 / alpha, -sigma / alpha)


def noise_of(settings: Mapping, alpha: float, sigma: float) -> dict[str, Any]:
    """The noise in a picture alpha clean + sigma noise, as `{known: factor}` of the picture and the answer."""
    prediction = settings["prediction_type"]
    if prediction == "epsilon":
        return {"answer": 1.0}
    if prediction == "sample":
        return {"picture": 1 / sigma, "answer": -alpha / sigma}
    return {"picture": sigma, "answer": alpha}


def target_of(prediction: str, alpha: Any, sigma: Any, clean: Any, noise: Any) -> Any:
    """What a network should answer to alpha clean + sigma noise."""
    if prediction == "epsilon":
        return noise
    return clean if prediction == "sample" else alpha * noise - sigma * clean

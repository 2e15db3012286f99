"""What `diffusers`' schedulers make of noise with a toy network: tests/golden/samplers.json.

    python scripts/golden/samplers.py      # in an environment with diffusers and torch

Schedules are in double precision here, since differences of single ones would be those of rounding alone.
"""

import itertools
import json
import pathlib

import diffusers
import numpy as np
import torch

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "samplers.json"
BETAS = (("linear", 1e-4, 0.02), ("scaled_linear", 0.00085, 0.012), ("squaredcos_cap_v2", 1e-4, 0.02))
SPACINGS, PREDICTIONS = ("linspace", "leading", "trailing"), ("epsilon", "sample", "v_prediction")
ZERO = {"rescale_betas_zero_snr": True}
KARRAS = {"use_karras_sigmas": True}
SDE = {"algorithm_type": "sde-dpmsolver++"}
VARIANTS = {
    "DDPMScheduler": [{}, {"clip_sample": False}, {"variance_type": "fixed_large"}, ZERO],
    "DDIMScheduler": [{}, {"clip_sample": False, "steps_offset": 1}, {"set_alpha_to_one": False}, ZERO],
    "PNDMScheduler": [{}, {"skip_prk_steps": True}, {"skip_prk_steps": True, "set_alpha_to_one": True}],
    "EulerDiscreteScheduler": [{}, KARRAS, {"final_sigmas_type": "sigma_min"}, ZERO],
    "EulerAncestralDiscreteScheduler": [{}, ZERO],
    "HeunDiscreteScheduler": [{}, KARRAS, {"clip_sample": True}],
    "DPMSolverMultistepScheduler": [
        {}, {"solver_order": 1}, {"solver_type": "heun"}, SDE, {**SDE, **KARRAS, "solver_type": "heun"}, KARRAS,
        {"final_sigmas_type": "sigma_min", "euler_at_final": True}, {"lower_order_final": False}, ZERO,
        {"lambda_min_clipped": -2.0},
    ],
}  # fmt: skip
MORE = [
    ("DDIMScheduler", {"beta_schedule": "scaled_linear", "clip_sample": False}, {"num_steps": 10, "eta": 0.3}),
    ("DDIMScheduler", {"beta_schedule": "scaled_linear", "clip_sample": False}, {"num_steps": 10, "eta": 1.0}),
    ("PNDMScheduler", {"beta_schedule": "scaled_linear", "skip_prk_steps": True}, {"num_steps": 20, "begin": 8}),
    ("HeunDiscreteScheduler", {"beta_schedule": "scaled_linear"}, {"num_steps": 20, "begin": 8}),
    ("DPMSolverMultistepScheduler", {"beta_schedule": "scaled_linear"}, {"num_steps": 20, "begin": 8}),
]


def cases():
    """(class, settings, how), every combination of spacing, prediction and variant under one of the betas."""
    betas = itertools.cycle(BETAS)
    for name, variants in VARIANTS.items():
        for spacing, prediction, variant in itertools.product(SPACINGS, PREDICTIONS, variants):
            if prediction == "sample" and name in ("PNDMScheduler", "EulerAncestralDiscreteScheduler"):
                continue
            schedule = dict(zip(("beta_schedule", "beta_start", "beta_end"), next(betas), strict=True))
            if prediction == "epsilon" and variant is ZERO:
                continue
            settings = {"timestep_spacing": spacing, "prediction_type": prediction, **schedule, **variant}
            if settings.get("steps_offset") and spacing != "leading":
                del settings["steps_offset"]
            yield name, settings, {"num_steps": 7}
    yield from MORE


def network(x, t):
    """A smooth function of a picture and a timestep."""
    return 0.1 * x + 0.01 * t / 1000 + 0.05 * np.sin(3 * x)


def sampled(name, settings, num_steps, eta=None, begin=0):
    """The timesteps, the size of the first noise, and the pictures half way and at the end."""
    scheduler = getattr(diffusers, name)(**settings)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.one = torch.ones((), dtype=torch.float64)
    scheduler.set_timesteps(num_steps)
    for key in ("final_alpha_cumprod", "sigmas"):
        if hasattr(scheduler, key):
            setattr(scheduler, key, getattr(scheduler, key).double())
    random, begin = np.random.default_rng(0), begin * (2 if "Heun" in name else 1)

    def randn_tensor(shape, **_):
        return torch.tensor(random.standard_normal(tuple(shape)))

    vars(__import__(type(scheduler).__module__, fromlist=["randn_tensor"]))["randn_tensor"] = randn_tensor
    if begin and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    x, path, timesteps = torch.tensor(random.standard_normal((1, 3))) * float(scheduler.init_noise_sigma), [], []
    for t in scheduler.timesteps[begin:]:
        seen = scheduler.scale_model_input(x, t)
        answer = torch.tensor(network(seen.numpy(), float(t)))
        x = scheduler.step(answer, t, x, **({} if eta is None else {"eta": eta})).prev_sample
        path.append([float(f"{value:.10g}") for value in x[0]])
        timesteps.append(float(t))
    return {
        "timesteps": timesteps, "first": float(scheduler.init_noise_sigma), "half": path[len(path) // 2],
        "end": path[-1],
    }  # fmt: skip


def main():
    rows = []
    for name, settings, how in cases():
        rows.append({"noise": {"_class_name": name, **settings}, **how, **sampled(name, settings, **how)})
    GOLDEN.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    print(f"{GOLDEN}: {len(rows)} cases of diffusers {diffusers.__version__}")


if __name__ == "__main__":
    main()

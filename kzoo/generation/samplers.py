"""Samplers of diffusion as mathematics: at which timesteps a network is asked, and what a step makes of its answer.

Every sampler here is linear in pictures but for one clip, so that a step is a small matrix: what it knows (the picture,
the answer, the clean picture that the answer means, fresh noise, and what earlier steps left) becomes the next picture
and what is left for later steps. One loop, compiled once, runs all of them (`kzoo.generation.denoising`).

The settings of a schedule of noise are those of `diffusers`' scheduler_config.json, and so are the numbers. With a-bar
the share of the picture's variance that is left at a timestep, alpha = sqrt(a-bar), sigma = sqrt(1 - a-bar): `epsilon`
predicts the noise, `sample` the clean picture, `v_prediction` alpha noise - sigma clean (Salimans and Ho 2022).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from kzoo.generation import noise_schedules
from kzoo.generation.noise_schedules import clean_of, noise_of

KNOWN = ("picture", "answer", "clean", "noise", "held", "total", "past_1", "past_2", "past_3")
LEFT = ("picture", "held", "total", "past_1", "past_2", "past_3")
MULTISTEP = {  # Adams-Bashforth, of the newest answer first
    1: (1.0,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)
}  # fmt: skip
RUNGE_KUTTA = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


class Plan(NamedTuple):
    """What a loop of sampling needs, for n questions to the network.

    Attributes:
        timesteps: float64 (n,), what the network is told.
        scales: float64 (n,), by which the picture is multiplied before the network sees it.
        cleans: float64 (n, 2), of the picture and of the answer in the clean picture.
        steps: float64 (n, LEFT, KNOWN), the matrix of each step.
        levels: float64 (n + 1, 2), of a clean picture and of unit noise in the picture before each step and at the end.
        first: of unit noise in the picture before the first step where there is no clean picture to start from.
        limit: the largest absolute value of the clean picture, or infinity.
    """

    timesteps: np.ndarray
    scales: np.ndarray
    cleans: np.ndarray
    steps: np.ndarray
    levels: np.ndarray
    first: float
    limit: float


def plan(noise: Mapping, num_steps: int, sampler: str | None = None, eta: float = 0.0, begin: int = 0) -> Plan:
    """The plan of a sampler in `num_steps` steps.

    Args:
        noise: the content of a `scheduler_config.json`; what it leaves out is as `diffusers` has it.
        sampler: one of `SAMPLERS` in place of the one that `noise` names.
        eta: how much of DDPM's noise DDIM adds, Song et al. 2021, equation 16.
        begin: the number of steps to leave out, for a picture that is there in part.

    Raises ValueError or TypeError that name the setting and its value.
    """
    settings = noise_schedules.settings_of(noise, SAMPLERS, sampler)
    noise_schedules.check_steps(num_steps, settings, begin)
    make = SAMPLERS[settings["_sampler"]].make
    if settings["_sampler"] != "ddim" and eta:
        raise ValueError(f"eta={eta!r} is DDIM's; {settings['_sampler']} has no such setting, leave it at 0")
    if not isinstance(eta, int | float) or isinstance(eta, bool) or not 0 <= eta <= 1:
        raise ValueError(f"eta must be between 0 and 1, got {eta!r}")
    rows, first = make(settings, num_steps, begin, eta)
    timesteps, scales, cleans, steps, levels = zip(*rows, strict=True)
    arrays = (timesteps, scales, cleans, steps, [*levels, (1.0, 0.0)])
    limit = settings["clip_sample_range"] if settings.get("clip_sample") else math.inf
    return Plan(*(np.asarray(array, np.float64) for array in arrays), float(first), float(limit))


def _matrix(picture, **others):
    """A step's matrix from `{known: factor}` of the next picture and of what else it leaves, by default what was."""
    left = {name: {name: 1.0} for name in LEFT} | {"picture": picture} | others
    return [[left[name].get(known, 0.0) for known in KNOWN] for name in LEFT]


def _plus(*terms):
    """The sum of `(factor, {known: factor})`."""
    total = {}
    for factor, combination in terms:
        for known, value in combination.items():
            total[known] = total.get(known, 0.0) + factor * value
    return total


def _ddpm(settings, num_steps, begin, _):
    """Ancestral sampling, Ho et al. 2020, equations 6 and 7, of the timesteps that are taken."""
    left = noise_schedules.remaining(settings)
    timesteps = noise_schedules.timesteps(settings, num_steps)[begin:]
    rows = []
    for t, after in zip(timesteps, [*timesteps[1:], None], strict=True):
        now, then = left[t], 1.0 if after is None else left[after]
        kept, added = now / then, 1 - now / then
        step = {"clean": then**0.5 * added / (1 - now), "picture": kept**0.5 * (1 - then) / (1 - now)}
        variance = added if settings["variance_type"] == "fixed_large" else (1 - then) / (1 - now) * added
        step["noise"] = max(variance, 1e-20) ** 0.5 if t > 0 else 0.0
        alpha, sigma = now**0.5, (1 - now) ** 0.5
        rows.append((t, 1.0, clean_of(settings, alpha, sigma), _matrix(step), (alpha, sigma)))
    return rows, 1.0


def _ddim(settings, num_steps, begin, eta):
    """Song et al. 2021, equation 12."""
    left = noise_schedules.remaining(settings)
    rows, stride = [], settings["num_train_timesteps"] // num_steps
    for t in noise_schedules.timesteps(settings, num_steps)[begin:]:
        now, then = left[t], noise_schedules.remaining_after(settings, left, t - stride)
        alpha, sigma = now**0.5, (1 - now) ** 0.5
        deviation = eta * max((1 - then) / (1 - now) * (1 - now / then), 0.0) ** 0.5
        direction = max(1 - then - deviation**2, 0.0) ** 0.5
        step = _plus((then**0.5, {"clean": 1.0}), (direction, noise_of(settings, alpha, sigma)))
        step["noise"] = deviation
        rows.append((t, 1.0, clean_of(settings, alpha, sigma), _matrix(step), (alpha, sigma)))
    return rows, 1.0


def _pndm(settings, num_steps, begin, _):
    """Pseudo linear multi-step, Liu et al. 2022, algorithm 2, after pseudo Runge-Kutta steps or one step made twice."""
    left, stride = noise_schedules.remaining(settings), settings["num_train_timesteps"] // num_steps
    ascending = noise_schedules.timesteps(settings, num_steps)[::-1]
    runge_kutta, rows = [], []
    if begin and not settings["skip_prk_steps"]:
        raise ValueError(f"begin={begin} leaves out the Runge-Kutta steps of pndm; set skip_prk_steps=True")
    if settings["skip_prk_steps"]:
        linear = [*ascending[:-1], *ascending[-2:-1], *ascending[-1:]][::-1]
    else:
        if num_steps < 4:
            raise ValueError(f"num_steps must be at least 4 for {settings['_class_name']} without skip_prk_steps")
        pairs = [t + half for t in ascending[-4:] for half in (0, stride // 2)][:-1]
        runge_kutta = [t for t in pairs for _ in range(2)][1:-1][::-1]
        linear = ascending[:-3][::-1]
    timesteps = [*runge_kutta, *linear]
    num_past = 0
    for counter, t in enumerate(timesteps[begin:]):
        start, at, then = {"picture": 1.0}, t, t - stride
        others = {}
        if counter < len(runge_kutta):
            stage = counter % 4
            at, then = runge_kutta[counter // 4 * 4], t - (0 if counter % 2 else stride // 2)
            answer = {"answer": 1.0}
            total = _plus((1.0, {"total": 1.0}), (RUNGE_KUTTA[stage], answer))
            if stage == 0:
                others = {"held": start, **_pushed(answer), "total": {"answer": RUNGE_KUTTA[0]}}
                num_past += 1
            else:
                start = {"held": 1.0}
                answer, others = (total, {"total": {}}) if stage == 3 else (answer, {"total": total})
        elif counter == 1 and settings["skip_prk_steps"]:
            at, then, start = t + stride, t, {"held": 1.0}
            answer = {"answer": 0.5, "past_1": 0.5}
        else:
            num_past += 1
            names = ("answer", "past_1", "past_2", "past_3")
            answer = dict(zip(names, MULTISTEP[min(num_past, 4)], strict=False))
            others = _pushed({"answer": 1.0}) | ({"held": start} if counter == 0 else {})
        now, later = left[at], noise_schedules.remaining_after(settings, left, then)
        if settings["prediction_type"] == "v_prediction":
            answer = _plus((now**0.5, answer), ((1 - now) ** 0.5, start))
        scale = now * (1 - later) ** 0.5 + (now * (1 - now) * later) ** 0.5
        step = _plus(((later / now) ** 0.5, start), (-(later - now) / scale, answer))
        alpha, sigma = left[t] ** 0.5, (1 - left[t]) ** 0.5
        rows.append((t, 1.0, clean_of(settings, alpha, sigma), _matrix(step, **others), (alpha, sigma)))
    return rows, 1.0


def _pushed(newest):
    return {"past_1": newest, "past_2": {"past_1": 1.0}, "past_3": {"past_2": 1.0}}


def _sigma_row(settings, t, sigma, step, **others):
    """A step of a picture that is kept as clean + sigma noise, which the network sees with variance one."""
    scale = (sigma**2 + 1) ** -0.5
    cleans = clean_of(settings, scale, sigma * scale)
    cleans = (cleans[0] * scale, cleans[1])
    return t, scale, cleans, _matrix(step, **others), (1.0, sigma)


def _first(settings, sigmas):
    """How large the noise is that sampling begins with."""
    largest = max(sigmas)
    return (largest**2 + 1) ** 0.5 if settings["timestep_spacing"] == "leading" else largest


def _euler(settings, num_steps, begin, _):
    """Karras et al. 2022, algorithm 1 without its second half."""
    timesteps, sigmas = noise_schedules.sigmas(settings, num_steps)
    rows = []
    for t, now, then in list(zip(timesteps, sigmas, sigmas[1:], strict=False))[begin:]:
        rows.append(_sigma_row(settings, t, now, {"picture": then / now, "clean": 1 - then / now}))
    return rows, _first(settings, sigmas)


def _euler_ancestral(settings, num_steps, begin, _):
    """Euler's step to less noise than wanted, and fresh noise up to what is wanted."""
    timesteps, sigmas = noise_schedules.sigmas(settings, num_steps)
    rows = []
    for t, now, then in list(zip(timesteps, sigmas, sigmas[1:], strict=False))[begin:]:
        up = (then**2 * (now**2 - then**2) / now**2) ** 0.5
        down = (then**2 - up**2) ** 0.5
        rows.append(_sigma_row(settings, t, now, {"picture": down / now, "clean": 1 - down / now, "noise": up}))
    return rows, _first(settings, sigmas)


def _heun(settings, num_steps, begin, _):
    """Karras et al. 2022, algorithm 1: the mean slope of a step's beginning and its end."""
    timesteps, sigmas = noise_schedules.sigmas(settings, num_steps)
    rows = []
    for index, (t, now, then) in enumerate(zip(timesteps, sigmas, sigmas[1:], strict=False)):
        slope = {"picture": 1 / now, "clean": -1 / now}
        step = _plus((1.0, {"picture": 1.0}), (then - now, slope))
        rows.append(_sigma_row(settings, t, now, step, held={"picture": 1.0}, past_1=slope))
        if then > 0:
            mean = {"past_1": 0.5, "picture": 0.5 / then, "clean": -0.5 / then}
            step = _plus((1.0, {"held": 1.0}), (then - now, mean))
            rows.append(_sigma_row(settings, timesteps[index + 1], then, step))
    return rows[2 * begin :], _first(settings, sigmas)


def _dpm_solver(settings, num_steps, begin, _):
    """DPM-Solver++ of first and second order over clean pictures, Lu et al. 2022, algorithm 2; its SDE form too."""
    timesteps, sigmas = noise_schedules.sigmas(settings, num_steps)
    is_random = settings["algorithm_type"] == "sde-dpmsolver++"
    num_steps = len(timesteps)  # fewer where `lambda_min_clipped` leaves out the noisiest
    rows, is_short = [], settings["lower_order_final"] and num_steps < 15
    single_at_end = settings["euler_at_final"] or is_short or settings["final_sigmas_type"] == "zero"
    for index in range(begin, num_steps):
        now, then = sigmas[index], sigmas[index + 1]
        alpha, later_alpha = (now**2 + 1) ** -0.5, (then**2 + 1) ** -0.5
        shrink = then / now  # exp(-h), where h is the step in the logarithm of alpha / sigma
        taken = 1 - shrink**2 if is_random else 1 - shrink
        step = {"picture": later_alpha / alpha * shrink ** (2 if is_random else 1)}
        clean = {"clean": later_alpha * taken}
        is_first = index == begin or settings["solver_order"] == 1
        if not is_first and not (index == num_steps - 1 and single_at_end):
            h, h_before = math.log(now / then), math.log(sigmas[index - 1] / now)
            bend = taken / 2
            if settings["solver_type"] == "heun":
                bend = 1 - taken / (2 * h) if is_random else 1 - taken / h
            change = later_alpha * bend * h / h_before
            clean = {"clean": later_alpha * taken + change, "past_1": -change}
        step = {**step, **clean}
        if is_random:
            step["noise"] = then * later_alpha * (1 - shrink**2) ** 0.5
        level = (alpha, now * alpha)
        cleans = clean_of(settings, *level)
        rows.append((timesteps[index], 1.0, cleans, _matrix(step, past_1={"clean": 1.0}), level))
    return rows, 1.0


class Sampler(NamedTuple):
    """A row of `SAMPLERS`: the class in `diffusers`, what a user means by the name, and the mathematics."""

    class_name: str
    settings: Mapping
    make: Callable[[Mapping, int, int, float], Any]


SAMPLERS = {
    "ddpm": Sampler("DDPMScheduler", {}, _ddpm),
    "ddim": Sampler("DDIMScheduler", {}, _ddim),
    "pndm": Sampler("PNDMScheduler", {}, _pndm),
    "euler": Sampler("EulerDiscreteScheduler", {}, _euler),
    "euler_ancestral": Sampler("EulerAncestralDiscreteScheduler", {}, _euler_ancestral),
    "heun": Sampler("HeunDiscreteScheduler", {}, _heun),
    "dpm_solver": Sampler("DPMSolverMultistepScheduler", {"use_karras_sigmas": False}, _dpm_solver),
    "dpm_solver_karras": Sampler("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, _dpm_solver),
    "dpm_solver_sde": Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, _dpm_solver),
}

"""Samplers against diffusers' schedulers, step by step, and what the settings of a schedule of noise may be."""

import json
import pathlib

import numpy as np
import pytest

from kzoo.generation import noise_schedules, samplers

ROWS = json.loads((pathlib.Path(__file__).parent / "golden" / "samplers.json").read_text())
HOW = ("num_steps", "eta", "begin")
DDIM = {"_class_name": "DDIMScheduler"}


def network(x, t):
    """The toy network of scripts/golden/samplers.py."""
    return 0.1 * x + 0.01 * t / 1000 + 0.05 * np.sin(3 * x)


def sampled(plan, timesteps):
    """The pictures half way and at the end, and the largest number on the way."""
    random = np.random.default_rng(0)
    known = dict.fromkeys(samplers.KNOWN, np.zeros(3))
    known["picture"] = random.standard_normal(3) * plan.first
    largest, half = abs(known["picture"]).max(), None
    for index, t in enumerate(timesteps):
        known["answer"] = network(known["picture"] * plan.scales[index], t)
        clean = plan.cleans[index] @ [known["picture"], known["answer"]]
        known["clean"] = np.clip(clean, -plan.limit, plan.limit)
        if plan.steps[index][0, samplers.KNOWN.index("noise")]:
            known["noise"] = random.standard_normal(3)
        left = plan.steps[index] @ np.stack([known[name] for name in samplers.KNOWN])
        known.update(zip(samplers.LEFT, left, strict=True))
        largest = max(largest, abs(known["picture"]).max())
        half = known["picture"] if index == len(timesteps) // 2 else half
    return half, known["picture"], max(largest, 1)


@pytest.mark.parametrize("class_name", noise_schedules.CLASSES)
def test_agrees_with_diffusers_step_by_step(class_name):
    rows = [row for row in ROWS if row["noise"]["_class_name"] == class_name]
    assert len(rows) >= 9
    for row in rows:
        plan = samplers.plan(row["noise"], **{key: row[key] for key in HOW if key in row})
        np.testing.assert_allclose(plan.timesteps, row["timesteps"], rtol=1e-6, atol=1e-4, err_msg=str(row["noise"]))
        assert abs(plan.first / row["first"] - 1) < 1e-6
        half, end, scale = sampled(plan, row["timesteps"])
        # Of schedules that end in pure noise, single precision leaves of 1 - a-bar at the first steps four digits.
        limit = 3e-5 if row["noise"].get("rescale_betas_zero_snr") else 1e-6
        for ours, theirs in ((half, row["half"]), (end, row["end"])):
            assert abs(ours - theirs).max() <= limit * scale, (row["noise"], abs(ours - theirs).max() / scale)


def test_every_step_keeps_a_clean_picture_and_its_noise_at_their_levels():
    """A network that knows the noise: the picture stays at `levels`, and ends clean, whatever the sampler."""
    clean, noise = 0.3, -1.7
    for name in samplers.SAMPLERS:
        base = {**DDIM, "beta_schedule": "scaled_linear", "clip_sample": False, "beta_start": 0.00085}
        plan = samplers.plan({**base, "beta_end": 0.012}, 12, name)
        is_random = (plan.steps[:, 0, samplers.KNOWN.index("noise")] != 0).any()
        known = dict.fromkeys(samplers.KNOWN, 0.0)
        known["picture"] = plan.levels[0] @ [clean, noise]
        for index in range(len(plan.timesteps)):
            at = plan.levels[index]
            if not is_random and name not in ("heun", "pndm"):
                assert known["picture"] == pytest.approx(at @ [clean, noise], abs=1e-6), name
            known["answer"] = (known["picture"] - at[0] * clean) / at[1]
            known["clean"] = plan.cleans[index] @ [known["picture"], known["answer"]]
            if name != "pndm":  # whose levels of the repeated step are those of the next
                assert known["clean"] == pytest.approx(clean, abs=1e-5), name
            known["noise"] = 0.5
            left = plan.steps[index] @ np.array([known[each] for each in samplers.KNOWN])
            known.update(zip(samplers.LEFT, left, strict=True))
        ends_at = {"pndm": 0.05, "ddim": 0.05}.get(name, 1e-5)  # these two keep the noise of the first timestep
        assert known["picture"] == pytest.approx(clean, abs=ends_at), name


@pytest.mark.parametrize(
    ("noise", "how", "wrong"),
    [
        ({}, {}, "_class_name of the schedule of noise is None"),
        ({"_class_name": "UniPCMultistepScheduler"}, {}, "is 'UniPCMultistepScheduler'; offered: DDPMScheduler"),
        ({**DDIM, "beta_strat": 0.1}, {}, "'beta_strat'; did you mean beta_start"),
        ({**DDIM, "beta_schedule": "sigmoid"}, {}, "beta_schedule='sigmoid' of DDIMScheduler: offered 'linear'"),
        ({**DDIM, "thresholding": True}, {}, "thresholding=True of DDIMScheduler"),
        ({**DDIM, "rescale_betas_zero_snr": True}, {}, "prediction_type='epsilon' with rescale_betas_zero_snr=True"),
        (DDIM, {"sampler": "eulr"}, "'eulr'; did you mean euler"),
        (DDIM, {"num_steps": 0}, "num_steps must be between 1 and 1000"),
        (DDIM, {"num_steps": 1001}, "num_steps must be between 1 and 1000"),
        (DDIM, {"begin": 7}, "below num_steps=7, got 7"),
        (DDIM, {"eta": 1.5}, "eta must be between 0 and 1"),
        (DDIM, {"sampler": "euler", "eta": 0.5}, "eta=0.5 is DDIM's; euler has no such setting"),
        ({"_class_name": "PNDMScheduler", "prediction_type": "sample"}, {}, "prediction_type='sample' of PNDM"),
        ({"_class_name": "PNDMScheduler"}, {"num_steps": 3}, "num_steps must be at least 4"),
        ({"_class_name": "PNDMScheduler"}, {"begin": 2}, "begin=2 leaves out the Runge-Kutta steps"),
    ],
)
def test_bad_settings_are_refused_by_name(noise, how, wrong):
    with pytest.raises(ValueError, match=wrong):
        samplers.plan(noise, **{"num_steps": 7, **how})


@pytest.mark.parametrize("noise", [{**DDIM, "num_train_timesteps": True}, {**DDIM, "clip_sample": 1}, [DDIM]])
def test_settings_of_another_type_are_refused(noise):
    with pytest.raises(TypeError):
        samplers.plan(noise, 7)


def test_another_sampler_takes_over_what_both_know():
    published = {  # of Stable Diffusion 1.5
        "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "set_alpha_to_one": False,
        "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None, "clip_sample": False,
    }  # fmt: skip
    plan = samplers.plan(published, 10)
    assert plan.timesteps.tolist() == [901, 801, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert samplers.plan(published, 10, "ddim").timesteps.tolist() == [*range(901, 0, -100)]
    karras = samplers.plan(published, 10, "dpm_solver_karras")
    assert karras.timesteps.tolist() == [999, 916, 815, 687, 523, 327, 146, 41, 7, 0]
    euler = samplers.plan({**published, "timestep_spacing": "leading"}, 10, "euler")
    assert euler.first == pytest.approx(8.450067, abs=1e-6)
    settings = noise_schedules.settings_of({**DDIM, "prediction_type": "v_prediction"}, samplers.SAMPLERS, "euler")
    assert (settings["prediction_type"], settings["timestep_spacing"]) == ("v_prediction", "linspace")

"""Diffusion of pictures: what a network learns from, how pictures are made, and what is kept of a run."""

import gc
import weakref

import keras
import numpy as np
import pytest

import kzoo
from kzoo import tasks
from kzoo.data import from_arrays
from kzoo.generation import denoising, noise_schedules, samplers

SMALL = {
    "filters": (4, 8), "down_blocks": ("DownBlock2D", "DownBlock2D"), "up_blocks": ("UpBlock2D", "UpBlock2D"),
    "num_layers": 1, "num_groups": 2, "head_dim": 4, "input_shape": (8, 12, 1), "num_outputs": 1,
}  # fmt: skip
NOISE = {"_class_name": "DDIMScheduler", "clip_sample": False}


@pytest.fixture(scope="module")
def unet():
    keras.utils.set_random_seed(0)
    return kzoo.build("unet_2d", **SMALL)


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 12, 1), np.uint8)


def loaded(model, count=12, **options):
    return from_arrays(pictures(count), np.zeros(count), model, validation_fraction=0.25, **options)


def test_a_batch_holds_pictures_at_random_steps_and_the_noise_in_them(unet):
    data = loaded(unet, batch_size=4)
    left = noise_schedules.remaining(noise_schedules.settings_of(tasks.image_diffusion.NOISE, samplers.SAMPLERS))
    split = data.train
    x, noise = (keras.tree.map_structure(np.asarray, part) for part in split.examples([2, 5], epoch=3))
    share = left[x["timestep"].astype(int)][:, None, None, None]
    clean = (x["sample"] - np.sqrt(1 - share) * noise) / np.sqrt(share)
    stored = np.asarray(split.rows[0])[[2, 5]].astype(np.float32)
    np.testing.assert_allclose(clean, stored / 127.5 - 1, atol=2e-3 / np.sqrt(share.min()))
    assert abs(noise.mean()) < 0.3 and abs(noise.std() - 1) < 0.2

    one = keras.tree.map_structure(np.asarray, split.examples([5], epoch=3))
    np.testing.assert_array_equal(one[0]["sample"][0], x["sample"][1])  # of the example alone, not of its batch
    other = keras.tree.map_structure(np.asarray, split.examples([5], epoch=4))
    assert (other[1] != one[1]).all()
    first, again = (next(iter(data.validation.epoch(epoch)))[1].numpy() for epoch in (0, 1))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("prediction", noise_schedules.PREDICTIONS)
def test_what_is_predicted_leads_back_to_the_clean_picture(prediction):
    settings = noise_schedules.settings_of({**NOISE, "prediction_type": prediction}, samplers.SAMPLERS)
    alpha, sigma, clean, noise = 0.6, 0.8, 0.25, -1.5
    answer = noise_schedules.target_of(prediction, alpha, sigma, clean, noise)
    picture = alpha * clean + sigma * noise
    assert noise_schedules.clean_of(settings, alpha, sigma) @ np.array([picture, answer]) == pytest.approx(clean)
    factors = noise_schedules.noise_of(settings, alpha, sigma)
    assert factors.get("picture", 0) * picture + factors["answer"] * answer == pytest.approx(noise)


def exact(clean):
    """A network that knows the clean picture, as a functional model: it answers with the noise."""
    left = noise_schedules.remaining(noise_schedules.settings_of(NOISE, samplers.SAMPLERS)).astype("float32")
    sample, timestep = keras.Input((4, 6, 1), name="sample"), keras.Input((), name="timestep")
    share = keras.ops.take(left, keras.ops.cast(timestep, "int32"))[:, None, None, None]
    answer = (sample - keras.ops.sqrt(share) * clean) / keras.ops.sqrt(1 - share)
    return keras.Model({"sample": sample, "timestep": timestep}, answer)


@pytest.mark.parametrize("name", ["ddpm", "ddim", "pndm", "dpm_solver_sde"])
@pytest.mark.parametrize("xla", [False, True])
def test_true_noise_leads_to_the_picture(name, xla):
    if xla and name != "ddpm":
        pytest.skip("every sampler is the same program")
    model, seen = exact(0.3), []
    plan = samplers.plan({**NOISE, "num_train_timesteps": 1000}, 12, name)
    found = denoising.denoise(model, plan, (2, 4, 6, 1), progress=lambda *told: seen.append(told), xla=xla)
    np.testing.assert_allclose(found, 0.3, atol=0.1)
    assert [told[:2] for told in seen][-1] == (len(plan.timesteps),) * 2
    assert len(seen) == -(-len(plan.timesteps) // denoising.CHUNK)
    np.testing.assert_allclose(seen[-1][2], 0.3, atol=0.05)


def test_a_picture_depends_on_the_seed_and_its_place_and_programs_are_shared(unet):
    two = kzoo.generate(unet, 2, num_steps=12, seed=7)
    assert two.shape == (2, 8, 12, 1) and two.dtype == np.uint8
    three = kzoo.generate(unet, 3, num_steps=12, seed=7)
    assert abs(two.astype(int) - three[:2]).max() <= 1  # sums are in another order
    assert (two != kzoo.generate(unet, 2, num_steps=12, seed=8)).any()
    program = denoising.LOOPS[unet][False, False]
    before = program.experimental_get_tracing_count() if hasattr(program, "experimental_get_tracing_count") else None
    kzoo.generate(unet, 2, num_steps=5, sampler="euler_ancestral")
    if before is not None:
        assert program.experimental_get_tracing_count() == before


def test_programs_keep_no_network_alive():
    model = kzoo.build("unet_2d", **SMALL)
    kzoo.generate(model, num_steps=1)
    alive = weakref.ref(model)
    assert model in denoising.LOOPS
    del model
    gc.collect()
    assert alive() is None


def test_pictures_are_changed_in_part(unet):
    image, mask = pictures(1)[0], np.zeros((8, 12), bool)
    mask[:, :6] = True
    np.testing.assert_array_equal(kzoo.generate(unet, 2, image=image, strength=0.0), np.stack([image] * 2))
    painted = kzoo.generate(unet, 1, image=image, mask=mask, num_steps=6, strength=0.9)[0]
    np.testing.assert_array_equal(painted[:, 6:], image[:, 6:])
    assert (painted[:, :6] != image[:, :6]).any()
    seen = []
    kzoo.generate(unet, image=image, num_steps=10, strength=0.35, progress=lambda *told: seen.append(told[1]))
    assert seen == [3]


def test_guidance_goes_beyond_the_condition():
    sample, timestep = keras.Input((2, 2, 1), name="sample"), keras.Input((), name="timestep")
    words = keras.Input((1,), name="words")
    model = keras.Model(
        {"sample": sample, "timestep": timestep, "words": words},
        keras.ops.zeros_like(sample) + keras.ops.reshape(words, (-1, 1, 1, 1)),
    )
    plan = samplers.plan({**NOISE, "prediction_type": "sample"}, 3)
    context = {"words": np.array([[0.1], [0.2], [0.4], [0.8]], np.float32)}  # two without, two with
    found = denoising.denoise(model, plan, (2, 2, 2, 1), context, denoising.Guidance(3.0))
    np.testing.assert_allclose(found[:, 0, 0, 0], [0.1 + 3 * 0.3, 0.2 + 3 * 0.6], atol=0.03)


def test_a_run_learns_and_keeps_the_averages(tmp_path):
    model = kzoo.build("unet_2d", **SMALL)
    how = {"epochs": 1, "batch_size": 9, "warmup_steps": 0, "progress": False}
    run = kzoo.fit(model, loaded(model, batch_size=9), tmp_path / "run", **how)
    assert {"loss", "val_loss"} <= run.history[0].keys()
    again = kzoo.load(tmp_path / "run")
    for ours, theirs in zip(model.trainable_variables, again.trainable_variables, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    scored = kzoo.evaluate(again, from_arrays(pictures(8), np.zeros(8), again), split="train")
    assert np.isfinite(scored["loss"])


def test_min_snr_counts_every_step_by_its_bounded_signal(unet):
    from kzoo.tasks.image_diffusion import learning

    left = noise_schedules.remaining(noise_schedules.settings_of(NOISE, samplers.SAMPLERS))
    ratio = left / (1 - left)
    for prediction, wanted in (
        ("epsilon", np.minimum(1, 5 / ratio)), ("v_prediction", np.minimum(ratio, 5) / (ratio + 1)),
        ("sample", np.minimum(ratio, 5)),
    ):  # fmt: skip
        np.testing.assert_allclose(learning.min_snr({**NOISE, "prediction_type": prediction}), wanted, rtol=1e-5)
    trainee = learning.DiffusionTrainee(unet, tasks.find("image_diffusion"))
    trainee.use("min_snr", None)
    trainee.runner.compile(loss=trainee.task.loss(unet))
    x = {"sample": np.zeros((2, 8, 12, 1), np.float32), "timestep": np.array([1, 900], np.float32)}
    answer, y = np.asarray(unet(x)), np.ones((2, 8, 12, 1), np.float32)
    weights = learning.min_snr(tasks.find("image_diffusion").noise(unet))[[1, 900]]
    loss = trainee.runner.compute_loss(x=x, y=y, y_pred=keras.ops.convert_to_tensor(answer))
    assert float(loss) == pytest.approx((((answer - 1) ** 2).mean(axis=(1, 2, 3)) * weights).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="unknown loss 'min_snrr'; did you mean min_snr"):
        trainee.use("min_snrr", None)


@pytest.mark.parametrize(
    ("settings", "error", "wrong"),
    [
        ({"num_images": 0}, ValueError, "num_images"),
        ({"num_steps": 0}, ValueError, "num_steps must be between 1 and 1000"),
        ({"sampler": "dmp"}, ValueError, "unknown sampler 'dmp'"),
        ({"image": np.zeros((8, 8, 1), np.uint8)}, ValueError, r"shape \(8, 8, 1\); wanted \(8, 12, 1\)"),
        ({"image": np.full((8, 12), 255.0)}, ValueError, "from 255.0 to 255.0; wanted uint8, or floats in"),
        ({"image": pictures(1)[0], "strength": 1.5}, ValueError, "strength must be between 0 and 1, got 1.5"),
        ({"image": pictures(1)[0], "strength": True}, TypeError, "strength must be a number"),
        ({"mask": np.zeros((8, 12))}, ValueError, "pass the image too"),
        ({"image": pictures(1)[0], "mask": np.zeros((3, 3))}, ValueError, r"mask has shape \(3, 3\)"),
        ({"image": pictures(1)[0], "mask": np.full((8, 12), 0.5)}, ValueError, "mask holds"),
    ],
)
def test_bad_requests_are_refused_by_name(unet, settings, error, wrong):
    with pytest.raises(error, match=wrong):
        kzoo.generate(unet, **settings)


def test_bad_data_are_refused_by_name(unet):
    with pytest.raises(ValueError, match="augment=True: a network that makes pictures"):
        loaded(unet, augment=True)
    with pytest.raises(ValueError, match="such pictures are brought to"):
        loaded(unet, preprocessing=kzoo.Preprocessing(mean=(0.5,), std=(0.5,)))
    with pytest.raises(ValueError, match="wanted pictures"):
        from_arrays(np.zeros((4, 8)), np.zeros(4), unet)
    broken = exact(np.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        denoising.denoise(broken, samplers.plan(NOISE, 2), (1, 4, 6, 1))

"""Two networks against each other: steps beside pytorch/examples', losses, exact resume, pictures in and out."""

import functools
import json

import keras
import numpy as np
import pytest
import safetensors.numpy
import small_runs as runs
from click.testing import CliRunner
from golden_files import golden, write
from PIL import Image
from prepared_data import needs

import kzoo
from kzoo.cli import commands
from kzoo.tasks.adversarial_generation import games, pairs

SIZES = {
    "generator": {"latent_dim": 6, "filters": 3, "image_shape": (20, 28, 2)},
    "discriminator": {"filters": 3, "input_shape": (20, 28, 2)},
}
TINY = {
    "generator": {"latent_dim": 5, "hidden_dims": (7,), "image_shape": (8, 8, 1)},
    "discriminator": {"input_shape": (8, 8, 1), "hidden_dims": (6,), "num_pieces": 2},
}
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="two networks train on TensorFlow")


def tiny(seed=0, **more):
    keras.utils.set_random_seed(seed)
    return kzoo.build("gan", **{part: {**keywords, **more.get(part, {})} for part, keywords in TINY.items()})


def pictures(count=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), "uint8")


@functools.cache
def data(batch_size):
    return kzoo.data.from_arrays(pictures(), None, tiny(), batch_size=batch_size, validation_fraction=0)


def fit(pair, folder=None, batch_size=10, **choices):
    """Four steps an epoch, unless the batch size is another."""
    how = {"epochs": 2, "steps_per_execution": 1, "tensorboard": False, "progress": False, **choices}
    return kzoo.fit(pair, data(batch_size), folder, **how)


def weights_of(pair):
    return {f"{part}/{v.path}": v.numpy() for part, model in pair.items() for v in model.weights}


def test_two_steps_are_those_of_pytorch_examples(tmp_path, monkeypatch):
    tensors, _, _ = golden("gan_steps")
    pair = kzoo.build("dcgan", **SIZES)
    for part, model in pair.items():
        prefix = f"before.{part}."
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        kzoo.load_weights(model, write(own, tmp_path))
    runner = pairs.Runner(pair["generator"], pair["discriminator"])
    optimizers = [keras.optimizers.Adam(2e-3, beta_1=0.5, epsilon=1e-8) for _ in range(2)]
    runner.compile(optimizers[0], optimizer=optimizers[1])
    noise = iter(tensors["noise"])
    monkeypatch.setattr(runner, "draw", lambda *arguments: next(noise))
    for real, losses in zip(tensors["real"], tensors["losses"], strict=True):
        [mean.reset_state() for mean in runner.means.values()]
        found = runner.train_step((real,))
        got = [float(found["discriminator_loss"]), float(found["generator_loss"])]
        np.testing.assert_allclose(got, losses, rtol=1e-5)
    for part, model in pair.items():
        kzoo.save_weights(model, tmp_path / "after.safetensors")
        for key, value in safetensors.numpy.load_file(tmp_path / "after.safetensors").items():
            wanted = tensors[f"after.{part}.{key}"]
            # Adam divides gradients by their size, and so doubtful digits of the smallest ones count.
            error, change = (np.linalg.norm(wanted - other) for other in (value, tensors[f"before.{part}.{key}"]))
            assert error < change * (0.02 if key.endswith("running_var") else 5e-3)  # torch keeps the unbiased variance


def test_losses_by_hand():
    real, fake = np.array([[2.0], [-0.5]], "float32"), np.array([[0.3], [-3.0]], "float32")
    log = lambda x: np.log(1 / (1 + np.exp(-x.astype("float64"))))  # noqa: E731 of a probability
    entropy = -(log(real) + log(-fake)).mean()
    wanted = {
        "non_saturating": (entropy, -log(fake).mean()),
        "saturating": (entropy, log(-fake).mean()),
        "hinge": ((0 + 1.5 + 1.3 + 0) / 2, 2.7 / 2),
        "wgan_gp": (-2.7 / 2 - 1.5 / 2, 2.7 / 2),
    }
    assert wanted.keys() == games.GAMES.keys()
    for name, (of_discriminator, of_generator) in wanted.items():
        game = games.find(name)
        np.testing.assert_allclose(game.discriminator(real, fake), of_discriminator, rtol=1e-6)
        np.testing.assert_allclose(game.generator(fake), of_generator, rtol=1e-6)
    np.testing.assert_allclose(games.find("hinge").score(real), 0.75)
    np.testing.assert_allclose(games.find("saturating").score(fake), np.exp(log(fake)).mean(), rtol=1e-6)


@pytest.mark.parametrize("xla", [False, True])
def test_the_penalty_has_a_second_derivative(xla):
    """Of a linear critic it is known: the gradient of every picture is its weight."""
    import tensorflow as tf

    image = keras.Input((2, 2, 1), name="image")
    logit = keras.layers.Dense(1, name="y")(keras.layers.Flatten()(image))
    critic = keras.Model(image, logit)
    runner = pairs.Runner(tiny()["generator"], critic)
    kernel = critic.layers[-1].kernel

    @tf.function(jit_compile=xla)
    def slope(images):
        with tf.GradientTape() as tape:
            loss = runner._slope(images)
        return loss, tape.gradient(loss, kernel.value)

    loss, gradient = slope(np.random.default_rng(0).random((3, 2, 2, 1), "float32"))
    weight = kernel.numpy()
    length = np.linalg.norm(weight)
    np.testing.assert_allclose(loss, (length - 1) ** 2, rtol=1e-5)
    np.testing.assert_allclose(gradient, 2 * (length - 1) * weight / length, rtol=1e-4)


def test_a_critic_takes_five_steps_to_one_of_the_generator():
    pair = tiny()
    before = weights_of(pair)

    def check(step):
        now = weights_of(pair)
        moved = {key.partition("/")[0] for key, value in now.items() if not np.array_equal(value, before[key])}
        assert moved == ({"generator", "discriminator"} if step == 5 else {"discriminator"})

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: check(step + 1))
    fit(pair, epochs=1, loss="wgan_gp", batch_size=8, callbacks=[watch])


@pytest.mark.parametrize("loss", [None, "wgan_gp"])
def test_it_resumes_bit_for_bit_with_both_optimizers(tmp_path, loss):
    pair = tiny()
    fit(pair, tmp_path / "whole", loss=loss)
    stop = runs.Stop(runs.fail, epoch=2, step=2)
    how = {"loss": loss, "backup_steps": 1}
    with pytest.raises(RuntimeError, match="the user's own words"):
        fit(tiny(), tmp_path / "run", callbacks=[stop], **how)
    resumed = tiny(seed=5)
    fit(resumed, tmp_path / "run", resume=True, **how)
    wanted = weights_of(pair)
    assert not [key for key, value in weights_of(resumed).items() if not np.array_equal(value, wanted[key])]
    again = weights_of(kzoo.load(tmp_path / "run"))
    assert all(np.array_equal(again[key], value) for key, value in wanted.items())
    with pytest.raises(ValueError, match="loss was .*, now 'hinge'"):
        fit(tiny(), tmp_path / "run", resume=True, loss="hinge")


def test_every_epoch_leaves_pictures_of_the_same_noise(tmp_path):
    pair = tiny()
    run = fit(pair, tmp_path / "run", loss="hinge", epochs=3)
    assert {"discriminator_loss", "generator_loss", "real_score", "fake_score"} <= set(run.history[-1])
    files = sorted((tmp_path / "run" / "samples").iterdir())
    assert [file.name for file in files] == ["0001.png", "0002.png", "0003.png"]
    with Image.open(tmp_path / "run" / "samples.gif") as film:
        assert film.n_frames == 3 and film.size == (82, 82)
    grid = np.asarray(Image.open(files[-1]))
    np.testing.assert_array_equal(grid[2:10, 12:20], kzoo.generate(pair, num_images=2)[1, ..., 0])
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["loss"] == "hinge" and facts["recipe"]["beta_1"] == 0.5


def test_pictures_of_a_seed_are_the_same_however_many():
    pair = tiny()
    few, many = kzoo.generate(pair, num_images=3, seed=4), kzoo.generate(pair["generator"], num_images=70, seed=4)
    assert few.shape == (3, 8, 8, 1) and few.dtype == np.uint8
    np.testing.assert_array_equal(few, many[:3])
    assert not np.array_equal(few, kzoo.generate(pair, num_images=3, seed=5))


def test_what_a_dcgan_writes_is_scaled_back():
    pair = kzoo.build("dcgan", **SIZES)
    noise = np.random.default_rng(3).standard_normal((2, 6), "float32")
    found = keras.ops.convert_to_numpy(pair["generator"](noise))
    wanted = np.round((found + 1) / 2 * 255)
    np.testing.assert_allclose(kzoo.generate(pair, num_images=2, seed=3), wanted, atol=1)


def test_both_networks_are_exported_and_the_generator_serves_pixels(tmp_path):
    import tensorflow as tf

    pair = kzoo.build("dcgan", **SIZES)
    report = kzoo.export(pair, tmp_path / "out")
    assert {part: list(row["signatures"]) for part, row in report["parts"].items()} == {
        "generator": ["serve", "generate"], "discriminator": ["serve", "serve_images"]
    }  # fmt: skip
    noise = np.random.default_rng(3).standard_normal((2, 6), "float32")
    served = tf.saved_model.load(str(tmp_path / "out" / "generator"))
    images = served.signatures["generate"](noise=tf.constant(noise))["images"].numpy()
    assert images.dtype == np.uint8
    np.testing.assert_allclose(images.astype(int), kzoo.generate(pair, num_images=2, seed=3), atol=1)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["litert", "onnx"])
def test_other_formats_hold_the_generator(tmp_path, format):
    pytest.importorskip({"litert": "ai_edge_litert", "onnx": "tf2onnx"}[format])
    report = kzoo.export(kzoo.build("dcgan", **SIZES), tmp_path / "out", format=format)
    assert all(row["max_difference"] < 1e-5 * row["scale"] for row in report["parts"].values())


def test_a_folder_of_pictures_needs_no_classes(tmp_path):
    for index, picture in enumerate(pictures(12)):
        place = tmp_path / "all" / ("deep/er" if index % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).save(place / f"{index}.png")
    found = kzoo.data.load(f"{tmp_path}/all", tiny(), validation_fraction=0)
    assert found.train.num_examples == 12 and found.class_names is None
    x, y = next(iter(found.train.dataset))
    assert x.shape == (12, 8, 8, 1) and float(np.max(x)) <= 1 and not np.any(y)
    (tmp_path / "all" / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"1 of 13 files .* notes.txt"):
        kzoo.data.load(f"{tmp_path}/all", tiny())
    (tmp_path / "all" / "train").mkdir()
    (tmp_path / "all" / "deep").rename(tmp_path / "all" / "train" / "deep")
    assert kzoo.data.load(f"{tmp_path}/all", tiny(), validation_fraction=0).train.num_examples == 6


def test_evaluation_without_and_with_a_classifier(tmp_path):
    pair, held = tiny(), kzoo.data.from_arrays(pictures(), None, tiny(), test=(pictures(30, 1), None))
    found = kzoo.evaluate(pair, held)
    assert {"discriminator_loss", "generator_loss", "real_score", "fake_score", "num_examples"} <= set(found)
    assert 0 < found["real_score"] < 1
    kzoo.save(kzoo.build("mnist_cnn", input_shape=(18, 18, 1), filters=(2, 2, 2), hidden_dim=4), tmp_path / "own")
    found = kzoo.evaluate(pair, held, features=tmp_path / "own", num_images=20)
    assert found["frechet_distance"] > 0 and found["num_generated"] == 20
    assert 0 <= found["precision"] <= 1 and 0 <= found["recall"] <= 1


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: fit(tiny(), loss="mse"), "unknown loss 'mse'.*non_saturating, saturating, hinge, wgan_gp"),
        (lambda: fit(tiny(), loss=max), "loss must be one of"),
        (lambda: fit(tiny(), metrics=["accuracy"]), r"metrics=\['accuracy'\]: gan logs"),
        (lambda: kzoo.fit(tiny(), pictures(), early_stopping=2), "early_stopping=2"),
        (lambda: fit(tiny(), train_from="y"), "train_from='y' is for one network; gan trains 2"),
        (lambda: fit(tiny()["generator"]), "gan_generator is one network, and two learn against each other"),
        (lambda: fit(tiny(generator={"image_shape": (8, 9, 1)})), r"makes pictures of \(8, 9, 1\) and .* \(8, 8, 1\)"),
        (lambda: kzoo.build("dcgan_generator", image_shape=(30, 32, 1)), r"image_shape \(30, 32, 1\) cannot be halved"),
        (lambda: kzoo.build("dcgan_discriminator", input_shape=(28, 64, 3)), "the same one for both"),
        (lambda: kzoo.generate(tiny(), num_images=0), "num_images .* must be at least 1, got 0"),
        (lambda: kzoo.generate(tiny()["discriminator"]), "gan_discriminator reads pictures and writes none"),
        (lambda: kzoo.predict(tiny(), pictures()), "gan has the parts generator, discriminator"),
        (lambda: kzoo.evaluate(tiny(), "digits", num_images=3), "num_images=3 goes with features="),
        (lambda: kzoo.evaluate(tiny(), "digits", features=tiny()["generator"]), "gan_generator takes no images"),
    ],
)
def test_bad_input(act, message):
    with pytest.raises((ValueError, TypeError), match=message):
        act()


def test_batch_norm_and_a_penalty_of_each_picture_do_not_go_together():
    pair = kzoo.build("dcgan", **SIZES)
    with pytest.raises(ValueError, match=r"loss='wgan_gp' .* with_batch_norm=False"):
        kzoo.fit(pair, np.zeros((4, 20, 28, 3), "uint8"), loss="wgan_gp")


@needs("stamps_captions")
def test_a_data_set_needs_no_labels():
    pair = tiny(generator={"image_shape": (8, 8, 3)}, discriminator={"input_shape": (8, 8, 3)})
    found = kzoo.data.load("stamps_captions", pair, num_examples=20)  # pictures and captions
    assert found.train.num_examples == 20 and not np.any(next(iter(found.train.dataset))[1])
    with pytest.raises(ValueError, match="bible_en_es' has no pictures; gan_discriminator learns from one"):
        kzoo.data.load("bible_en_es", pair)


def test_pictures_from_the_command_line(tmp_path):
    """Trained, written as a grid and one by one, measured, and refused in one line."""

    def kzoo_says(*words):
        return CliRunner().invoke(commands.cli, [str(word) for word in words])

    for index, picture in enumerate(pictures(20)):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(picture[..., 0]).save(tmp_path / "photos" / f"{index}.png")
    sizes = [word for part, keywords in TINY.items() for word in ("--set", f"{part}={keywords}")]
    run, how = tmp_path / "run", ["--data", tmp_path / "photos", "--loss", "hinge", "--batch-size", 9, "--quiet"]
    done = kzoo_says("train", "gan", *sizes, *how, "--epochs", 1, "--run-folder", run)
    assert done.exit_code == 0 and "real_score" in done.output, done.output
    done = kzoo_says("train", "--resume", "--run-folder", run, "--epochs", 2, "--quiet")
    assert done.exit_code == 0 and "trained 2 epochs" in done.output, (done.output, done.exception)
    assert json.loads((run / "run.json").read_text())["loss"] == "hinge"
    done = kzoo_says("generate", run, tmp_path / "grid.png", "--count", 5, "--seed", 3)
    assert done.exit_code == 0 and "5 pictures of 8x8" in done.output, done.output
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (3 * 10 + 2, 2 * 10 + 2)
    done = kzoo_says("generate", run, tmp_path / "each", "--count", 5, "--seed", 3)
    first = np.asarray(Image.open(tmp_path / "each" / "00000.png"))
    np.testing.assert_array_equal(first, kzoo.generate(kzoo.load(run), num_images=1, seed=3)[0, ..., 0])
    for words, message in {
        ("generate", run, tmp_path / "each"): "not empty",
        ("generate", run, tmp_path / "sound.wav"): "pictures are written as a grid into a .png",
        ("generate", run, tmp_path / "x.png", "--top-k", 3): "--top-k: not for pictures",
        ("generate", run, "--count", 3): "--count is of pictures; name the file",
        ("evaluate", run, "--features", tmp_path / "nothing"): "nothing",
    }.items():
        refused = kzoo_says(*words)
        assert refused.exit_code != 0 and message in f"{refused.output}{refused.exception}"
    assert "gan_generator: 5" in kzoo_says("info", run).output

"""Pictures from words: a text encoder, a denoiser and an autoencoder that learn, paint and are served together."""

import json
import logging
import re

import click
import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import kzoo
from kzoo import catalog
from kzoo.building import Assembly
from kzoo.cli.commands import cli
from kzoo.exporting import several_networks
from kzoo.generation import latents
from kzoo.tasks import find
from kzoo.tasks.image_diffusion.networks import networks_of

SIZES = {
    "text_encoder": {
        "num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 8, "vocabulary_size": 60, "max_length": 7,
    },
    "unet": {
        "filters": (4, 8), "down_blocks": ("CrossAttnDownBlock2D", "DownBlock2D"), "num_layers": 1, "num_heads": (2, 2),
        "up_blocks": ("UpBlock2D", "CrossAttnUpBlock2D"), "context_dim": 8, "num_groups": 2, "input_shape": (4, 8, 4),
    },
    "vae": {"filters": (4, 4), "num_groups": 2, "num_layers": 1, "input_shape": (8, 16, 3)},
}  # fmt: skip
WORDS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of plain pictures of three colours and their names."""
    folder = tmp_path_factory.mktemp("colours")
    lines = ["path,caption"]
    for index in range(18):
        pixels = np.zeros((8, 16, 3), np.uint8)
        pixels[..., index % 3] = 255
        Image.fromarray(pixels).save(folder / f"{index}.png")
        lines.append(f"{index}.png,a {WORDS[index % 3]} one {index}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "table.csv")


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = kzoo.build("latent_diffusion_small", **SIZES)
    folder = tmp_path_factory.mktemp("diffusion") / "run"
    data = kzoo.data.load(table, model, batch_size=6, validation_fraction=0.2)
    before = [part.get_weights() for part in model.values()]
    kzoo.fit(model, data, folder, epochs=1, batch_size=6, warmup_steps=0, ema=0.5, progress=False)
    return model, data, folder, before


def test_words_and_latents_are_learned_and_the_autoencoder_stays(trained):
    model, data, folder, before = trained
    for (name, part), old in zip(model.items(), before, strict=True):
        same = all((a == b).all() for a, b in zip(part.get_weights(), old, strict=True))
        assert same == (name == "vae"), name
    again = kzoo.load(folder)
    assert isinstance(again, Assembly) and again.kzoo.noise == model.kzoo.noise
    for part in model:
        for ours, theirs in zip(model[part].get_weights(), again[part].get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert again["text_encoder"].kzoo.tokenizer.encode(["a red one"]) == data.tokenizer.encode(["a red one"])

    x, _ = next(iter(data.train.epoch(0)))
    assert x["sample"].shape == (6, 4, 8, 4) and x["token_ids"].shape == (6, 7)
    said = np.concatenate([np.asarray(x["token_ids"]) for epoch in range(60) for x, _ in data.train.epoch(epoch)])
    empty = networks_of(model).ids([""], data.tokenizer)
    assert 0.05 < (said == empty).all(axis=1).mean() < 0.16  # a tenth is left unsaid
    for x, _ in data.validation.epoch(0):
        assert not (np.asarray(x["token_ids"]) == empty).all(axis=1).any()
    assert kzoo.evaluate(model, data, split="validation")["loss"] > 0


def test_pictures_follow_words_guidance_and_seeds(trained):
    model, *_ = trained
    how = {"num_steps": 4, "seed": 3}
    two = kzoo.generate(model, 2, prompt="a red one", **how)
    assert two.shape == (2, 8, 16, 3)
    listed = kzoo.generate(model, prompt=["a red one", "a blue one"], **how)
    assert abs(listed[0].astype(int) - two[0]).max() <= 1 and (listed[1] != two[1]).any()
    plain = kzoo.generate(model, 2, prompt="a red one", guidance=1, **how)
    assert (plain != two).any()
    again = kzoo.generate(model, 2, prompt="", negative_prompt="a red one", guidance=0, **how)
    assert abs(again.astype(int) - plain).max() <= 1  # all of the negative prompt


def test_a_picture_is_changed_through_latents(trained):
    model, *_ = trained
    image, mask = np.full((8, 16, 3), 200, np.uint8), np.zeros((8, 16), bool)
    mask[:, 8:] = True
    seen = []
    painted = kzoo.generate(
        model, prompt="a red one", image=image, mask=mask, num_steps=5, strength=0.9,
        progress=lambda done, total, look: seen.append((done, total, look().shape)),
    )[0]  # fmt: skip
    np.testing.assert_array_equal(painted[:, :8], image[:, :8])
    assert seen == [(4, 4, (1, 8, 16, 3))]


def test_latents_are_scaled_means_and_lead_back(trained):
    vae = trained[0]["vae"]
    pictures = np.random.default_rng(0).uniform(-1, 1, (3, 8, 16, 3)).astype(np.float32)
    moments = np.asarray(vae({"image": pictures, "latents": np.zeros((3, 4, 8, 4))})["moments"])
    mean, log_variance = np.split(moments, 2, axis=-1)
    found = latents.encode(vae, pictures)
    np.testing.assert_allclose(found, mean * 0.18215, atol=1e-6)
    drawn = np.stack([latents.encode(vae, pictures, np.random.default_rng(seed)) for seed in range(200)])
    spread = np.exp(0.5 * log_variance) * 0.18215
    np.testing.assert_allclose(drawn.std(axis=0), spread, rtol=0.3)
    decoded = vae({"image": pictures, "latents": mean})["decoded"]
    np.testing.assert_allclose(latents.decode(vae, found), np.asarray(decoded), atol=1e-5)


def test_a_server_makes_the_same_pictures_from_words(trained, tmp_path):
    import tensorflow as tf

    model, data, *_ = trained
    endpoints = find("image_diffusion").endpoints(model)
    report = several_networks.write(model, endpoints, tmp_path / "together")
    assert report["max_difference"] <= 1
    generate = tf.saved_model.load(str(tmp_path / "together")).signatures["generate"]
    networks, noise = networks_of(model), np.random.default_rng([5, 0]).standard_normal((4, 8, 4), np.float32)[None]
    ids = {"token_ids": networks.ids(["a red one"]), "negative_token_ids": networks.ids([""])}
    given = {name: tf.constant(each) for name, each in {**ids, "noise": noise, "guidance": np.float32(4)}.items()}
    served = generate(**given)
    ours = kzoo.generate(model, prompt="a red one", guidance=4.0, num_steps=20, sampler="dpm_solver", seed=5)
    assert (abs(np.asarray(served["images"]).astype(int) - ours) <= 1).mean() > 0.999
    assert (tmp_path / "together" / "assets" / "tokenizer.json").is_file()


def run(*arguments):
    return CliRunner().invoke(cli, ["generate", *map(str, arguments)], standalone_mode=False, catch_exceptions=False)


def test_the_command_line_paints_and_refuses(trained, tmp_path):
    folder, out = trained[2], tmp_path / "grid.png"
    done = run(folder, out, "--prompt", "a red one", "--count", 2, "--steps", 3, "--preview")
    assert "2 pictures of 8x16" in done.output
    with Image.open(out) as image:
        assert image.size == (2 * 16 + 6, 8 + 4)
    Image.fromarray(np.full((9, 20, 4), 128, np.uint8)).save(tmp_path / "in.png")
    more = ("--image", str(tmp_path / "in.png"), "--mask", str(tmp_path / "in.png"), "--strength", "0.5")
    run(folder, tmp_path / "each", "--prompt", "a dog", "--steps", 4, *more)
    assert [path.name for path in (tmp_path / "each").iterdir()] == ["00000.png"]
    for options, wrong in (
        ((), "makes pictures of texts; pass prompt="),
        (("--prompt", "x", "--guidance", "-1"), "guidance must be a finite number of at least 0, got -1.0"),
        (("--prompt", "x", "--sampler", "eulr"), "unknown sampler 'eulr'; did you mean euler"),
        (("--prompt", "x", "--seconds", "2"), "--seconds: not for pictures"),
        (("--prompt", "x", "--image", "none.png"), "no file at none.png"),
    ):
        with pytest.raises((ValueError, click.UsageError), match=re.escape(wrong)):
            run(folder, tmp_path / "no.png", *options)
        assert not (tmp_path / "no.png").exists()
    with pytest.raises(click.UsageError, match="--steps is of pictures; name the file"):
        run(folder, "--steps", 3)


def test_networks_that_do_not_fit_are_refused_by_name(trained, caplog):
    model, data, *_ = trained

    def assembly(**parts):
        found = {name: part for name, part in {**model, **parts}.items() if part}
        return Assembly("odd", found, catalog.Card("odd", None, "image_diffusion"))

    other = kzoo.build("autoencoder_kl_small", filters=(4, 4), num_groups=2, num_layers=1, input_shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"latents are \(4, 4, 4\) and the unet takes \(4, 8, 4\)"):
        networks_of(assembly(vae=other))
    with pytest.raises(ValueError, match="the unet needs a text_encoder"):
        networks_of(assembly(text_encoder=None))
    with pytest.raises(ValueError, match="wanted unet among them"):
        networks_of(assembly(unet=None))
    wide = kzoo.build("clip_text_small", **{**SIZES["text_encoder"], "hidden_dim": 12})
    with pytest.raises(ValueError, match="gives 12 numbers a token and the unet reads 8"):
        networks_of(assembly(text_encoder=wide))
    with pytest.raises(ValueError, match="has no tokenizer to read texts with"):
        networks_of(assembly(text_encoder=kzoo.build("clip_text_small", **SIZES["text_encoder"]))).ids(["x"])
    for settings, wrong in (
        ({}, "makes pictures of texts; pass prompt="),
        ({"prompt": []}, "prompt is an empty list"),
        ({"prompt": "x", "rescale": 2}, "rescale must be between 0 and 1, got 2"),
        ({"prompt": "x", "mask": np.ones((8, 16))}, "pass the image too"),
    ):
        with pytest.raises(ValueError, match=wrong):
            kzoo.generate(model, **settings)
    with pytest.raises(TypeError, match="prompt must be a text"):
        kzoo.generate(model, prompt=3)
    caplog.set_level(logging.WARNING)
    networks_of(model).ids(["a red one and many more words than fit into it"])
    assert "1 of 1 texts have more than 5 tokens and were cut" in caplog.text


def test_index_holds_the_schedule_of_noise(trained):
    folder = trained[2]
    assert json.loads((folder / "scheduler" / "scheduler_config.json").read_text())["_class_name"] == "DDIMScheduler"

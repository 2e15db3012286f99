"""Folders that diffusers lays out, read whole and written back."""

import json
import logging
import shutil
import sys

import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN, assert_close, run
from seeded_weights import draw_images, draw_weights, reference_shapes

import kzoo
from kzoo import measure
from kzoo.catalog import configurations
from kzoo.cli import commands
from kzoo.data import Tokenizer
from kzoo.data.tokenizing import published_files
from kzoo.tasks.image_diffusion.networks import networks_of

PROMPTS = ["A red apple, isn't it?", ""]
PARTS = {"stable_diffusion": ("text_encoder", "unet", "vae"), "ddpm": ("unet",)}


def file_of(part):
    return "model.safetensors" if part == "text_encoder" else "diffusion_pytorch_model.safetensors"


def edit(path, **changes):
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


def copy_of(name, folder):
    """A folder as diffusers saved it, with drawn weights."""
    shutil.copytree(GOLDEN / "pipelines" / name, folder)
    if name == "stable_diffusion":
        for file in ("vocab.json", "merges.txt"):
            shutil.copy(GOLDEN / "tokenizers" / "clip" / file, folder / "tokenizer")
    for part in PARTS[name]:
        entry, overrides = configurations.read(folder / part).choose({})
        shapes = measure.without_weights(lambda e=entry, o=overrides: reference_shapes(kzoo.build(e.name, **o)))
        safetensors.numpy.save_file(draw_weights(shapes), folder / part / file_of(part))
    return folder


@pytest.fixture(scope="module", params=PARTS)
def published(request, tmp_path_factory):
    """The name of a pipeline, its folder, and what kzoo makes of it."""
    folder = copy_of(request.param, tmp_path_factory.mktemp("published") / "folder")
    return request.param, folder, kzoo.build(folder)


@pytest.fixture
def folder(tmp_path):
    return copy_of("stable_diffusion", tmp_path / "folder")


def test_a_folder_of_diffusers_is_built_whole(published):
    name, folder, assembly = published
    assert (assembly.kzoo.architecture, tuple(assembly)) == (name, PARTS[name])
    noise = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert assembly.kzoo.noise == {k: v for k, v in noise.items() if v is not None and k != "_diffusers_version"}
    for part, model in assembly.items():
        stored = safetensors.numpy.load_file(folder / part / file_of(part))
        assert {*stored} == {*reference_shapes(model)}
    if name == "stable_diffusion":
        wanted = safetensors.numpy.load_file(GOLDEN / "pipeline_stable_diffusion.safetensors")
        encoder = assembly["text_encoder"]
        ids = networks_of(assembly).ids(PROMPTS)
        np.testing.assert_array_equal(ids, wanted["token_ids"])
        states = run(encoder, {"token_ids": ids})
        noisy = {"sample": draw_images(12, 20, 4), "timestep": np.array([3, 917], "float32")}
        assert_close(run(assembly["unet"], {**noisy, "encoder_hidden_states": states}), wanted["prediction"])
        assert [tuple(each.shape) for each in assembly["vae"].inputs] == [(None, 24, 40, 3), (None, 12, 20, 4)]


def test_it_is_written_back_as_diffusers_had_it(published, tmp_path):
    name, folder, assembly = published
    kzoo.save_weights(assembly, tmp_path / "back", names="diffusers")
    names = [path.relative_to(folder) for path in folder.rglob("*.json") if "tokenizer" not in path.parts]
    for path in names:
        theirs, ours = (json.loads((root / path).read_text()) for root in (folder, tmp_path / "back"))
        assert ours == {key: theirs.get(key) for key in ours}, path
        assert not [key for key in theirs if key not in ours and key in (*PARTS[name], "sample_size", "num_layers")]
    for part in assembly:
        theirs, ours = (
            safetensors.numpy.load_file(root / part / file_of(part)) for root in (folder, tmp_path / "back")
        )
        assert theirs.keys() == ours.keys()
        for key, value in theirs.items():
            np.testing.assert_array_equal(ours[key], value)
    again = kzoo.build(tmp_path / "back")
    assert again.kzoo == assembly.kzoo
    if name == "stable_diffusion":
        tokenizers = [each["text_encoder"].kzoo.tokenizer for each in (assembly, again)]
        assert tokenizers[0].encode(PROMPTS) == tokenizers[1].encode(PROMPTS)
        assert tokenizers[0].special == tokenizers[1].special
    with pytest.raises(ValueError, match="back is not empty"):
        kzoo.save_weights(assembly, tmp_path / "back", names="diffusers")


def test_kzoo_keeps_the_schedule_of_noise(published, tmp_path):
    _, _, assembly = published
    kzoo.save(assembly, tmp_path / "ours")
    loaded = kzoo.load(tmp_path / "ours")
    assert loaded.kzoo == assembly.kzoo and loaded.kzoo.noise
    with pytest.raises(ValueError, match="_kzoo_version|use kzoo.load|no config.json|config.json with a model_type"):
        kzoo.build(tmp_path / "ours")


def test_the_schedule_of_noise_is_the_callers_then_the_folders_then_the_entrys(folder):
    own = kzoo.build("ddpm_cifar10", unet=SMALL, noise={"prediction_type": "v_prediction"})
    assert own.kzoo.noise == {
        "_class_name": "DDPMScheduler", "variance_type": "fixed_large", "prediction_type": "v_prediction"
    }  # fmt: skip
    assert own.kzoo.overrides == {"unet": SMALL, "noise": {"prediction_type": "v_prediction"}}
    given = kzoo.build(folder, noise={"steps_offset": 0})
    assert given.kzoo.noise["steps_offset"] == 0 and given.kzoo.noise["beta_end"] == 0.02
    for noise, error, message in (
        ({"beta_begin": 1}, ValueError, "beta_begin.*did you mean beta_end|beta_start"),
        ({"_class_name": "LMSDiscreteScheduler"}, ValueError, "'LMSDiscreteScheduler'; offered"),
        ({"prediction_type": "noise"}, ValueError, "prediction_type='noise'"),
        (7, TypeError, "noise must be a dict of settings of the schedule of noise, got 7"),
    ):
        with pytest.raises(error, match=f"ddpm_cifar10: .*{message}"):
            kzoo.build("ddpm_cifar10", unet=SMALL, noise=noise)


SMALL = {
    "filters": (8,), "down_blocks": ("DownBlock2D",), "up_blocks": ("UpBlock2D",), "num_layers": 1, "num_groups": 4,
    "input_shape": (4, 4, 3),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "vae"), "part vae: .* has no folder vae, which model_index.json names"),
        (lambda f: shutil.rmtree(f / "scheduler"), "part scheduler: .* has no folder scheduler"),
        (lambda f: shutil.rmtree(f / "tokenizer"), "part tokenizer: .* has no folder tokenizer"),
        (lambda f: (f / "scheduler" / "scheduler_config.json").unlink(), "scheduler_config.json"),
        (lambda f: (f / "unet" / "config.json").unlink(), "part unet: .*unet holds no config.json"),
        (lambda f: edit(f / "model_index.json", unet=...), "names no unet, which StableDiffusionPipeline has"),
        (lambda f: edit(f / "model_index.json", controlnet=["diffusers", "ControlNetModel"]), "part controlnet"),
        (lambda f: edit(f / "model_index.json", _class_name="StableDiffusionXLPipeline"), "did you mean.*Stable"),
        (lambda f: edit(f / "unet" / "config.json", _class_name="UNet2DModel"), "part unet: .*wanted such as unet_c"),
        (lambda f: edit(f / "unet" / "config.json", only_cross_attention=True), "only_cross_attention: True is not"),
        (lambda f: edit(f / "unet" / "config.json", new_trick=2), "nothing is known of new_trick: 2"),
        (lambda f: edit(f / "vae" / "config.json", up_block_types=["AttnUpDecoderBlock2D"] * 2), "'AttnUpDecoderB"),
        (lambda f: edit(f / "scheduler" / "scheduler_config.json", new_trick=2), "unknown setting.*new_trick"),
        (
            lambda f: edit(f / "scheduler" / "scheduler_config.json", _class_name="DDIMScheduler"),
            "is of 'DDIMScheduler', and model_index.json names 'PNDMScheduler'",
        ),
        (lambda f: (f / "unet" / file_of("unet")).unlink(), "part unet: .*found none"),
        (lambda f: (f / "unet" / file_of("unet")).write_bytes(b"{"), "part unet: .*damaged"),
    ],
)
def test_folders_that_do_not_fit_are_refused(folder, change, message):
    change(folder)
    with pytest.raises(ValueError, match=message):
        kzoo.build(folder)


def test_parts_beside_the_networks_are_said_to_be_left_out(folder, caplog):
    edit(folder / "model_index.json", safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    with caplog.at_level(logging.WARNING, "kzoo"):
        kzoo.build(folder)
    assert "safety_checker is left out" in caplog.text


def test_info_reads_configurations_without_weights(folder, monkeypatch, capfd):
    for part in PARTS["stable_diffusion"]:
        (folder / part / file_of(part)).unlink()
    facts = kzoo.info(str(folder))
    assert list(facts["parts"]) == list(PARTS["stable_diffusion"]) and facts["architecture"] == "stable_diffusion"
    monkeypatch.setattr(sys, "argv", ["kzoo", "info", str(folder)])
    with pytest.raises(SystemExit, match="^0$"):
        commands.main()
    said = capfd.readouterr().out
    assert "stable_diffusion" in said and "'context_dim': 6" in said.replace("\n", "").replace(" " * 14, "")


def test_what_diffusers_cannot_read_is_not_written(tmp_path):
    pair = kzoo.Assembly("pair", {"one": kzoo.build("perceptron")})
    with pytest.raises(ValueError, match="pair is no pipeline of diffusers; those that are: .*ddpm_cifar10"):
        kzoo.save_weights(pair, tmp_path / "out", names="diffusers")
    assembly = kzoo.build("ddpm_cifar10", unet=SMALL)
    adapted = kzoo.lora(assembly, 2, layers={"unet": ["to_q"]})
    with pytest.raises(ValueError, match=r"part unet: .*was rewritten \(lora\)"):
        kzoo.save_weights(adapted, tmp_path / "out", names="diffusers")
    assert not (tmp_path / "out").exists()


def test_sizes_that_cannot_be_halved():
    with pytest.raises(ValueError, match=r"\(30, 32, 3\): height and width must be multiples of 8.*choose 32"):
        kzoo.build("unet_2d_cifar10", input_shape=(30, 32, 3))
    with pytest.raises(ValueError, match="num_groups 5 does not divide the 8 channels"):
        kzoo.build("unet_2d", **{**SMALL, "num_groups": 5})
    with pytest.raises(ValueError, match="down_blocks has 1 items, and filters 4"):
        kzoo.build("unet_2d", down_blocks=("DownBlock2D",))
    with pytest.raises(ValueError, match="up_blocks must hold UpBlock2D or AttnUpBlock2D, got 'Up'"):
        kzoo.build("unet_2d", **{**SMALL, "up_blocks": ("Up",)})
    with pytest.raises(ValueError, match="head_dim 3 must be an int that divides the 8 channels"):
        kzoo.build("unet_2d", **SMALL, head_dim=3)


def test_each_half_of_an_autoencoder_reads_the_file_of_both(tmp_path):
    sizes = {"filters": (4, 4), "num_layers": 1, "num_groups": 2, "input_shape": (4, 6, 3)}
    whole = kzoo.build("autoencoder_kl", **sizes)
    kzoo.save_weights(whole, tmp_path / "both.safetensors")
    random = np.random.default_rng(0)
    image, latents = (random.standard_normal((1, *shape), "float32") for shape in ((4, 6, 3), (2, 3, 4)))
    wanted = run(whole, {"image": image, "latents": latents})
    for half, name, x, key in (("encoder", "image", image, "moments"), ("decoder", "latents", latents, "decoded")):
        alone = kzoo.build("autoencoder_kl", tmp_path / "both.safetensors", **sizes, half=half)
        assert_close(run(alone, {name: x}), wanted[key], 1e-6)
        assert alone.count_params() < whole.count_params()
    with pytest.raises(ValueError, match="half must be one of both, encoder, decoder, got 'left'"):
        kzoo.build("autoencoder_kl", **sizes, half="left")


def test_a_tokenizer_of_ones_own_is_published_with_its_ends(tmp_path):
    import tokenizers

    own = Tokenizer.train("subwords", ["a red apple and a green pear"], 40)
    assert published_files.write(own, tmp_path, 24) == "PreTrainedTokenizerFast"
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (config["model_max_length"], config["pad_token"], config["eos_token"]) == (24, "[PAD]", "[END]")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode("a pear").ids == [own.start_id, *own.encode(["a pear"])[0], own.end_id]
    assert Tokenizer.load(tmp_path).encode(["a pear"]) == own.encode(["a pear"])

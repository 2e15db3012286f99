"""The networks of diffusion beside those of `diffusers` and transformers."""

import json

import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN, assert_close, assert_writes_what_it_read, golden, run, write
from seeded_weights import draw_weights, load_drawn_weights, reference_shapes

import kzoo
from kzoo import measure

UNET_2D = {
    "filters": (8, 12, 16),
    "down_blocks": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_blocks": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "num_layers": 1,
    "num_groups": 4,
    "input_shape": (12, 20, 3),
    "num_outputs": 5,
}
UNET_CONDITION = {
    "filters": (8, 12),
    "down_blocks": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_blocks": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "num_layers": 1,
    "num_groups": 4,
    "context_dim": 6,
    "input_shape": (12, 20, 4),
    "num_outputs": 5,
}
AUTOENCODER = {"filters": (8, 12), "num_layers": 1, "num_groups": 4, "input_shape": (12, 20, 3)}
TEXT = {"num_layers": 2, "hidden_dim": 16, "num_heads": 4, "intermediate_dim": 24, "vocabulary_size": 31}
# golden file -> (variant, keywords)
CASES = {
    "unet_2d": ("unet_2d_celebahq", {**UNET_2D, "head_dim": 4}),
    "unet_2d_ddpm": ("unet_2d_cifar10", UNET_2D),
    "unet_condition": ("unet_condition_sd1", {**UNET_CONDITION, "num_heads": (2, 2)}),
    "unet_condition_linear": ("unet_condition_sd2", {**UNET_CONDITION, "num_heads": (2, 3)}),
    "autoencoder_kl": ("autoencoder_kl_f8", AUTOENCODER),
    "vq_model": ("vq_f4", {**AUTOENCODER, "code_dim": 4, "num_codes": 9}),
    "clip_text": ("clip_text_l_14", {**TEXT, "max_length": 9}),
    "clip_text_gelu": ("clip_text_h_14", {**TEXT, "max_length": 9}),
}


def compare(folder, case):
    """(ours, the reference's) of every output."""
    name, overrides = CASES[case]
    _, inputs, wanted = golden(f"diffusers_{case}")
    model = load_drawn_weights(kzoo.build(name, **overrides), folder)
    got = run(model, inputs)
    got = got if isinstance(got, dict) else {"prediction": got}
    for key, value in wanted.items():
        yield got[key.removeprefix(f"{case}.")], value


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_reference(case, tmp_path):
    for got, wanted in compare(tmp_path, case):
        assert_close(got, wanted)


EPSILONS = json.loads((GOLDEN / "diffusion_epsilons.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_every_norm_has_the_references_epsilon(case):
    name, overrides = CASES[case]
    layers = measure.without_weights(lambda: kzoo.build(name, **overrides)).layers
    assert {layer.name: layer.epsilon for layer in layers if hasattr(layer, "epsilon")} == EPSILONS[case]


@pytest.mark.parametrize("case", CASES)
def test_weights_go_out_as_they_came_in(case, tmp_path):
    name, overrides = CASES[case]
    assert_writes_what_it_read(kzoo.build(name, **overrides), tmp_path)


OLDER = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


@pytest.mark.parametrize(
    ("case", "names"),
    [("unet_2d", OLDER), ("autoencoder_kl", OLDER), ("vq_model", OLDER), ("clip_text", {"text_model.": ""})],
)
def test_other_names_are_read_and_go_out_again(case, names, tmp_path):
    name, overrides = CASES[case]
    model = kzoo.build(name, **overrides)

    def renamed(tensor):
        for ours, theirs in names.items():
            tensor = tensor.replace(ours, theirs)
        return tensor

    tensors = {renamed(tensor): value for tensor, value in draw_weights(reference_shapes(model)).items()}
    if case == "clip_text":
        tensors["embeddings.position_ids"] = np.arange(9)[None]  # of files before transformers 4.31
    again = kzoo.build(name, write(tensors, tmp_path), **overrides)
    kzoo.save_weights(again, tmp_path / "out.safetensors")
    tensors.pop("embeddings.position_ids", None)
    out = safetensors.numpy.load_file(tmp_path / "out.safetensors")
    assert out.keys() == tensors.keys()
    for key, value in tensors.items():
        np.testing.assert_array_equal(out[key], value)

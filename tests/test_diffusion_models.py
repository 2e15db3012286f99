"""The networks of diffusion beside those of `diffusers` and transformers."""

import pytest
from golden_files import assert_close, assert_writes_what_it_read, golden, run
from seeded_weights import load_drawn_weights

import kzoo

UNET_2D = {
    "filters": (8, 12, 16),
    "down_blocks": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_blocks": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "num_layers": 1,
    "num_groups": 4,
    "input_shape": (12, 20, 3),
    "num_outputs": 5,
}
# golden file -> (variant, keywords)
CASES = {
    "unet_2d": ("unet_2d_celebahq", {**UNET_2D, "head_dim": 4}),
    "unet_2d_ddpm": ("unet_2d_cifar10", UNET_2D),
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


@pytest.mark.parametrize("case", CASES)
def test_weights_go_out_as_they_came_in(case, tmp_path):
    name, overrides = CASES[case]
    assert_writes_what_it_read(kzoo.build(name, **overrides), tmp_path)

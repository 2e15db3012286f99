"""Explanations: captum's numbers, what holds for every method, and what is refused."""

import pytest
import safetensors.numpy
from golden_files import GOLDEN, assert_close
from seeded_weights import draw_images, load_drawn_weights

import kzoo

CAPTUM = {
    "saliency": {},
    "gradient_x_input": {},
    "integrated_gradients": {"steps": 8, "baseline": 0.25},
    "occlusion": {"window": (7, 10), "stride": (5, 10), "baseline": 0.25},
    "grad_cam": {"at": "layer3"},
}
SIZES = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "vocabulary_size": 20}


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    model = kzoo.build("resnet18", input_shape=(32, 48, 3), num_classes=11)
    return load_drawn_weights(model, tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("method", CAPTUM)
def test_agrees_with_captum(method, resnet):
    wanted = safetensors.numpy.load_file(GOLDEN / "captum.safetensors")[method]
    found = kzoo.explain(resnet, draw_images(32, 48), method, target=[3, 7], **CAPTUM[method])
    scores = found.scores[..., :1] if method == "occlusion" else found.scores
    assert_close(scores.reshape(wanted.shape), wanted)

"""CLIP beside transformers (scripts/golden/clip.py): towers, files in and out, the folder as it is published."""

import json
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled
from golden_files import GOLDEN, assert_close, golden

import kzoo
from kzoo import catalog

FOLDER = GOLDEN / "clip"
SMALL = {
    "patch_size": 4, "num_layers": (2, 2), "hidden_dim": (16, 12), "num_heads": (2, 2), "intermediate_dim": (24, 20),
    "embedding_dim": 8, "vocabulary_size": 722, "max_length": 24, "input_shape": (12, 12, 3),
}  # fmt: skip
CASES = {
    "openai": {},
    "openai_by_id": {"end_id": 320},  # an id within one text, which the others lack
    "laion": {"end_id": 721, "activation": "gelu"},
}
TEXTS = ["The quick brown fox", "a café in Zürich, 1984", "", "the weather " * 30]


def weights_alone(folder):
    """The weights without the configuration, which is that of one case."""
    shutil.copy(FOLDER / "model.safetensors", folder / "weights.safetensors")
    return folder / "weights.safetensors"


def compare(folder, case, how=lambda model: model):
    """(ours, transformers') for the vectors of both towers and the logits."""
    _, inputs, wanted = golden("clip_answers")
    model = kzoo.build("clip", weights_alone(folder), **SMALL, **CASES[case])
    pairs = np.asarray(how(model)({name: inputs[name] for name in ("image", "token_ids")}))
    yield pairs[:, 0], wanted[f"{case}.image"]
    yield pairs[:, 1] / np.linalg.norm(pairs[:, 1], axis=-1, keepdims=True), wanted[f"{case}.text"]
    yield pairs[:, 0] @ pairs[:, 1].T, wanted[f"{case}.logits"]


@pytest.mark.parametrize("case", [*CASES, "xla"])
def test_agrees_with_the_reference(case, tmp_path):
    case, how = ("openai_by_id", compiled) if case == "xla" else (case, lambda model: model)
    for got, wanted in compare(tmp_path, case, how):
        assert_close(got, wanted)


def test_either_tower_reads_the_file_of_both(tmp_path):
    _, inputs, wanted = golden("clip_answers")
    weights = weights_alone(tmp_path)
    for head, name in (("image", "image"), ("text", "token_ids")):
        model = kzoo.build("clip", weights, **SMALL, head=head)
        assert [tensor.name for tensor in model.inputs] == [name]
        assert_close(model(inputs[name]), wanted[f"openai.{head}_features"])
    with pytest.raises(ValueError, match=r"missing: vision_model"):
        kzoo.save_weights(model, tmp_path / "text.safetensors")
        kzoo.build("clip", tmp_path / "text.safetensors", **SMALL)


def test_writes_what_it_read_and_reads_places_that_early_files_number(tmp_path):
    """scripts/golden/clip.py --check-back loads what is written here with transformers itself."""
    tensors = safetensors.numpy.load_file(FOLDER / "model.safetensors")
    places = {f"{tower}_model.embeddings.position_ids": np.arange(9)[None] for tower in ("text", "vision")}
    safetensors.numpy.save_file({**tensors, **places}, tmp_path / "early.safetensors")
    kzoo.save_weights(kzoo.build("clip", tmp_path / "early.safetensors", **SMALL), tmp_path / "ours.safetensors")
    ours = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert ours.keys() == tensors.keys()
    for key, value in tensors.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder as the hub has it: configuration, weights, preprocessing, tokenizer."""
    folder = tmp_path_factory.mktemp("published") / "clip"
    shutil.copytree(FOLDER, folder)
    for path in (GOLDEN / "tokenizers" / "clip").iterdir():
        shutil.copy(path, folder)
    return folder


def test_a_published_folder_says_all(published):
    _, inputs, wanted = golden("clip_answers")
    model = kzoo.build(str(published))
    given = catalog.arguments(model)
    assert {key: given[key] for key in SMALL} == SMALL
    assert (given["end_id"], given["activation"], given["dropout"]) == (None, "quick_gelu", 0)
    pixels = kzoo.data.prepare_inputs(kzoo.build(str(published), head="image"), inputs["picture"][None])[0]
    # transformers rounds to bytes between resizing and normalising
    np.testing.assert_allclose(pixels, wanted["pixels"], atol=1.01 / 255 / 0.26)
    assert model.kzoo.tokenizer.vocabulary_size == 722


def test_configurations_that_leave_out_what_is_usual(published, tmp_path):
    shutil.copytree(published, tmp_path / "short")
    config = json.loads((published / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        config[part] = {k: v for k, v in config[part].items() if k not in ("hidden_act", "layer_norm_eps")}
        config[part] |= {"max_length": 20, "num_beams": 1, "id2label": {"0": "LABEL_0"}, "torchscript": False}
    del config["text_config"]["eos_token_id"]
    (tmp_path / "short" / "config.json").write_text(json.dumps({**config, "text_config_dict": None}))
    with pytest.raises(ValueError, match="end_id must be None or an id below vocabulary_size 722, got 49407"):
        kzoo.build(str(tmp_path / "short"))
    config["text_config"]["eos_token_id"] = 721
    (tmp_path / "short" / "config.json").write_text(json.dumps(config))
    model = kzoo.build(str(tmp_path / "short"))
    assert model.kzoo.overrides["end_id"] == 721
    config["vision_config"]["hidden_act"] = "gelu"
    (tmp_path / "short" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"text_config\.hidden_act: 'quick_gelu' beside vision_config\.hidden_act"):
        kzoo.build(str(tmp_path / "short"))
    config["vision_config"] |= {"hidden_act": "quick_gelu", "use_rotary": True}
    (tmp_path / "short" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"nothing is known of vision_config\.use_rotary: True"):
        kzoo.build(str(tmp_path / "short"))


def test_positions_are_interpolated_for_larger_pictures(tmp_path):
    larger = kzoo.build("clip", weights_alone(tmp_path), **{**SMALL, "input_shape": (16, 12, 3)}, head="image")
    table = larger.get_layer("vision_model.embeddings.position_embedding").embeddings
    assert table.shape == (13, 16)
    tensors = safetensors.numpy.load_file(FOLDER / "model.safetensors")
    first = tensors["vision_model.embeddings.position_embedding.weight"][0]
    np.testing.assert_array_equal(np.asarray(table)[0], first)


def test_a_step_keeps_the_temperature_at_or_below_100():
    model = kzoo.build("clip", **SMALL)
    layer = model.get_layer("logit_scale")
    assert float(layer.scale) == pytest.approx(np.log(1 / 0.07))
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.apply([keras.ops.convert_to_tensor(-9.0)], [layer.scale])
    assert float(layer.scale) == pytest.approx(np.log(100))


def test_what_cannot_be_built_is_refused():
    for match, wrong in {
        "multiples of patch_size": {"input_shape": (14, 12, 3)},
        "two numbers": {"num_layers": (2, 2, 2)},
        "did you mean image": {"head": "imag"},
        "activation": {"activation": "relu"},
        "not divisible": {"num_heads": (3, 2)},
    }.items():
        with pytest.raises(ValueError, match=match):
            kzoo.build("clip", **{**SMALL, **wrong})

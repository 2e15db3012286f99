"""Weights go out under the names that they came in with, or under those of the family that is asked for."""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN
from seeded_weights import draw_weights, load_drawn_weights

import kzoo

SHAPES = json.loads((GOLDEN / "names.json").read_text(encoding="utf-8"))
SMALL_BERT = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 12, "vocabulary_size": 20}
SMALL_VIT = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 12, "input_shape": (32, 32, 3)}
SMALL_MARIAN = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2, "intermediate_dim": 12, "vocabulary_size": 20}


def cases():
    """The cases of the script that made the golden file."""
    path = pathlib.Path(__file__).parents[1] / "scripts" / "golden" / "names.py"
    sys.path.insert(0, str(path.parent))
    try:
        spec = importlib.util.spec_from_file_location("golden_names", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module.CASES


CASES = cases()


def load(path):
    return safetensors.numpy.load_file(path)


def write(tensors, path):
    safetensors.numpy.save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    return path


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_the_references_own_names_in_and_out(case, tmp_path):
    name, overrides, family = CASES[case]
    drawn = draw_weights(SHAPES[case])
    for key in [key for key in drawn if ".bias_hh_" in key]:
        drawn[key] *= 0  # torch's second bias, which is written as zeros
    read = kzoo.build(name, write(drawn, tmp_path / "theirs.safetensors"), **overrides)
    kzoo.save_weights(read, tmp_path / "back.safetensors")
    same(load(tmp_path / "back.safetensors"), drawn)
    fresh = kzoo.build(name, **overrides)
    fresh.set_weights(read.get_weights())
    kzoo.save_weights(fresh, tmp_path / "asked.safetensors", names=family)
    same(load(tmp_path / "asked.safetensors"), drawn)


def test_a_loaded_file_decides_until_the_next(tmp_path):
    model = load_drawn_weights(kzoo.build("vit_b_16", **SMALL_VIT), tmp_path)
    kzoo.save_weights(model, tmp_path / "timm.safetensors", names="timm")
    assert model.kzoo.names is None
    kzoo.load_weights(model, tmp_path / "timm.safetensors")
    assert model.kzoo.names == "timm"
    kzoo.save(model, tmp_path / "saved")
    again = kzoo.load(tmp_path / "saved")
    assert "blocks.0.attn.qkv.weight" in load(tmp_path / "saved" / "weights.safetensors") and again.kzoo.names == "timm"
    kzoo.load_weights(again, tmp_path / "drawn.safetensors")
    assert again.kzoo.names is None


def test_a_family_that_lacks_a_tensor_gives_way_or_is_refused(tmp_path):
    base = kzoo.build("bert_tiny", **SMALL_BERT)
    kzoo.save_weights(base, tmp_path / "base.safetensors", names="base_model_gamma_beta")
    assert "encoder.layer.0.output.LayerNorm.gamma" in load(tmp_path / "base.safetensors")
    model = kzoo.build("bert_tiny", tmp_path / "base.safetensors", load_head=False, head="classification", **SMALL_BERT)
    kzoo.save_weights(model, tmp_path / "whole.safetensors")
    names = load(tmp_path / "whole.safetensors")
    assert {"classifier.weight", "bert.encoder.layer.0.output.LayerNorm.gamma"} <= names.keys()
    with pytest.raises(ValueError, match=r"names='base_model' has no classifier.weight.*'transformers'"):
        kzoo.save_weights(model, tmp_path / "other.safetensors", names="base_model")
    with pytest.raises(ValueError, match=r"names='keras'.*timm"):
        kzoo.save_weights(kzoo.build("vit_b_16", **SMALL_VIT), tmp_path / "other.safetensors", names="keras")
    with pytest.raises(ValueError, match=r"names='timm'.*has one family of names only"):
        kzoo.save_weights(kzoo.build("perceptron"), tmp_path / "other.safetensors", names="timm")
    assert not (tmp_path / "other.safetensors").exists()


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "model.", "0.auto_model."])
def test_wrappers_prefixes_are_left_out(prefix, tmp_path):
    model = load_drawn_weights(kzoo.build("bert_tiny", **SMALL_BERT), tmp_path)
    kzoo.save_weights(model, tmp_path / "plain.safetensors", names="base_model")
    tensors = load(tmp_path / "plain.safetensors")
    wrapped = write({prefix + name: value for name, value in tensors.items()}, tmp_path / "wrapped.safetensors")
    again = kzoo.build("bert_tiny", wrapped, **SMALL_BERT)
    kzoo.save_weights(again, tmp_path / "again.safetensors")
    same(load(tmp_path / "again.safetensors"), tensors)
    first, *others = tensors
    part = write({first: tensors[first]} | {prefix + name: tensors[name] for name in others}, tmp_path / "part")
    with pytest.raises(ValueError, match="unexpected"):
        kzoo.load_weights(model, part)


@pytest.mark.parametrize(
    ("name", "overrides", "moves"),
    [
        ("gpt2", {**SMALL_BERT, "max_length": 8}, {"transformer.wte.weight": "lm_head.weight"}),
        ("marian", SMALL_MARIAN, {"model.shared.weight": "model.encoder.embed_tokens.weight"}),
        ("marian", SMALL_MARIAN, {"model.shared.weight": "lm_head.weight"}),
        (
            "bert_tiny",
            {**SMALL_BERT, "head": "masked_words"},
            {
                "bert.embeddings.word_embeddings.weight": "cls.predictions.decoder.weight",
                "cls.predictions.bias": "cls.predictions.decoder.bias",
            },
        ),
    ],
)
def test_one_of_two_tied_tensors_is_enough(name, overrides, moves, tmp_path):
    model = load_drawn_weights(kzoo.build(name, **overrides), tmp_path)
    tensors = load(tmp_path / "drawn.safetensors")
    moved = write({moves.get(key, key): value for key, value in tensors.items()}, tmp_path / "moved.safetensors")
    for ours, wanted in zip(kzoo.build(name, moved, **overrides).get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, wanted)
    source, tied = next(iter(moves.items()))
    both = write({**tensors, tied: tensors[source] + 1}, tmp_path / "both.safetensors")
    with pytest.raises(ValueError, match="ties the two"):
        kzoo.load_weights(model, both)

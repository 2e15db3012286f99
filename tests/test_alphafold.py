"""AlphaFold against DeepMind's own code, whole and in parts (scripts/golden/alphafold_network.py)."""

import functools

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled
from golden_files import GOLDEN
from seeded_weights import draw_parameters, draw_protein

import kzoo
from kzoo.weights import haiku

# as in scripts/golden/alphafold_network.py
SMALL = {
    "num_blocks": 2, "num_extra_blocks": 1, "num_template_blocks": 2, "num_layers": 3, "msa_dim": 12, "extra_dim": 6,
    "pair_dim": 8, "template_dim": 6, "single_dim": 10, "num_heads": (3, 2, 2), "outer_dim": 4, "hidden_dim": 6,
    "templates": True, "aligned_error": True,
}  # fmt: skip
CASES = {
    "templates": (SMALL, {"length": 9, "num_sequences": 4, "num_extra": 5, "num_templates": 2, "padding": 1}),
    "single": (
        {**SMALL, "templates": False, "num_heads": (2, 4, 3), "aligned_error": False, "msa_dim": 10},
        {"length": 7, "num_sequences": 1, "num_extra": 1, "num_templates": 0, "padding": 0},
    ),
}
ROOT = "alphafold/alphafold_iteration"
ANSWERS = safetensors.numpy.load_file(GOLDEN / "alphafold.safetensors")


def shapes_of(model):
    from kzoo.weights.layouts import find_slots

    shapes = {slot.names[0]: slot.shapes[0] for slot in find_slots(model)}
    return haiku.stacked_shapes(shapes, ROOT)


@functools.cache
def network(case, chunk=None):
    """A small network with drawn weights, and its compiled call."""
    import pathlib
    import tempfile

    given, _ = CASES[case]
    model = kzoo.build("alphafold_1", chunk=chunk, **given)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "params.npz"
        np.savez(path, **draw_parameters(shapes_of(model)))
        kzoo.load_weights(model, path)
    return model, compiled(lambda features: model(features, training=False))


def features_of(case, **changed):
    given, sizes = CASES[case]
    features = draw_protein(**sizes, msa_dim=given["msa_dim"], pair_dim=given["pair_dim"])
    return {key: np.array(value)[None] for key, value in {**features, **changed}.items()}


def run(case, features, chunk=None):
    model, call = network(case, chunk)
    taken = {tensor.name: features[tensor.name] for tensor in model.inputs}
    return {key: keras.ops.convert_to_numpy(value) for key, value in call(taken).items()}


def valid(name, array, features):
    """Only what is real: no padded residue, no masked sequence."""
    real = features["seq_mask"][0] > 0
    if name in ("pair", "distogram", "predicted_aligned_error"):
        return array[:, real][:, :, real]
    if name == "masked_msa":
        return array[features["msa_mask"] > 0]
    axis = 2 if name in ("frames", "angles", "unnormalized_angles") else 1
    return np.compress(real, array, axis=axis)


def assert_answers(case, prefix, found, features, tolerance):
    wanted = {key.removeprefix(prefix): value for key, value in ANSWERS.items() if key.startswith(prefix)}
    for name, value in wanted.items():
        if "." in name:
            continue
        ours, theirs = (valid(name, array, features) for array in (found[name], value[None]))
        worst = np.abs(ours - theirs).max() / np.abs(theirs).max()
        print(case, name, f"{worst:.1e}")
        assert worst <= tolerance, (name, worst)


@pytest.mark.parametrize("case", CASES)
def test_the_whole_network_answers_as_deepminds(case):
    features = features_of(case)
    assert_answers(case, f"{case}.", run(case, features), features, 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_three_recycles(case):
    features = features_of(case)
    for name in ("prev_pos", "prev_msa_first_row", "prev_pair"):
        features[name] = np.zeros_like(features[name])
    for _ in range(4):
        found = run(case, features)
        features |= {"prev_pos": found["final_atom_positions"], "prev_pair": found["pair"],
                     "prev_msa_first_row": found["msa_first_row"]}  # fmt: skip
    assert_answers(case, f"{case}.recycled.", found, features, 1e-4)

"""AlphaFold against DeepMind's own code, whole and in parts (scripts/golden/alphafold_network.py)."""

import functools
import hashlib
import json
import pathlib
import tempfile
from functools import partial

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import gradients, outputs_of
from golden_files import GOLDEN, assert_close
from keras import ops
from seeded_weights import ALPHAFOLD_CASES, draw_activations, draw_parameters, draw_protein

import kzoo
from kzoo import measure
from kzoo.layers.structure_prediction import chunks, evoformer, rigid_frames, triangles
from kzoo.layers.structure_prediction.invariant_point_attention import InvariantPointAttention
from kzoo.models import alphafold
from kzoo.weights import haiku
from kzoo.weights.layouts import find_slots

GIVEN, SIZES = ALPHAFOLD_CASES["templates"]
ANSWERS = safetensors.numpy.load_file(GOLDEN / "alphafold.safetensors")
PAIRS = ("pair", "distogram", "predicted_aligned_error")
LAYERS = ("frames", "angles", "unnormalized_angles")


def archive_shapes(model):
    """{key: shape} of the archive that a model's weights are."""
    return haiku.stacked_shapes({slot.names[0]: slot.shapes[0] for slot in find_slots(model)}, alphafold.HAIKU)


@functools.cache
def network(case):
    """A small network with drawn weights, read from an archive in DeepMind's names."""
    model = kzoo.build("alphafold_1", **ALPHAFOLD_CASES[case][0])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "params.npz"
        np.savez(path, **draw_parameters(archive_shapes(model)))
        kzoo.load_weights(model, path)
    return model


@functools.cache
def drawn_features(case, seed=0):
    given, sizes = ALPHAFOLD_CASES[case]
    return draw_protein(**sizes, msa_dim=given["msa_dim"], pair_dim=given["pair_dim"], seed=seed)


def run(model, features):
    """Outputs for features without a batch, or for a list of such as a batch."""
    several = features if isinstance(features, list) else [features]
    return outputs_of(model, {x.name: np.stack([each[x.name] for each in several]) for x in model.inputs})


@functools.cache
def found_once(case):
    return run(network(case), drawn_features(case))


def answers(prefix, found, features):
    """{output: (ours, the reference's)} of what is real of the first of a batch: no padded residue, no sequence."""
    real, rows = np.flatnonzero(features["seq_mask"]), np.flatnonzero(features["msa_mask"][:, 0])
    wanted = {key.removeprefix(prefix): value for key, value in ANSWERS.items() if key.startswith(prefix)}
    pairs = {name: (found[name][0], value) for name, value in wanted.items() if "." not in name}
    assert {"final_atom_positions", "predicted_lddt", "msa_first_row", "pair"} <= pairs.keys()
    for name, both in pairs.items():
        if name == "masked_msa":
            pairs[name] = tuple(array[rows][:, real] for array in both)
        elif name in PAIRS:
            pairs[name] = tuple(array[real][:, real] for array in both)
        else:
            pairs[name] = tuple(np.take(array, real, axis=int(name in LAYERS)) for array in both)
    return pairs


def compare(folder, case):
    """(ours, the reference's) of every output."""
    yield from answers(f"{case}.", found_once(case), drawn_features(case)).values()


def assert_answers(prefix, found, features, tolerance=1e-5):
    for name, (ours, theirs) in answers(prefix, found, features).items():
        assert ours.shape == theirs.shape, name
        assert_close(ours, theirs, tolerance)


@pytest.mark.parametrize("case", ALPHAFOLD_CASES)
def test_agrees_with_the_reference(case):
    found = found_once(case)
    assert {*found} == {key.split(".")[1] for key in ANSWERS if key.startswith(f"{case}.")} - {"recycled"}
    assert_answers(f"{case}.", found, drawn_features(case))


def test_three_recycles_answer_as_deepminds():
    """Distances of atoms fall into bins, so a rounding may change a feature: 1e-4, though 1e-6 is what is found."""
    features = dict(drawn_features("single"))
    previous = {"prev_pos": "final_atom_positions", "prev_pair": "pair", "prev_msa_first_row": "msa_first_row"}
    features |= {name: np.zeros_like(features[name]) for name in previous}
    for _ in range(4):
        found = run(network("single"), features)
        features |= {name: found[output][0] for name, output in previous.items()}
    assert_answers("single.recycled.", found, features, 1e-4)


def padded(features, extra):
    """Features with more places at the end of each axis of residues, sequences and templates, where masks are 0."""
    axes = {"target_feat": 1, "aatype": 1, "residue_index": 1, "seq_mask": 1, "prev_pos": 1,
            "prev_msa_first_row": 1, "template_mask": 1}  # fmt: skip
    return {
        name: np.pad(array, [(0, extra if axis < axes.get(name, 2) else 0) for axis in range(array.ndim)])
        for name, array in features.items()
    }


def test_a_padded_batch_answers_as_each_alone():
    features = padded(drawn_features("templates"), 2)
    found = run(network("templates"), [features, padded(drawn_features("templates", seed=1), 2)])
    for name in found:
        if name in PAIRS:
            found[name] = found[name][:, :9, :9]
        elif name == "masked_msa":
            found[name] = found[name][:, :4, :9]
        else:
            found[name] = np.take(found[name], range(9), axis=1 + (name in LAYERS))
    assert_answers("templates.", found, drawn_features("templates"))


def draw_into(layers, prefix=""):
    """Gives layers the weights that Haiku's modules of their names, without a prefix, have in the golden file."""
    variables = {}
    for layer in layers:
        tensors = getattr(layer, "TENSORS", None) or alphafold.LAYOUTS.get(type(layer).__name__, {})
        for variable, (tensor, _) in tensors.items():
            variables[f"{layer.name.removeprefix(prefix)}.{tensor}"] = getattr(layer, variable)
    drawn = draw_parameters(haiku.stacked_shapes({name: each.shape for name, each in variables.items()}, ""))
    for name, variable in variables.items():
        key, block = haiku.key_of(name, "")
        variable.assign(drawn[key] if block is None else drawn[key][block])


def activations(name):
    features = drawn_features("templates")
    real = features["seq_mask"]
    return {
        "msa": features["msa_mask"], "extra": features["extra_msa_mask"], "pair": np.outer(real, real), "single": real
    }[name], draw_activations(GIVEN, SIZES)[name]  # fmt: skip


MSA_HEADS, PAIR_HEADS, POINT_HEADS = GIVEN["num_heads"]
PARTS = {
    "msa_row_attention_with_pair_bias": ("msa", partial(evoformer.RowAttentionWithPairBias, MSA_HEADS)),
    "msa_column_attention": ("msa", partial(evoformer.ColumnAttention, MSA_HEADS)),
    "msa_column_global_attention": ("extra", partial(evoformer.GlobalColumnAttention, MSA_HEADS)),
    "msa_transition": ("msa", evoformer.Transition),
    "outer_product_mean": ("msa", partial(evoformer.OuterProductMean, 4, 8)),
    "triangle_multiplication_outgoing": ("pair", triangles.TriangleMultiplication),
    "triangle_multiplication_incoming": ("pair", partial(triangles.TriangleMultiplication, True)),
    "triangle_attention_starting_node": ("pair", partial(triangles.TriangleAttention, PAIR_HEADS)),
    "triangle_attention_ending_node": ("pair", partial(triangles.TriangleAttention, PAIR_HEADS, True)),
    "pair_transition": ("pair", evoformer.Transition),
}


@pytest.mark.parametrize("floats", [chunks.FLOATS, 700])
@pytest.mark.parametrize("name", PARTS)
def test_each_part_of_a_block_answers_as_deepminds(name, floats, monkeypatch):
    """All at once and in chunks of several rows, of which the last goes back over one of the one before."""
    monkeypatch.setattr(chunks, "FLOATS", floats)
    kind, make = PARTS[name]
    mask, x = activations(kind)
    layer = make(name=name)
    inputs = [x[None]] if isinstance(layer, evoformer.Transition) else [x[None], mask[None]]
    if "pair_bias" in name:
        inputs.append(activations("pair")[1][None])
    layer.build(*(each.shape for each in inputs))
    draw_into([layer])
    found, wanted = ops.convert_to_numpy(layer(*inputs))[0], ANSWERS[f"part.{name}"]
    real = activations("pair")[0] > 0 if found.shape[:2] == (9, 9) else mask > 0
    assert_close(found[real], wanted[real])


def test_few_sequences_are_multiplied_in_another_order():
    """The same numbers: 4 sequences are few for an outer product of 4 by 4 to 8, once `_many` is asked as well."""
    mask, x = activations("msa")
    layer = evoformer.OuterProductMean(4, 8, name="outer_product_mean")
    layer.build(x[None].shape, mask[None].shape)
    draw_into([layer])
    left, right = (ops.convert_to_tensor(x[None, ..., start : start + 4]) for start in (0, 4))
    left = ops.swapaxes(left, 1, 2)
    assert_close(layer._few(left, right), ops.convert_to_numpy(layer._many(left, right)), 1e-6)


def moved(poses, turn, motion):
    """Poses turned by a quaternion about the origin, then moved."""
    w, x, y, z = np.moveaxis(poses[..., :4], -1, 0)
    a, b, c, d = turn
    turned = np.stack([a * w - b * x - c * y - d * z, a * x + b * w + c * z - d * y,
                       a * y - b * z + c * w + d * x, a * z + b * y - c * x + d * w], axis=-1)  # fmt: skip
    matrix = ops.convert_to_numpy(rigid_frames.rotation(turn))
    return np.concatenate([turned, poses[..., 4:] @ matrix.T + motion], axis=-1).astype("float32"), matrix


def test_attention_in_space_answers_as_deepminds_wherever_the_whole_is():
    mask, x = activations("single")
    pair, poses = draw_activations(GIVEN, SIZES)["pair"], draw_activations(GIVEN, SIZES)["poses"]
    layer = InvariantPointAttention(POINT_HEADS, name="invariant_point_attention")
    bias = keras.layers.Dense(POINT_HEADS, name="invariant_point_attention.attention_2d")
    x, pair, mask = x[None], pair[None], mask[None]
    layer.build(x.shape, pair.shape, (*pair.shape[:3], POINT_HEADS), mask.shape, (1, 9, 7))
    bias.build(pair.shape)
    draw_into([layer, bias])
    call = lambda poses: ops.convert_to_numpy(layer(x, pair, bias(pair), mask, poses[None]))[0, :8]  # noqa: E731
    found = call(poses)
    assert_close(found, ANSWERS["part.invariant_point_attention"][:8])
    turn = np.array([0.5, -0.1, 0.7, 0.5], "float32")
    elsewhere, _ = moved(poses, turn / np.linalg.norm(turn), np.array([20.0, -30, 10]))  # 300 angstroms away
    assert_close(call(elsewhere), found, 1e-4)


def test_atoms_turn_and_move_with_the_backbone():
    drawn = draw_activations(GIVEN, SIZES)
    turn, motion = np.array([0.5, -0.1, 0.7, 0.5], "float32"), np.array([2.0, -3, 1])
    turn /= np.linalg.norm(turn)
    update = drawn["single"][None, :, :6]
    angles = np.tile(drawn["pair"][None, :, :7, :2], (1, 1, 1, 1))
    kinds = drawn_features("templates")["aatype"][None]

    def atoms(poses):
        poses = rigid_frames.MovedPoses()(poses[None], update)
        frames = rigid_frames.FramesOfPoses()([poses])
        groups = rigid_frames.frames_of_groups(kinds, frames[:, 0], ops.convert_to_tensor(angles))
        return ops.convert_to_numpy(rigid_frames.positions_of_atoms(kinds, groups))[0]

    before = atoms(drawn["poses"])
    poses, matrix = moved(drawn["poses"], turn, motion)
    mask = np.any(before != 0, axis=-1, keepdims=True)
    assert_close(atoms(poses), (before @ matrix.T + 10 * motion) * mask, 1e-5)


def test_torsion_angles_and_templates_are_embedded_as_deepminds():
    features = drawn_features("templates")
    template = {key.removeprefix("template_"): x for key, x in features.items() if key.startswith("template_")}
    given = template["aatype"], template["all_atom_positions"], template["all_atom_masks"]
    angles, known = rigid_frames.torsion_angles(*given)
    np.testing.assert_array_equal(known, ANSWERS["part.torsion_angles_mask"])
    real = ANSWERS["part.torsion_angles_mask"] > 0
    assert_close(ops.convert_to_numpy(angles)[real], ANSWERS["part.torsion_angles_sin_cos"][real])

    pair, mask = draw_activations(GIVEN, SIZES)["pair"], activations("pair")[0]
    arrays = [x[None] for x in (pair, mask, template["mask"], template["aatype"], template["pseudo_beta"],
                                template["pseudo_beta_mask"], template["all_atom_masks"])]  # fmt: skip
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype) for x in arrays]
    outputs = alphafold.embedded_templates(
        *inputs[:2], inputs[3:], inputs[2], GIVEN["num_template_blocks"], GIVEN["template_dim"], PAIR_HEADS, 0.0, None
    )
    model = keras.Model(inputs, outputs)
    draw_into(model.layers, "evoformer.")
    found = ops.convert_to_numpy(model(arrays))[0] - pair
    real = mask > 0
    assert_close(found[real], ANSWERS["part.template_embedding"][real])


def test_no_gradient_flows_back_through_rotations():
    """As in the reference: gradients of positions by what enters the structure module."""
    drawn, features = draw_activations(GIVEN, SIZES), drawn_features("templates")
    arrays = drawn["single"][None], drawn["pair"][None], features["seq_mask"][None], features["aatype"][None]
    inputs = [keras.Input(x.shape[1:], dtype=x.dtype) for x in arrays]
    poses, angles, _ = alphafold.structure_module(*inputs[:3], GIVEN["num_layers"], POINT_HEADS, 6, 0.0)
    atoms = alphafold.positions(inputs[3], inputs[2], poses, angles)["final_atom_positions"]
    model = keras.Model(inputs, atoms)
    draw_into(model.layers)
    rest = [ops.convert_to_tensor(x) for x in arrays[2:]]
    found = gradients(lambda single, pair: model([single, pair, *rest]), *arrays[:2])
    for name, gradient in zip(("single", "pair"), found, strict=True):
        assert_close(ops.convert_to_numpy(gradient)[0], ANSWERS[f"part.gradient.{name}"], 1e-4)


@pytest.mark.parametrize("variant", ["alphafold_1_ptm", "alphafold_3"])
def test_names_and_shapes_are_those_of_deepminds_files(variant):
    """With one block of each kind; how many there are is the first number of a shape, which the digest leaves out."""
    counts = {"num_blocks": 1, "num_extra_blocks": 1, "num_template_blocks": 1}
    shapes = measure.without_weights(lambda: archive_shapes(kzoo.build(variant, **counts)))
    listed = sorted((key, list(shape[1:] if is_stacked(key) else shape)) for key, shape in shapes.items())
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    assert (len(listed), digest) == NAMES[variant]
    assert "alphafold/alphafold_iteration/evoformer/pair_activiations//weights" in shapes


def is_stacked(key):
    return any(f"/{stack}/" in key for stack in ("evoformer_iteration", "extra_msa_stack", "__layer_stack_no_state"))


# of `params_model_1_ptm.npz` and `params_model_3.npz`, by jax.eval_shape of DeepMind's network
NAMES = {
    "alphafold_1_ptm": (338, "abcf87d2f668c0fc8978c62f923bf2b9a326ba64e001711808638149cbceb1f6"),
    "alphafold_3": (265, "7620b7062058892dcbd575ad7ed66a8f9044314d840f9251316ff4544297b90f"),
}


def test_archives_go_back_as_they_came(tmp_path):
    model = network("single")
    for path in (tmp_path / "one.npz", tmp_path / "again.npz"):
        kzoo.save_weights(model, path, names="deepmind")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    written, drawn = np.load(tmp_path / "one.npz"), draw_parameters(archive_shapes(model))
    assert {*written.files} == {*drawn}
    for key, array in drawn.items():
        np.testing.assert_array_equal(written[key], array, err_msg=key)
    np.savez_compressed(tmp_path / "packed.npz", **drawn)
    again = kzoo.build("alphafold_1", tmp_path / "packed.npz", **ALPHAFOLD_CASES["single"][0])
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_archives_that_do_not_fit_are_refused(tmp_path):
    model, path = network("single"), tmp_path / "params.npz"
    drawn = draw_parameters(archive_shapes(model))
    key = next(key for key in drawn if is_stacked(key) and key.endswith("query_w"))

    def refused(arrays, words):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=words):
            kzoo.load_weights(model, path)

    refused({**drawn, key: drawn[key][:1]}, "1 missing: evoformer.evoformer_iteration.1.*query_w")
    refused({**drawn, key: np.concatenate([drawn[key]] * 2)}, "2 unexpected: evoformer.evoformer_iteration.2")
    refused({**drawn, key: drawn[key][..., :1]}, "mis-shaped")
    refused({**drawn, key: drawn[key].astype("int32")}, "not floating point")
    refused({**drawn, "another//weights": np.zeros(3)}, "1 unexpected: another//weights")
    refused({**drawn, key: np.array([None])}, "kzoo opens no pickles")
    kzoo.save_weights(model, path)
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="damaged"):
        kzoo.load_weights(model, path)
    path.write_bytes(contents[:-100])
    with pytest.raises(ValueError, match="damaged or not an archive"):
        kzoo.load_weights(model, path)
    with pytest.raises(ValueError, match="this model reads safetensors"):
        kzoo.save_weights(model, path), kzoo.load_weights(kzoo.build("mlp"), path)
    with pytest.raises(ValueError, match="no names in Haiku's archives"):
        kzoo.save_weights(kzoo.build("perceptron"), path)

"""Losses of structures beside DeepMind's, on a chain with every kind of residue."""

import numpy as np
import pytest
from golden_files import golden
from keras import ops

from kzoo.tasks.protein_structure import ground_truth, head_losses, similarity, structure_losses, violations


@pytest.fixture(scope="module")
def tensors():
    found, inputs, _ = golden("protein_losses")
    return {**found, **{name: x[None] for name, x in inputs.items()}}


@pytest.fixture(scope="module")
def truth(tensors):
    given = (tensors[name] for name in ("aatype", "all_atom_positions", "all_atom_mask"))
    return ground_truth.of_structure(*given)


@pytest.fixture(scope="module")
def frames(tensors):
    flat = tensors["group_frames"]
    return flat[..., :9].reshape(*flat.shape[:-1], 3, 3), flat[..., 9:]


def close(found, wanted, tolerance=1e-5):
    found = ops.convert_to_numpy(found)[0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * max(1e-3, np.abs(wanted).max()))


def flat(pair):
    rotations, origins = (ops.convert_to_numpy(x) for x in pair)
    return np.concatenate([rotations.reshape(*rotations.shape[:-2], 9), origins], axis=-1)


def test_ground_truth_is_the_references(tensors, truth):
    known = tensors["truth.rigidgroups_gt_exists"]
    np.testing.assert_array_equal(truth["frames_mask"][0], known)
    for name, wanted in (("frames", "rigidgroups_gt_frames"), ("other_frames", "rigidgroups_alt_gt_frames")):
        close(flat(truth[name]) * known[None, ..., None], tensors[f"truth.{wanted}"] * known[..., None])
    mask = tensors["truth.chi_mask"]
    np.testing.assert_array_equal(truth["chi_mask"][0], mask)
    chi = tensors["truth.chi_angles"]
    wanted = np.stack([np.sin(chi), np.cos(chi)], axis=-1) * mask[..., None]
    close(truth["chi_sin_cos"] * truth["chi_mask"][..., None], wanted)
    names = {
        "atom14": "atom14_gt_positions", "other_atom14": "atom14_alt_gt_positions", "atom14_mask": "atom14_gt_exists",
        "other_atom14_mask": "atom14_alt_gt_exists", "ambiguous": "atom14_atom_is_ambiguous",
        "pseudo_beta": "pseudo_beta", "pseudo_beta_mask": "pseudo_beta_mask",
    }  # fmt: skip
    for name, wanted in names.items():
        close(truth[name], tensors[f"truth.{wanted}"])


def test_errors_in_frames_are_the_references(tensors, truth, frames):
    backbone = tensors["backbone_rotations"], tensors["backbone_origins"]
    for name, clamped in (("clamped", 1.0), ("unclamped", 0.0), ("mixed", 0.9)):
        found = structure_losses.backbone_error(backbone, truth, np.array([clamped], "float32"))
        close(ops.mean(found, axis=1), tensors[f"loss.backbone_{name}"])
        close(found[:, -1], tensors[f"loss.last_{name}"])
    close(structure_losses.backbone_error(backbone, truth)[:, -1], tensors["loss.last_clamped"])
    swapped = structure_losses.renamed(tensors["atom14"], truth)["swapped"]
    np.testing.assert_array_equal(swapped[0], tensors["loss.swapped"])
    assert tensors["loss.swapped"].any()
    close(structure_losses.side_chain_error(frames, tensors["atom14"], truth), tensors["loss.side_chain"])


def test_torsion_errors_are_the_references(tensors, truth):
    mask = np.ones_like(tensors["aatype"], "float32")
    chi, norm = structure_losses.torsion_errors(tensors["angles"], tensors["unnormalized"], truth, mask)
    close(chi, tensors["loss.chi"])
    close(norm, tensors["loss.angle_norm"])


def test_violations_are_the_references(tensors, truth):
    given = tensors["atom14"], truth, tensors["residue_index"]
    errors, places = violations.between_neighbours(*given)
    for found, name in zip(errors, ("bond", "angle_ca_c_n", "angle_c_n_ca"), strict=True):
        close(found, tensors[f"loss.{name}"])
    close(places, tensors["loss.neighbours"])
    close(violations.clashes(*given)[0], tensors["loss.clashes"])
    close(violations.within_residues(*given[:2])[0], tensors["loss.within"])
    close(violations.violating(*given), tensors["loss.violating"])
    close(violations.violation_loss(*given), tensors["loss.violation"])
    assert tensors["loss.within"].any() and tensors["loss.clashes"].any()


def test_heads_are_the_references(tensors, truth, frames):
    close(
        head_losses.distogram(tensors["distogram"], truth["pseudo_beta"], truth["pseudo_beta_mask"]),
        tensors["loss.distogram"],
    )
    close(head_losses.masked_msa(tensors["msa"], tensors["true_msa"], tensors["bert_mask"]), tensors["loss.msa"])
    close(head_losses.experimentally_resolved(tensors["resolved"], truth), tensors["loss.resolved"])
    last = tuple(x[:, -1] for x in (tensors["backbone_rotations"], tensors["backbone_origins"]))
    close(head_losses.aligned_error(tensors["pae"], last, truth), tensors["loss.pae"])
    positions = np.zeros_like(tensors["all_atom_positions"])
    positions[:, :, ground_truth.CA] = tensors["atom14"][:, :, 1]
    close(head_losses.predicted_lddt(tensors["plddt"], positions, truth), tensors["loss.plddt"])
    given = positions[:, :, 1], tensors["all_atom_positions"][:, :, 1], tensors["all_atom_mask"][:, :, 1]
    close(similarity.lddt(*given), tensors["loss.lddt"])
    close(similarity.lddt(*given, per_residue=True), tensors["loss.lddt_residues"])


def test_a_bridge_of_sulphurs_is_no_clash():
    kinds = np.array([[4, 4]], "int32")  # cysteines
    truth = ground_truth.of_structure(kinds, np.zeros((1, 2, 37, 3), "float32"), np.zeros((1, 2, 37), "float32"))
    atom14 = np.zeros((1, 2, 14, 3), "float32")
    atom14[0, 0, :6, 0], atom14[0, 1, :6, 0] = np.arange(6) * 10, 200 + np.arange(6) * 10
    atom14[0, 1, 5] = atom14[0, 0, 5] + 0.5  # both SG
    index = np.array([[0, 9]], "int32")
    assert not ops.convert_to_numpy(violations.clashes(atom14, truth, index)[0]).any()
    atom14[0, 1, 4] = atom14[0, 0, 4] + 0.5  # both CB
    assert ops.convert_to_numpy(violations.clashes(atom14, truth, index)[0])[0, :, 4].min() > 0

"""Makes tests/golden/protein_losses.safetensors: what DeepMind's functions say of a random chain and a prediction.

The chain has every kind of residue, some atoms that are not known, and a jump in its numbers. Environment and
PYTHONPATH are those of protein_features.py.
"""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from alphafold.common import residue_constants as rc
from alphafold.model import all_atom, config, folding, lddt, modules, quat_affine, r3
from writing import write

BINS, LAYERS, NUM = 16, 2, 21


def chain(random, spread):
    """A chain with ideal bonds: its affines (residues, 7), angles, frames and atoms; `spread` of the torsions."""
    aatype = jnp.arange(NUM)
    quaternions = np.tile([1.0, 0, 0, 0], (NUM, 1)) + spread * random.standard_normal((NUM, 4))
    steps = random.standard_normal((NUM, 3))
    places = np.cumsum(3.0 * steps / np.linalg.norm(steps, axis=-1, keepdims=True), axis=0)
    affine = jnp.concatenate([quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True), places], axis=-1)
    raw = random.standard_normal((NUM, 7, 2)).astype("float32")
    angles = folding.l2_normalize(jnp.asarray(raw))
    backbone = r3.rigids_from_quataffine(quat_affine.QuatAffine.from_tensor(affine))
    frames = all_atom.torsion_angles_to_frames(aatype, backbone, angles)
    atoms = all_atom.frames_and_literature_positions_to_atom14_pos(aatype, frames)
    return affine, raw, angles, frames, atoms


def batch_of(random):
    """DeepMind's features of the true structure."""
    aatype = jnp.arange(NUM)
    kinds = [*[rc.restype_1to3[letter] for letter in rc.restypes], "UNK"]
    names = [rc.restype_name_to_atom14_names[kind] for kind in kinds]
    to37 = np.array([[rc.atom_order[atom] if atom else 0 for atom in atoms] for atoms in names])
    to14 = np.array([[atoms.index(atom) if atom in atoms else 0 for atom in rc.atom_types] for atoms in names])
    exists37 = np.array([[float(atom in atoms) for atom in rc.atom_types] for atoms in names])
    exists14 = np.array([[float(bool(atom)) for atom in atoms] for atoms in names])
    batch = {
        "aatype": aatype, "residx_atom14_to_atom37": to37, "residx_atom37_to_atom14": to14,
        "atom37_atom_exists": exists37, "atom14_atom_exists": exists14, "seq_mask": jnp.ones(NUM),
        "residue_index": jnp.where(aatype > 8, aatype + 3, aatype), "resolution": jnp.asarray(2.0),
    }  # fmt: skip
    *_, atoms = chain(random, 1.0)
    positions = all_atom.atom14_to_atom37(r3.vecs_to_tensor(atoms), batch)
    mask = exists37 * (random.random((NUM, 37)) > 0.1)
    mask[[3, 4]] = exists37[[3, 4]]
    positions = positions * mask[..., None]
    batch |= {"all_atom_positions": positions, "all_atom_mask": jnp.asarray(mask)}
    batch |= all_atom.atom37_to_frames(aatype, positions, batch["all_atom_mask"])
    torsions = all_atom.atom37_to_torsion_angles(aatype[None], positions[None], batch["all_atom_mask"][None])
    sin_cos = torsions["torsion_angles_sin_cos"][0, :, 3:]
    batch["chi_angles"] = jnp.arctan2(sin_cos[..., 0], sin_cos[..., 1])
    batch["chi_mask"] = torsions["torsion_angles_mask"][0, :, 3:]
    batch["atom14_gt_exists"] = all_atom.atom37_to_atom14(batch["all_atom_mask"], batch)
    batch["atom14_gt_positions"] = all_atom.atom37_to_atom14(positions, batch) * batch["atom14_gt_exists"][..., None]
    renaming = jnp.asarray(all_atom.RENAMING_MATRICES)[aatype]
    batch["atom14_alt_gt_positions"] = jnp.einsum("rac,rab->rbc", batch["atom14_gt_positions"], renaming)
    batch["atom14_alt_gt_exists"] = jnp.einsum("ra,rab->rb", batch["atom14_gt_exists"], renaming)
    batch["atom14_atom_is_ambiguous"] = 1.0 - jnp.einsum("raa->ra", renaming)
    frame = r3.rigids_from_tensor_flat12(batch["rigidgroups_gt_frames"][:, 0])
    rows = [[frame.rot.xx, frame.rot.xy, frame.rot.xz], [frame.rot.yx, frame.rot.yy, frame.rot.yz],
            [frame.rot.zx, frame.rot.zy, frame.rot.zz]]  # fmt: skip
    turned = quat_affine.rot_to_quat(rows)
    batch["backbone_affine_tensor"] = jnp.concatenate([turned, r3.vecs_to_tensor(frame.trans)], axis=-1)
    batch["backbone_affine_mask"] = batch["rigidgroups_gt_exists"][:, 0]
    batch["pseudo_beta"], batch["pseudo_beta_mask"] = modules.pseudo_beta_fn(aatype, positions, batch["all_atom_mask"])
    return batch


def prediction_of(random):
    """The structure module's outputs, as DeepMind's losses take them."""
    layers = [chain(random, 0.5) for _ in range(LAYERS)]
    affines, raw, angles, frames, atoms = zip(*layers, strict=True)
    stacked = {
        "frames": jax.tree.map(lambda *x: jnp.stack(x), *frames),
        "atom_pos": jax.tree.map(lambda *x: jnp.stack(x), *atoms),
        "angles_sin_cos": jnp.stack(angles), "unnormalized_angles_sin_cos": jnp.stack(raw),
    }  # fmt: skip
    return {"traj": jnp.stack(affines), "sidechains": stacked, "final_affines": affines[-1],
            "final_atom14_positions": r3.vecs_to_tensor(stacked["atom_pos"])[-1]}  # fmt: skip


def structure(batch, value, settings):
    """Every number of the structure module's loss."""
    value |= folding.compute_renamed_ground_truth(batch, value["final_atom14_positions"])
    violations = folding.find_structural_violations(batch, value["final_atom14_positions"], settings)
    found = {"swapped": value["alt_naming_is_better"]}
    for name, clamped in (("clamped", 1.0), ("unclamped", 0.0), ("mixed", 0.9)):
        losses = {"loss": 0.0}
        folding.backbone_loss(losses, {**batch, "use_clamped_fape": clamped}, value, settings)
        found[f"backbone_{name}"], found[f"last_{name}"] = losses["loss"], losses["fape"]
    found["side_chain"] = folding.sidechain_loss(batch, value, settings)["loss"]
    losses = {"loss": 0.0}
    folding.supervised_chi_loss(losses, batch, value, settings)
    found |= {"chi": losses["chi_loss"], "angle_norm": losses["angle_norm_loss"]}
    losses = {"loss": 0.0}
    folding.structural_violation_loss(losses, batch, {"violations": violations}, settings)
    between = violations["between_residues"]
    found |= {
        "violation": losses["loss"], "bond": between["bonds_c_n_loss_mean"],
        "angle_ca_c_n": between["angles_ca_c_n_loss_mean"], "angle_c_n_ca": between["angles_c_n_ca_loss_mean"],
        "clashes": between["clashes_per_atom_loss_sum"], "within": violations["within_residues"]["per_atom_loss_sum"],
        "neighbours": between["connections_per_residue_violation_mask"],
        "violating": violations["total_per_residue_violations_mask"],
    }  # fmt: skip
    return found


def heads(batch, value, logits, whole):
    """The losses of the other heads."""
    settings, shared = whole.heads, whole.global_config
    points37 = all_atom.atom14_to_atom37(value["final_atom14_positions"], batch)
    value = {"structure_module": {"final_atom_positions": points37, "final_affines": value["final_affines"]},
             "predicted_lddt": {"logits": logits["plddt"]},
             "predicted_aligned_error": {"logits": logits["pae"], "breaks": jnp.linspace(0, 31, BINS - 1)}}  # fmt: skip

    def losses():
        made = {
            name: kind(settings[key], shared) for name, kind, key in (
                ("plddt", modules.PredictedLDDTHead, "predicted_lddt"),
                ("resolved", modules.ExperimentallyResolvedHead, "experimentally_resolved"),
                ("pae", modules.PredictedAlignedErrorHead, "predicted_aligned_error"),
                ("msa", modules.MaskedMsaHead, "masked_msa"),
            )
        }  # fmt: skip
        found = {name: made[name].loss(value, batch)["loss"] for name in ("plddt", "pae")}
        found |= {name: made[name].loss({"logits": logits[name]}, batch)["loss"] for name in ("resolved", "msa")}
        return found

    found, _ = hk.transform_with_state(losses).apply({}, {}, None)
    edges = jnp.linspace(2.3125, 21.6875, BINS - 1)
    found["distogram"] = modules._distogram_log_loss(logits["distogram"], edges, batch, BINS)["loss"]
    ca = points37[None, :, 1], batch["all_atom_positions"][None, :, 1], batch["all_atom_mask"][None, :, 1:2]
    found["lddt"], found["lddt_residues"] = lddt.lddt(*ca)[0], lddt.lddt(*ca, per_residue=True)[0]
    return found


def main():
    random = np.random.default_rng(0)
    whole = config.model_config("model_1_ptm").model
    whole.heads.predicted_lddt.num_bins = whole.heads.predicted_aligned_error.num_bins = BINS
    batch, value = batch_of(random), prediction_of(random)
    logits = {
        "plddt": (NUM, BINS), "resolved": (NUM, 37), "pae": (NUM, NUM, BINS), "msa": (2, NUM, 23),
        "distogram": (NUM, NUM, BINS),
    }  # fmt: skip
    logits = {name: random.standard_normal(shape).astype("float32") for name, shape in logits.items()}
    batch["true_msa"] = random.integers(0, 22, (2, NUM))
    batch["bert_mask"] = (random.random((2, NUM)) < 0.3).astype("float32")
    wanted = {**structure(batch, value, whole.heads.structure_module), **heads(batch, value, logits, whole)}
    rigid = r3.rigids_from_quataffine(quat_affine.QuatAffine.from_tensor(value["traj"]))
    backbone = np.moveaxis(np.array(jax.tree.leaves(rigid.rot)).reshape(3, 3, LAYERS, NUM), (0, 1), (-2, -1))
    groups = r3.rigids_to_tensor_flat12(jax.tree.map(lambda x: x[-1], value["sidechains"]["frames"]))
    inputs = {
        name: batch[name]
        for name in ("aatype", "residue_index", "all_atom_positions", "all_atom_mask", "true_msa", "bert_mask")
    }
    inputs |= {
        "backbone_rotations": backbone, "backbone_origins": value["traj"][..., 4:], "group_frames": groups,
        "atom14": value["final_atom14_positions"], "angles": value["sidechains"]["angles_sin_cos"],
        "unnormalized": value["sidechains"]["unnormalized_angles_sin_cos"], **logits,
    }  # fmt: skip
    truth = {
        name: batch[name] for name in (
            "rigidgroups_gt_frames", "rigidgroups_alt_gt_frames", "rigidgroups_gt_exists", "chi_angles", "chi_mask",
            "atom14_gt_positions", "atom14_alt_gt_positions", "atom14_gt_exists", "atom14_alt_gt_exists",
            "atom14_atom_is_ambiguous", "pseudo_beta", "pseudo_beta_mask",
        )
    }  # fmt: skip
    tensors = {f"input.{name}": x for name, x in inputs.items()} | {f"truth.{name}": x for name, x in truth.items()}
    tensors |= {f"loss.{name}": x for name, x in wanted.items()}
    tensors = {name: np.asarray(x) for name, x in tensors.items()}
    write(
        "protein_losses", {name: x.astype("float32" if x.dtype.kind == "f" else "int32") for name, x in tensors.items()}
    )


if __name__ == "__main__":
    main()

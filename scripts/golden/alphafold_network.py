"""Makes tests/golden/alphafold.safetensors: what small networks of DeepMind's `alphafold` answer, whole and in parts.

With that package as deepmind.py says, and safetensors: `python scripts/golden/alphafold_network.py`. Weights and
features are drawn by names and shapes (tests/seeded_weights.py).
"""

import functools

import deepmind  # noqa: F401  it comes before the package
import haiku as hk
import jax
import numpy as np
import writing
from alphafold.common import residue_constants
from alphafold.model import all_atom, config, folding, modules
from seeded_weights import ALPHAFOLD_CASES, draw_activations, draw_parameters, draw_protein

RECYCLES = 3


def configuration(given):
    """DeepMind's configuration of a network in kzoo's words."""
    found = config.model_config("model_1_ptm" if given["templates"] else "model_3")
    model = found.model
    embed, heads = model.embeddings_and_evoformer, model.heads
    embed.update({
        "evoformer_num_block": given["num_blocks"], "extra_msa_stack_num_block": given["num_extra_blocks"],
        "msa_channel": given["msa_dim"], "extra_msa_channel": given["extra_dim"], "pair_channel": given["pair_dim"],
        "seq_channel": given["single_dim"],
    })  # fmt: skip
    msa_heads, pair_heads, point_heads = given["num_heads"]
    for name, part in embed.evoformer.items():
        if "num_head" in part:
            part.num_head = msa_heads if name.startswith("msa") else pair_heads
        if "num_intermediate_channel" in part:
            part.num_intermediate_channel = given["pair_dim"]
    embed.evoformer.outer_product_mean.num_outer_channel = given["outer_dim"]
    width = given["template_dim"]
    embed.template.attention.update({"key_dim": width, "value_dim": width, "num_head": pair_heads})
    stack = embed.template.template_pair_stack
    stack.num_block = given["num_template_blocks"]
    for part in (stack[name] for name in stack if name != "num_block"):
        if "num_head" in part:
            part.update({"key_dim": width, "value_dim": width, "num_head": pair_heads})
        if "num_intermediate_channel" in part:
            part.num_intermediate_channel = width
    heads.structure_module.update({"num_layer": given["num_layers"], "num_channel": given["single_dim"],
                                   "num_head": point_heads})  # fmt: skip
    heads.structure_module.sidechain.num_channel = given["hidden_dim"]
    heads.predicted_lddt.num_channels = given["hidden_dim"]
    model.num_recycle = RECYCLES
    model.resample_msa_in_recycling = False
    return model


def with_tables(features):
    """Features with what DeepMind's pipeline looks up for each residue."""
    names = [residue_constants.restype_name_to_atom14_names[name] for name in residue_constants.resnames]
    order = residue_constants.atom_order
    to37 = np.array([[order[atom] if atom else 0 for atom in atoms] for atoms in names])
    to14 = np.array([[atoms.index(atom) if atom in atoms else 0 for atom in order] for atoms in names])
    kind, mask = features["aatype"], features["seq_mask"][:, None]
    return {
        **features,
        "seq_length": np.int32(len(kind)),
        "residx_atom14_to_atom37": to37[kind],
        "residx_atom37_to_atom14": to14[kind],
        "atom14_atom_exists": residue_constants.restype_atom14_mask[kind] * mask,
        "atom37_atom_exists": residue_constants.restype_atom37_mask[kind] * mask,
    }


def whole(self, *args, **kwargs):
    """The structure module tells all that it found."""
    self.compute_loss = True
    return STRUCTURE(self, *args, **kwargs)


STRUCTURE = folding.StructureModule.__call__
folding.StructureModule.__call__ = whole


def torsions(*args, **kwargs):
    """DeepMind's angles, but for omega before the first residue, which it makes of rounding errors."""
    found = TORSIONS(*args, **kwargs)
    return {key: value.at[:, 0, 0].set(0) for key, value in found.items()}


TORSIONS, all_atom.atom37_to_torsion_angles = all_atom.atom37_to_torsion_angles, torsions


def answers(found):
    """What kzoo's network gives, from what DeepMind's does."""
    structure, side = found["structure_module"], found["structure_module"]["sidechains"]
    num_layers, length = structure["traj"].shape[:2]
    affine = folding.quat_affine.QuatAffine.from_tensor(structure["traj"])
    rotation = np.stack([np.stack(row, axis=-1) for row in affine.rotation], axis=-2)
    frames = np.concatenate([rotation, structure["traj"][..., 4:, None]], axis=-1)
    group = side["frames"]
    turn = np.stack(group.rot, axis=-1)[-1].reshape(length, 8, 3, 3)
    outputs = {
        "final_atom_positions": structure["final_atom_positions"],
        "final_atom_mask": structure["final_atom_mask"],
        "final_atom14_positions": structure["final_atom14_positions"],
        "frames": frames,
        "sidechain_frames": np.concatenate([turn, np.stack(group.trans, axis=-1)[-1][..., None]], axis=-1),
        "angles": np.reshape(side["angles_sin_cos"], (num_layers, length, 7, 2)),
        "unnormalized_angles": np.reshape(side["unnormalized_angles_sin_cos"], (num_layers, length, 7, 2)),
        **{key: found["representations"][key] for key in ("msa_first_row", "pair", "single")},
    }
    heads = ("distogram", "masked_msa", "predicted_lddt", "experimentally_resolved", "predicted_aligned_error")
    return outputs | {key: found[key]["logits"] for key in heads if key in found}


def make():
    tensors = {}
    for case, (given, sizes) in ALPHAFOLD_CASES.items():
        settings = configuration(given)
        features = draw_protein(**sizes, msa_dim=given["msa_dim"], pair_dim=given["pair_dim"])
        batch = {key: np.asarray(value)[None] for key, value in with_tables(features).items()}
        previous = {key: batch.pop(key)[0] for key in list(batch) if key.startswith("prev_")}

        def once(batch, previous, settings=settings):
            iteration = modules.AlphaFoldIteration(settings, settings.global_config)
            return iteration(batch, previous, is_training=False)

        def recycled(batch, settings=settings):
            return modules.AlphaFold(settings)(batch, is_training=False, return_representations=True)

        one, all_of_them = hk.transform(once), hk.transform(recycled)
        key = jax.random.PRNGKey(0)
        shapes = jax.eval_shape(all_of_them.init, key, batch)
        names = {f"{scope}//{name}": array.shape for scope, each in shapes.items() for name, array in each.items()}
        drawn = draw_parameters(names)
        parameters = {scope: {name: drawn[f"{scope}//{name}"] for name in each} for scope, each in shapes.items()}
        found = jax.jit(one.apply)(without(parameters), key, batch, previous)
        tensors |= {f"{case}.{name}": value for name, value in answers(found).items()}
        found = answers(jax.jit(all_of_them.apply)(parameters, key, batch))
        tensors |= {f"{case}.recycled.{name}": found[name]
                    for name in ("final_atom_positions", "predicted_lddt", "msa_first_row", "pair")}  # fmt: skip
        print(case, len(names), {name: np.shape(value) for name, value in found.items()})
    tensors |= parts()
    writing.write("alphafold", {key: np.asarray(value, "float32") for key, value in tensors.items()})


def parts():
    """What single modules answer to drawn activations, under their names."""
    given, sizes = ALPHAFOLD_CASES["templates"]
    settings = configuration(given)
    evoformer, common = settings.embeddings_and_evoformer.evoformer, settings.global_config
    features = draw_protein(**sizes, msa_dim=given["msa_dim"], pair_dim=given["pair_dim"])
    drawn = draw_activations(given, sizes)
    msa, pair = (drawn["msa"], features["msa_mask"]), (drawn["pair"], np.outer(*[features["seq_mask"]] * 2))
    extra = drawn["extra"], features["extra_msa_mask"]
    calls = {
        "msa_row_attention_with_pair_bias": (modules.MSARowAttentionWithPairBias, (*msa, drawn["pair"])),
        "msa_column_attention": (modules.MSAColumnAttention, msa),
        "msa_column_global_attention": (modules.MSAColumnGlobalAttention, extra),
        "msa_transition": (modules.Transition, msa),
        "outer_product_mean": (functools.partial(modules.OuterProductMean, num_output_channel=given["pair_dim"]), msa),
        "triangle_multiplication_outgoing": (modules.TriangleMultiplication, pair),
        "triangle_multiplication_incoming": (modules.TriangleMultiplication, pair),
        "triangle_attention_starting_node": (modules.TriangleAttention, pair),
        "triangle_attention_ending_node": (modules.TriangleAttention, pair),
        "pair_transition": (modules.Transition, pair),
    }
    found = {}
    for name, (kind, inputs) in calls.items():
        part = evoformer["msa_column_attention" if "global" in name else name]
        found[f"part.{name}"] = answer(
            lambda *inputs, kind=kind, part=part, name=name: kind(part, global_config=common, name=name)(*inputs),
            inputs,
        )

    def attention(x, pair, mask, poses):
        affine = folding.quat_affine.QuatAffine.from_tensor(poses)
        return folding.InvariantPointAttention(settings.heads.structure_module, common)(x, pair, mask, affine)

    inputs = (drawn["single"], drawn["pair"], features["seq_mask"][:, None], drawn["poses"])
    found["part.invariant_point_attention"] = answer(attention, inputs)
    templates = {key: value for key, value in features.items() if key.startswith("template_")}

    def embedding(query, templates, mask):
        module = modules.TemplateEmbedding(settings.embeddings_and_evoformer.template, common)
        return module(query, templates, mask, is_training=False)

    found["part.template_embedding"] = answer(embedding, (pair[0], templates, pair[1]))
    angles = all_atom.atom37_to_torsion_angles(
        *(templates[f"template_{key}"] for key in ("aatype", "all_atom_positions", "all_atom_masks"))
    )
    found |= {f"part.{key}": value for key, value in angles.items()}

    def structure(single, pair):
        """A weighted sum of positions, whose gradient passes or stops at rotations."""
        module = folding.StructureModule(settings.heads.structure_module, common)
        batch = with_tables(features)
        atoms = module({"single": single, "pair": pair}, batch, is_training=False)["final_atom_positions"]
        return jax.numpy.sum(atoms * jax.numpy.cos(jax.numpy.arange(atoms.size)).reshape(atoms.shape))

    gradients = answer(structure, (drawn["single"], drawn["pair"]), jax.grad)
    return found | {"part.gradient.single": gradients[0], "part.gradient.pair": gradients[1]}


def answer(function, inputs, way=None):
    """What a function over Haiku's modules gives with drawn parameters; with `jax.grad`, its gradients."""
    module = hk.transform(function)
    key = jax.random.PRNGKey(0)
    shapes = jax.eval_shape(module.init, key, *inputs)
    names = {f"{scope}//{name}": array.shape for scope, each in shapes.items() for name, array in each.items()}
    drawn = draw_parameters(names)
    parameters = {scope: {name: drawn[f"{scope}//{name}"] for name in each} for scope, each in shapes.items()}
    apply = way(module.apply, argnums=(2, 3)) if way else module.apply
    return jax.jit(apply)(parameters, key, *inputs)


def without(parameters):
    """Parameters by the scopes that they have without the outer module."""
    return {scope.removeprefix("alphafold/"): each for scope, each in parameters.items()}


if __name__ == "__main__":
    make()

"""AlphaFold: the structure of a protein from its sequence, from those of its relatives and from known structures.

Jumper et al. 2021, https://doi.org/10.1038/s41586-021-03819-2; algorithms are those of its supplement, of which this
file is algorithm 2 without the loop of recycling. Layer names are the paths of DeepMind's modules, so that its
`params_model_*.npz` load, with a number for each block of those that its files stack, and `pair_activiations` as it is
spelt there. Unlike in the paper, and as in DeepMind's code, the outer product comes after the attention.
"""

from functools import partial

import keras
from keras import layers

from kzoo.layers.structure_prediction import embeddings, evoformer, known_structures, rigid_frames, triangles
from kzoo.layers.structure_prediction.invariant_point_attention import InvariantPointAttention
from kzoo.layers.structure_prediction.named_weights import EPSILON, INITIALIZERS

TASK = "protein_structure"
INPUTS = {
    "target_feat": "protein", "msa_feat": "protein", "msa_mask": "protein", "seq_mask": "protein", "aatype": "protein",
    "residue_index": "protein", "extra_msa": "protein", "extra_has_deletion": "protein",
    "extra_deletion_value": "protein", "extra_msa_mask": "protein", "prev_pos": "protein",
    "prev_msa_first_row": "protein", "prev_pair": "protein", "template_aatype": "protein",
    "template_all_atom_positions": "protein", "template_all_atom_masks": "protein", "template_mask": "protein",
    "template_pseudo_beta": "protein", "template_pseudo_beta_mask": "protein",
}  # fmt: skip
AGREES_WITH = "DeepMind's `alphafold`"
VARIANTS = {
    "alphafold_1": {},
    "alphafold_2": {},
    "alphafold_3": {"templates": False},
    "alphafold_4": {"templates": False},
    "alphafold_5": {"templates": False},
    "alphafold_1_ptm": {"aligned_error": True},
    "alphafold_2_ptm": {"aligned_error": True},
    "alphafold_3_ptm": {"like": "alphafold_3", "aligned_error": True},
    "alphafold_4_ptm": {"like": "alphafold_4", "aligned_error": True},
    "alphafold_5_ptm": {"like": "alphafold_5", "aligned_error": True},
    # for single sequences on a CPU
    "alphafold_small": {
        "num_blocks": 4,
        "num_extra_blocks": 1,
        "templates": False,
        "num_layers": 4,
        "msa_dim": 64,
        "extra_dim": 32,
        "pair_dim": 64,
        "single_dim": 128,
        "num_heads": (4, 4, 4),
        "outer_dim": 16,
        "hidden_dim": 64,
    },
}
NAMES = {"deepmind": {}}
HAIKU = "alphafold/alphafold_iteration"
LAYOUTS = {
    "Dense": {"kernel": ("weights", "same"), "bias": ("bias", "same")},
    "LayerNormalization": {"gamma": ("scale", "same"), "beta": ("offset", "same")},
}
_TARGET_FEATURES, _MSA_FEATURES, _ATOMS = 22, 49, 37
_DISTANCES, _MSA_KINDS, _CONFIDENCES, _ERRORS = 64, 23, 50, 64  # bins and classes of the heads


def dense(x, units, name, start="linear", **kwargs) -> keras.KerasTensor:
    """A linear map of the last axis."""
    return layers.Dense(units, kernel_initializer=INITIALIZERS[start], name=name, **kwargs)(x)


def norm(x, name, **kwargs) -> keras.KerasTensor:
    """Layer normalisation over the last axis."""
    return layers.LayerNormalization(epsilon=EPSILON, name=name, **kwargs)(x)


def added(x, y, name, dropout=0.0, axis=1) -> keras.KerasTensor:
    """x + y, where all along an axis y is dropped at the same places: supplement 1.11.6."""
    if dropout:
        shape = tuple(1 if place == axis else None for place in range(4))
        y = layers.Dropout(dropout, noise_shape=shape, name=f"{name}.dropout")(y)
    return layers.Add(name=f"{name}.add")([x, y])


def pair_block(pair, mask, num_heads, factor, dropout, chunk, name, attention_first=False) -> keras.KerasTensor:
    """What happens to pairs in a block: algorithm 6, lines 6 to 10; templates attend first, algorithm 16."""

    def multiply(x):
        for which in ("outgoing", "incoming"):
            place = f"{name}.triangle_multiplication_{which}"
            x = added(
                x, triangles.TriangleMultiplication(which == "incoming", chunk, name=place)(x, mask), place, dropout
            )
        return x

    def attend(x):
        for axis, which in ((1, "starting"), (2, "ending")):
            place = f"{name}.triangle_attention_{which}_node"
            y = triangles.TriangleAttention(num_heads, which == "ending", chunk, name=place)(x, mask)
            x = added(x, y, place, dropout, axis)
        return x

    for step in (attend, multiply) if attention_first else (multiply, attend):
        pair = step(pair)
    place = f"{name}.pair_transition"
    return added(pair, evoformer.Transition(factor, chunk, name=place)(pair), place)


def evoformer_block(msa, pair, msa_mask, pair_mask, column, heads, outer_dim, dropout, chunk, name) -> tuple:
    """Algorithm 6, lines 2 to 10, and with global attention as `column` algorithm 18."""
    place = f"{name}.msa_row_attention_with_pair_bias"
    y = evoformer.RowAttentionWithPairBias(heads[0], chunk, name=place)(msa, msa_mask, pair)
    msa = added(msa, y, place, 0.6 * dropout)
    place = (
        f"{name}.msa_column_attention" if column is evoformer.ColumnAttention else f"{name}.msa_column_global_attention"
    )
    msa = added(msa, column(heads[0], chunk, name=place)(msa, msa_mask), place)
    place = f"{name}.msa_transition"
    msa = added(msa, evoformer.Transition(4, chunk, name=place)(msa), place)
    place = f"{name}.outer_product_mean"
    pair = added(pair, evoformer.OuterProductMean(outer_dim, pair.shape[-1], chunk, name=place)(msa, msa_mask), place)
    return msa, pair_block(pair, pair_mask, heads[1], 4, dropout, chunk, name)


def embedded_templates(
    pair, pair_mask, features, template_mask, num_blocks, width, heads, dropout, chunk
) -> keras.KerasTensor:
    """What pairs learn from known structures: algorithm 2, lines 9 to 13."""
    name = "evoformer.template_embedding"
    single = f"{name}.single_template_embedding"
    x = known_structures.TemplatePairFeatures(dtype="float32", name=f"{single}.features")(*features)
    x, mask = known_structures.EachTemplate(name=f"{single}.each")(x, pair_mask)
    x = dense(x, width, f"{single}.embedding2d", "relu")
    for index in range(num_blocks):
        place = f"{single}.template_pair_stack.__layer_stack_no_state.{index}"
        x = pair_block(x, mask, heads, 2, dropout, chunk, place, attention_first=True)
    x = norm(x, f"{single}.output_layer_norm")
    y = known_structures.TemplatePointwiseAttention(heads, name=f"{name}.attention")(pair, x, template_mask)
    return layers.Add(name=f"{name}.add")([pair, y])


def structure_module(single, pair, mask, num_layers, num_heads, hidden_dim, dropout) -> tuple:
    """Poses of all layers, torsion angles of all, and what is known of each residue in the end: algorithm 20.

    All layers share their weights.
    """
    name, fold, in_float32 = "structure_module", "structure_module.fold_iteration", {"dtype": "float32"}
    width = single.shape[-1]
    initial = norm(single, f"{name}.single_layer_norm", **in_float32)
    x = dense(initial, width, f"{name}.initial_projection", **in_float32)
    pair = norm(pair, f"{name}.pair_layer_norm", **in_float32)
    attention = f"{fold}.invariant_point_attention"
    bias = dense(pair, num_heads, f"{attention}.attention_2d", **in_float32)
    poses = rigid_frames.InitialPoses(name=f"{name}.poses", **in_float32)(mask)
    linear = partial(layers.Dense, kernel_initializer=INITIALIZERS["linear"], **in_float32)
    relu = partial(layers.Dense, kernel_initializer=INITIALIZERS["relu"], **in_float32)
    last = partial(layers.Dense, kernel_initializer="zeros", **in_float32)
    layer_norm = partial(layers.LayerNormalization, epsilon=EPSILON, **in_float32)
    attend = InvariantPointAttention(num_heads, name=attention, **in_float32)
    norms = [layer_norm(name=f"{fold}.{which}_layer_norm") for which in ("attention", "transition")]
    transitions = [relu(width, "relu", name=f"{fold}.transition"), relu(width, "relu", name=f"{fold}.transition_1"),
                   last(width, name=f"{fold}.transition_2")]  # fmt: skip
    update = last(6, name=f"{fold}.affine_update")
    chain = f"{fold}.rigid_sidechain"
    into = linear(hidden_dim, name=f"{chain}.input_projection")
    residuals = [(relu(hidden_dim, name=f"{chain}.resblock1{end}"), last(hidden_dim, name=f"{chain}.resblock2{end}"))
                 for end in ("", "_1")]  # fmt: skip
    angles_of = linear(14, name=f"{chain}.unnormalized_angles")
    start = layers.ReLU(name=f"{chain}.initial_relu", **in_float32)(initial)
    start = dense(start, hidden_dim, f"{chain}.input_projection_1", **in_float32)
    all_poses, all_angles = [], []
    for index in range(num_layers):
        place = f"{fold}.{index}"

        def drop(x, which, place=place):
            return layers.Dropout(dropout, name=f"{place}.{which}.dropout", **in_float32)(x) if dropout else x

        def add(name, *parts, place=place):
            return layers.Add(name=f"{place}.{name}.add", **in_float32)(parts)

        def rectified(x, name, place=place):
            return layers.ReLU(name=f"{place}.{name}.relu", **in_float32)(x)

        x = norms[0](drop(add("attention", x, attend(x, pair, bias, mask, poses)), "attention"))
        y = x
        for transition in transitions:
            y = transition(y)
        x = norms[1](drop(add("transition", x, y), "transition"))
        poses = rigid_frames.MovedPoses(name=f"{place}.poses", **in_float32)(poses, update(x))
        y = add("sidechain", into(rectified(x, "sidechain")), start)
        for number, (first, second) in enumerate(residuals):
            z = second(rectified(first(rectified(y, f"resblock1_{number}")), f"resblock2_{number}"))
            y = add(f"resblock_{number}", y, z)
        all_poses.append(poses)
        all_angles.append(angles_of(rectified(y, "angles")))
    return all_poses, all_angles, x


def positions(aatype, mask, poses, angles) -> dict:
    """Where the atoms are, from what the structure module found: algorithm 24."""
    in_float32 = {"dtype": "float32"}
    name = "structure_module"
    frames = rigid_frames.FramesOfPoses(name=f"{name}.frames", **in_float32)(poses)
    raw = rigid_frames.StackedAngles(name=f"{name}.unnormalized_angles", **in_float32)(angles)
    angles = rigid_frames.UnitVectors(name=f"{name}.angles", **in_float32)(raw)
    groups = rigid_frames.GroupFrames(name=f"{name}.sidechain_frames", **in_float32)(aatype, frames, angles)
    atoms14 = rigid_frames.AtomPositions(name=f"{name}.atom14", **in_float32)(aatype, mask, groups)
    atom_mask = rigid_frames.AtomMask(name=f"{name}.atom_mask", **in_float32)(aatype, mask)
    atoms = rigid_frames.Atom37(name=f"{name}.atom37", **in_float32)(aatype, atom_mask, atoms14)
    return {
        "angles": angles,
        "unnormalized_angles": raw,
        "frames": frames,
        "sidechain_frames": groups,
        "final_atom14_positions": atoms14,
        "final_atom_mask": atom_mask,
        "final_atom_positions": atoms,
    }


def heads(msa, pair, single, activations, msa_feat, hidden_dim, aligned_error) -> dict:
    """Logits: supplement 1.9.6 to 1.9.10."""
    final = partial(dense, start="zeros", dtype="float32")
    x = norm(activations, "predicted_lddt_head.input_layer_norm", dtype="float32")
    for index in range(2):
        x = dense(x, hidden_dim, f"predicted_lddt_head.act_{index}", "relu", activation="relu", dtype="float32")
    half = final(pair, _DISTANCES, "distogram_head.half_logits")
    outputs = {
        "distogram": embeddings.Symmetric(dtype="float32", name="distogram_head.logits")(half),
        "masked_msa": final(
            embeddings.RowsOf(name="masked_msa_head.rows")(msa, msa_feat), _MSA_KINDS, "masked_msa_head.logits"
        ),
        "predicted_lddt": final(x, _CONFIDENCES, "predicted_lddt_head.logits"),
        "experimentally_resolved": final(single, _ATOMS, "experimentally_resolved_head.logits"),
    }
    if aligned_error:
        outputs["predicted_aligned_error"] = final(pair, _ERRORS, "predicted_aligned_error_head.logits")
    return outputs


def inputs_of(msa_dim, pair_dim, with_templates) -> dict:
    """The inputs by DeepMind's names of features."""

    def make(name, *shape, dtype="float32"):
        return keras.Input(shape, dtype=dtype, name=name)

    found = [
        make("target_feat", None, _TARGET_FEATURES), make("msa_feat", None, None, _MSA_FEATURES),
        make("msa_mask", None, None), make("seq_mask", None), make("aatype", None, dtype="int32"),
        make("residue_index", None, dtype="int32"), make("extra_msa", None, None, dtype="int32"),
        make("extra_has_deletion", None, None), make("extra_deletion_value", None, None),
        make("extra_msa_mask", None, None), make("prev_pos", None, _ATOMS, 3),
        make("prev_msa_first_row", None, msa_dim), make("prev_pair", None, None, pair_dim),
    ]  # fmt: skip
    if with_templates:
        found += [
            make("template_aatype", None, None, dtype="int32"),
            make("template_all_atom_positions", None, None, _ATOMS, 3),
            make("template_all_atom_masks", None, None, _ATOMS), make("template_mask", None),
            make("template_pseudo_beta", None, None, 3), make("template_pseudo_beta_mask", None, None),
        ]  # fmt: skip
    return {tensor.name: tensor for tensor in found}


def build(
    num_blocks=48,
    num_extra_blocks=4,
    num_template_blocks=2,
    num_layers=8,
    msa_dim=256,
    extra_dim=64,
    pair_dim=128,
    template_dim=64,
    single_dim=384,
    num_heads=(8, 4, 12),
    outer_dim=32,
    hidden_dim=128,
    templates=True,
    aligned_error=False,
    dropout=0.25,
    chunk=None,
    name="alphafold_1",
) -> keras.Model:
    """Features of proteins to where their atoms are, one iteration: feed `pair`, ... back as `prev_pair`, ... for more.

    Sizes below: N residues, S sequences, E extra sequences, T templates, all open, L = num_layers, M = msa_dim, P =
    pair_dim. Masks are 1 where something is real. Positions are in angstroms, of the 37 or 14 atoms that
    `kzoo.layers.residues` lists; kinds of residues are numbered there. Inputs, float32 unless int32 is said:

        target_feat (batch, N, 22), msa_feat (batch, S, N, 49), msa_mask (batch, S, N), seq_mask (batch, N),
        aatype int32 (batch, N), residue_index int32 (batch, N),
        extra_msa int32, extra_has_deletion, extra_deletion_value and extra_msa_mask (batch, E, N),
        prev_pos (batch, N, 37, 3), prev_msa_first_row (batch, N, M), prev_pair (batch, N, N, P): zeros at first;
        with templates: template_aatype int32 (batch, T, N), template_all_atom_positions (batch, T, N, 37,
        3), template_all_atom_masks (batch, T, N, 37), template_mask (batch, T), template_pseudo_beta (batch, T, N, 3)
        and template_pseudo_beta_mask (batch, T, N); T may be 0.

    Outputs, a dict, float32:

        final_atom_positions (batch, N, 37, 3) and final_atom_mask (batch, N, 37), zeros where there is no such atom;
        final_atom14_positions (batch, N, 14, 3);
        frames (batch, L, N, 3, 4), of the backbone after every layer: a rotation, and in the last column C alpha;
        sidechain_frames (batch, N, 8, 3, 4), of the rigid groups after the last layer;
        angles and unnormalized_angles (batch, L, N, 7, 2), sine and cosine of omega, phi, psi and chi 1 to 4;
        msa_first_row (batch, N, M), pair (batch, N, N, P), single (batch, N, single_dim);
        logits: distogram (batch, N, N, 64), masked_msa (batch, S, N, 23), predicted_lddt (batch, N, 50),
        experimentally_resolved (batch, N, 37), and with aligned_error predicted_aligned_error (batch, N, N, 64).

    Args:
        num_blocks, num_extra_blocks, num_template_blocks: of the Evoformer, of the stack of extra sequences, and of
            the stack of templates.
        num_layers: of the structure module.
        num_heads: of alignments, of pairs, of the structure module.
        outer_dim, hidden_dim: widths inside the outer product, and of torsion angles and confidence.
        templates: whether known structures are inputs.
        aligned_error: whether the expected error of each residue, seen from each other one, is an output.
        dropout: of pairs; in rows of alignments it is 0.6 times that, and in the structure module 0.4 times.
        chunk: how many rows or columns are computed at once. It changes time and memory, not the numbers; None for as
            many as are fast, and for all in training.

    Raises ValueError for a width that its heads do not divide, another number of heads than three, and a chunk below 1.
    """
    if len(num_heads) != 3:
        raise ValueError(f"{name}: num_heads must be three, of alignments, of pairs and in space, got {num_heads}")
    if chunk is not None and (type(chunk) is not int or chunk < 1):
        raise ValueError(f"{name}: chunk must be None or an int of at least 1, got {chunk!r}")
    inputs = inputs_of(msa_dim, pair_dim, templates)
    mask = inputs["seq_mask"]

    # algorithm 3, and algorithm 32: what the previous iteration found
    target = inputs["target_feat"]
    msa = embeddings.AddedToRows(name="evoformer.msa")(
        dense(inputs["msa_feat"], msa_dim, "evoformer.preprocess_msa"),
        dense(target, msa_dim, "evoformer.preprocess_1d"),
    )
    previous = norm(inputs["prev_msa_first_row"], "evoformer.prev_msa_first_row_norm")
    msa = embeddings.AddedToRows(first_only=True, name="evoformer.msa_recycled")(msa, previous)
    sides = [dense(target, pair_dim, f"evoformer.{side}_single") for side in ("left", "right")]
    distances = embeddings.PreviousDistances(dtype="float32", name="evoformer.prev_pos")(
        inputs["aatype"], inputs["prev_pos"]
    )
    pair = layers.Add(name="evoformer.pair")([
        embeddings.OuterSum(name="evoformer.single")(*sides),
        dense(distances, pair_dim, "evoformer.prev_pos_linear"),
        norm(inputs["prev_pair"], "evoformer.prev_pair_norm"),
        embeddings.RelativePlaces(pair_dim, name="evoformer.pair_activiations")(inputs["residue_index"]),
    ])  # fmt: skip
    pair_mask = embeddings.PairMask(name="evoformer.pair_mask")(mask)

    if templates:
        template = {key.removeprefix("template_"): x for key, x in inputs.items() if key.startswith("template_")}
        kinds, atom_masks = template["aatype"], template["all_atom_masks"]
        features = [kinds, template["pseudo_beta"], template["pseudo_beta_mask"], atom_masks]
        pair = embedded_templates(pair, pair_mask, features, template["mask"], num_template_blocks, template_dim,
                                  num_heads[1], dropout, chunk)  # fmt: skip

    # algorithm 18
    extra = embeddings.ExtraFeatures(name="evoformer.extra_msa_features")(
        inputs["extra_msa"], inputs["extra_has_deletion"], inputs["extra_deletion_value"]
    )
    extra = dense(extra, extra_dim, "evoformer.extra_msa_activations")
    block = partial(evoformer_block, pair_mask=pair_mask, heads=num_heads, outer_dim=outer_dim, dropout=dropout,
                    chunk=chunk)  # fmt: skip
    for index in range(num_extra_blocks):
        extra, pair = block(extra, pair, inputs["extra_msa_mask"], column=evoformer.GlobalColumnAttention,
                            name=f"evoformer.extra_msa_stack.{index}")  # fmt: skip

    # algorithm 2, lines 7 and 8: torsion angles of templates are rows of the alignment
    msa_mask = inputs["msa_mask"]
    if templates:
        angles = known_structures.TemplateAngles(dtype="float32", name="evoformer.template_angles")
        rows, row_mask = angles(kinds, template["all_atom_positions"], atom_masks)
        rows = dense(rows, msa_dim, "evoformer.template_single_embedding", "relu", activation="relu")
        rows = dense(rows, msa_dim, "evoformer.template_projection", "relu")
        msa = layers.Concatenate(axis=1, name="evoformer.msa_and_templates")([msa, rows])
        msa_mask = layers.Concatenate(axis=1, name="evoformer.msa_mask")([msa_mask, row_mask])

    for index in range(num_blocks):
        msa, pair = block(
            msa, pair, msa_mask, column=evoformer.ColumnAttention, name=f"evoformer.evoformer_iteration.{index}"
        )

    first = embeddings.FirstRow(name="evoformer.msa_first_row")(msa)
    single = dense(first, single_dim, "evoformer.single_activations")
    poses, angles, activations = structure_module(
        single, pair, mask, num_layers, num_heads[2], hidden_dim, 0.4 * dropout
    )
    outputs = positions(inputs["aatype"], mask, poses, angles)
    outputs |= heads(msa, pair, single, activations, inputs["msa_feat"], hidden_dim, aligned_error)
    same = partial(layers.Activation, "linear", dtype="float32")
    outputs |= {"msa_first_row": same(name="msa_first_row")(first), "pair": same(name="pair")(pair),
                "single": same(name="single")(single)}  # fmt: skip
    return keras.Model(inputs, outputs, name=name)

"""Known structures of related proteins: what of them enters the pairs and the alignment, and how pairs attend to it."""

import keras
from keras import layers, ops

from kzoo.layers import residues
from kzoo.layers.attention import check_heads
from kzoo.layers.structure_prediction.embeddings import distogram, outer_product
from kzoo.layers.structure_prediction.evoformer import penalty
from kzoo.layers.structure_prediction.named_weights import NamedWeights, product, softmax
from kzoo.layers.structure_prediction.rigid_frames import looked_up, torsion_angles

NUM_KINDS = 22  # the amino acids, unknown, and a gap
NUM_BINS, FIRST, LAST = 39, 3.25, 50.75  # of distances between residues of a template, in angstroms


@keras.saving.register_keras_serializable("kzoo")
class TemplatePairFeatures(layers.Layer):
    """What templates say of pairs of residues: supplement 1.2.9, `template_pair_feat`.

    Call arguments: aatype (batch, templates, residues), beta (batch, templates, residues, 3) and beta_mask (batch,
    templates, residues), positions and presence of C beta, and atom_mask (batch, templates, residues, 37). Returns
    (batch, templates, residues, residues, 88). The unit vectors among the features are zeros, as for all published
    weights.
    """

    def call(self, aatype, beta, beta_mask, atom_mask) -> keras.KerasTensor:
        kinds = ops.one_hot(aatype, NUM_KINDS, dtype=self.compute_dtype)
        atoms = ops.stack([atom_mask[..., residues.ATOM37.index(name)] for name in ("N", "CA", "C")], axis=-1)
        backbone = outer_product(ops.prod(atoms, axis=-1))[..., None]
        columns, rows = kinds[:, :, None] * ops.ones_like(backbone), kinds[:, :, :, None] * ops.ones_like(backbone)
        parts = [
            distogram(beta, NUM_BINS, FIRST, LAST),
            outer_product(beta_mask)[..., None], columns, rows, ops.repeat(ops.zeros_like(backbone), 3, axis=-1),
            backbone,
        ]  # fmt: skip
        return ops.concatenate(parts, axis=-1) * backbone

    def compute_output_shape(self, aatype_shape, beta_shape, beta_mask_shape, atom_mask_shape) -> tuple:
        return (*aatype_shape, aatype_shape[-1], NUM_BINS + 2 * NUM_KINDS + 5)


@keras.saving.register_keras_serializable("kzoo")
class TemplateAngles(layers.Layer):
    """Kinds and torsion angles of templates: supplement 1.2.9, `template_angle_feat`.

    Call arguments: aatype (batch, templates, residues), positions (batch, templates, residues, 37, 3), and atom_mask
    (batch, templates, residues, 37). Returns (batch, templates, residues, 57) and, as rows of an alignment's mask,
    (batch, templates, residues), 1 where psi is known.
    """

    def call(self, aatype, positions, atom_mask) -> tuple:
        shape = ops.shape(aatype)
        merged = [ops.reshape(x, (-1, *ops.shape(x)[2:])) for x in (aatype, positions, atom_mask)]
        angles, known = torsion_angles(*merged)
        mirrored = angles[..., 3:, :] * (1 - 2 * looked_up(residues.CHI_PI_PERIODIC, merged[0]))[..., None]
        mirrored = ops.concatenate([angles[..., :3, :], mirrored], axis=-2)
        angles, mirrored = (ops.reshape(x, (*shape, 14)) for x in (angles, mirrored))
        known = ops.reshape(known, (*shape, 7))
        kinds = ops.one_hot(aatype, NUM_KINDS, dtype=self.compute_dtype)
        return ops.concatenate([kinds, angles, mirrored, known], axis=-1), known[..., 2]

    def compute_output_shape(self, aatype_shape, positions_shape, atom_mask_shape) -> tuple:
        return (*aatype_shape, NUM_KINDS + 35), tuple(aatype_shape)


@keras.saving.register_keras_serializable("kzoo")
class EachTemplate(layers.Layer):
    """Templates as examples of a batch: (batch, templates, ...) to (batch * templates, ...).

    Call arguments: x (batch, templates, residues, residues, width) and padding_mask (batch, residues, residues), that
    of the protein, which is repeated for each of its templates. Returns both.
    """

    def call(self, x, padding_mask) -> tuple:
        shape = ops.shape(x)
        padding_mask = ops.broadcast_to(padding_mask[:, None], shape[:4])
        return ops.reshape(x, (-1, *shape[2:])), ops.reshape(padding_mask, (-1, *shape[2:4]))

    def compute_output_shape(self, x_shape, padding_mask_shape) -> tuple:
        count = None if None in x_shape[:2] else x_shape[0] * x_shape[1]
        return (count, *x_shape[2:]), (count, *x_shape[2:4])


@keras.saving.register_keras_serializable("kzoo")
class TemplatePointwiseAttention(NamedWeights):
    """Attention of each pair to what the templates say of it: algorithm 17.

    Args:
        num_heads: divides the templates' width.

    Call arguments: x (batch, residues, residues, pair_dim), templates (batch * templates, residues, residues, width),
    and template_mask (batch, templates). Returns what is added to x, zeros for an example without templates.
    """

    PATHS = ("query_w", "key_w", "value_w", "output_w", "output_b")

    def __init__(self, num_heads=4, **kwargs):
        super().__init__(**kwargs)
        check_heads(num_heads)
        self.num_heads = num_heads

    def build(self, x_shape, templates_shape, template_mask_shape) -> None:
        width, heads = templates_shape[-1], self.num_heads
        check_heads(heads, width)
        size = width // heads
        self.weight("query_w", (x_shape[-1], heads, size), "glorot")
        self.weight("key_w", (width, heads, size), "glorot")
        self.weight("value_w", (width, heads, size), "glorot")
        self.weight("output_w", (heads, size, x_shape[-1]), "final")
        self.weight("output_b", (x_shape[-1],), "zeros")

    def call(self, x, templates, template_mask) -> keras.KerasTensor:
        batch, rows, columns, _ = ops.shape(x)
        width, heads, pair_dim = templates.shape[-1], self.num_heads, x.shape[-1]
        size = width // heads
        q = product(x, ops.reshape(self.query_w, (pair_dim, width))) * size**-0.5
        q = ops.reshape(q, (batch, 1, rows, columns, heads, size))
        shape = (*ops.shape(template_mask), rows, columns, heads, size)
        k, v = (ops.reshape(product(templates, ops.reshape(w, (width, width))), shape)
                for w in (self.key_w, self.value_w))  # fmt: skip
        logits = ops.sum(q * k, axis=-1) + penalty(template_mask)[:, :, None, None, None]
        scores = softmax(logits, axis=1)[..., None]  # over templates
        y = ops.reshape(ops.sum(scores * v, axis=1), (batch, rows, columns, width))
        y = product(y, ops.reshape(self.output_w, (width, pair_dim))) + self.output_b
        return y * ops.cast(ops.sum(template_mask, axis=1) > 0, y.dtype)[:, None, None, None]

    def compute_output_shape(self, x_shape, templates_shape, template_mask_shape) -> tuple:
        return x_shape

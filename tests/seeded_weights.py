"""Weights and images that NumPy draws alike on both sides of a comparison, so that golden files need not store them."""

import hashlib
import json

import numpy as np

# small networks of proteins in kzoo's words, and the sizes of what they read
ALPHAFOLD_SMALL = {
    "num_blocks": 2, "num_extra_blocks": 1, "num_template_blocks": 2, "num_layers": 3, "msa_dim": 12, "extra_dim": 6,
    "pair_dim": 8, "template_dim": 6, "single_dim": 10, "num_heads": (3, 2, 2), "outer_dim": 4, "hidden_dim": 6,
    "templates": True, "aligned_error": True,
}  # fmt: skip
ALPHAFOLD_CASES = {
    "templates": (ALPHAFOLD_SMALL, {"length": 9, "num_sequences": 4, "num_extra": 5, "num_templates": 2, "padding": 1}),
    "single": (
        {**ALPHAFOLD_SMALL, "templates": False, "num_heads": (2, 4, 3), "aligned_error": False, "msa_dim": 10},
        {"length": 7, "num_sequences": 1, "num_extra": 1, "num_templates": 0, "padding": 0},
    ),
}


def draw_weights(shapes, seed=0):
    """Arrays {name: array} for shapes {name: shape} of the reference's tensors, batch-norm statistics among them."""
    random = np.random.default_rng(seed)
    arrays = {}
    for name in sorted(shapes):
        shape, leaf = tuple(shapes[name]), name.rpartition(".")[2]
        if len(shape) > 1:  # kernels keep the size of what passes through a ReLU
            arrays[name] = random.standard_normal(shape, "float32") * np.float32((2 / np.prod(shape[1:])) ** 0.5)
        elif leaf in ("running_var", "weight"):
            arrays[name] = random.random(shape, "float32") + np.float32(0.5)
        else:
            arrays[name] = random.standard_normal(shape, "float32") * np.float32(0.1)
    return arrays


def draw_images(height, width, channels=3, seed=1):
    """Two images (2, height, width, channels): coloured patches, for pooling not to average away, under fine noise."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((2, height, width, channels), "float32")
    patches = random.standard_normal((2, height // 16 + 1, width // 16 + 1, channels), "float32")
    patches *= np.array([0.5, 3], "float32")[:, None, None, None]
    return noise + patches.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]


def draw_clips(lengths, seed=3):
    """A padded batch of sounds whose pitch rises, and their lengths: (clips, longest) float32 and (clips,) int32."""
    random = np.random.default_rng(seed)
    batch = np.zeros((len(lengths), max(lengths)), "float32")
    for row, length in zip(batch, lengths, strict=True):
        tone = np.sin(np.arange(length) ** 1.5 / random.uniform(20, 60))
        row[:length] = 0.3 * tone + 0.05 * random.standard_normal(length)
    return batch, np.array(lengths, "int32")


def draw_detector_outputs(num_anchors, num_classes, seed=7):
    """Class logits and box regression of two images, as a detector halfway through its training may give them."""
    random = np.random.default_rng(seed)
    logits = 2 * random.standard_normal((2, num_anchors, num_classes), "float32") - 1
    return {"class_logits": logits, "box_regression": 0.4 * random.standard_normal((2, num_anchors, 4), "float32")}


def digest(shapes):
    """One short text for all names and shapes of a checkpoint."""
    listed = json.dumps(sorted((name, list(shape)) for name, shape in shapes.items()))
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def reference_shapes(model):
    """Names and shapes of a kzoo model's tensors as in the reference's checkpoints."""
    from kzoo.weights.layouts import find_slots

    return {
        name: tuple(shape) for slot in find_slots(model) for name, shape in zip(slot.names, slot.shapes, strict=True)
    }


def load_drawn_weights(model, folder):
    """Puts drawn weights into a kzoo model by way of a checkpoint in the reference's names and layout."""
    import safetensors.numpy

    import kzoo

    safetensors.numpy.save_file(draw_weights(reference_shapes(model)), folder / "drawn.safetensors")
    kzoo.load_weights(model, folder / "drawn.safetensors")
    return model


def draw_video(frames, height, width, channels=3, seed=5):
    """Two clips (2, frames, height, width, channels) of patches that fade, under fine noise."""
    random = np.random.default_rng(seed)
    noise = random.standard_normal((2, frames, height, width, channels), "float32")
    patches = random.standard_normal((2, frames, height // 8 + 1, width // 8 + 1, channels), "float32") * np.float32(2)
    return noise + patches.repeat(8, axis=2).repeat(8, axis=3)[:, :, :height, :width]


def draw_parameters(shapes, seed=0):
    """Arrays {name: array} for shapes of a network in Haiku's names, in which scales and gates begin at one."""
    random = np.random.default_rng(seed)
    arrays = {}
    stacks = "/evoformer_iteration/", "/extra_msa_stack/", "/__layer_stack_no_state/"
    for name in sorted(shapes):
        shape, leaf = tuple(shapes[name]), name.rpartition("//")[2]
        draw = random.standard_normal(shape, "float32")
        if leaf in ("bias", "offset", "output_b", "gating_b", "trainable_point_weights"):
            arrays[name] = draw * np.float32(0.2)
        elif leaf == "scale":
            arrays[name] = 1 + draw * np.float32(0.2)
        else:
            summed = shape[any(stack in name.replace("//", "/") for stack in stacks) :][: 1 + (leaf == "output_w")]
            arrays[name] = draw * np.float32(np.prod(summed) ** -0.5)
    return arrays


def draw_protein(length, num_sequences, num_extra, num_templates, msa_dim, pair_dim, padding=0, seed=0):
    """Features {name: array} of one protein, of which the last residues and sequences are padding."""
    random = np.random.default_rng(seed)
    normal = lambda *shape: random.standard_normal(shape, "float32")  # noqa: E731
    mask = np.ones(length, "float32")
    mask[length - padding :] = 0
    rows = lambda count: mask * (np.arange(count) < max(1, count - padding))[:, None].astype("float32")  # noqa: E731
    chain = np.cumsum(normal(num_templates, length, 1, 3), axis=1) * 3
    features = {
        "target_feat": np.eye(22, dtype="float32")[random.integers(0, 21, length)],
        "msa_feat": normal(num_sequences, length, 49),
        "msa_mask": rows(num_sequences),
        "seq_mask": mask,
        "aatype": np.arange(length, dtype="int32") * 5 % 21 * mask.astype("int32"),
        "residue_index": np.arange(length, dtype="int32") + 30 * (np.arange(length, dtype="int32") > length // 2),
        "extra_msa": random.integers(0, 23, (num_extra, length), "int32"),
        "extra_has_deletion": random.integers(0, 2, (num_extra, length)).astype("float32"),
        "extra_deletion_value": random.random((num_extra, length), "float32"),
        "extra_msa_mask": rows(num_extra),
        "prev_pos": 8 * normal(length, 37, 3) * mask[:, None, None],
        "prev_msa_first_row": normal(length, msa_dim),
        "prev_pair": normal(length, length, pair_dim),
    }
    if num_templates:
        present = mask * np.array([[1], [0]] * num_templates, "float32")[:num_templates]
        features |= {
            "template_aatype": random.integers(0, 22, (num_templates, length), "int32"),
            "template_all_atom_positions": chain + 2 * normal(num_templates, length, 37, 3),
            "template_all_atom_masks": present[..., None] * (random.random((num_templates, length, 37)) < 0.9),
            "template_mask": present[:, 0],
            "template_pseudo_beta": chain[..., 0, :] + normal(num_templates, length, 3),
            "template_pseudo_beta_mask": present,
        }
        features["template_all_atom_masks"] = features["template_all_atom_masks"].astype("float32")
    return features


def draw_activations(given, sizes, seed=0):
    """What enters single parts of a network for proteins, by the sizes of `draw_protein` and keywords of `build`."""
    random = np.random.default_rng(seed)
    length = sizes["length"]
    drawn = {
        name: random.standard_normal(shape, "float32")
        for name, shape in {
            "msa": (sizes["num_sequences"], length, given["msa_dim"]),
            "extra": (sizes["num_extra"], length, given["extra_dim"]),
            "pair": (length, length, given["pair_dim"]),
            "single": (length, given["single_dim"]),
            "poses": (length, 7),
        }.items()
    }
    drawn["poses"][:, :4] /= np.linalg.norm(drawn["poses"][:, :4], axis=1, keepdims=True)
    return drawn

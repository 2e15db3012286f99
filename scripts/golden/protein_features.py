"""Makes tests/golden/protein_features.safetensors: DeepMind's features of small alignments, where nothing is drawn.

In an environment of its own, with the head of the repository google-deepmind/alphafold (commit c77e5d2) on PYTHONPATH:

    pip install tensorflow-cpu jax dm-haiku ml_collections dm-tree immutabledict biopython safetensors
    PYTHONPATH=alphafold python scripts/golden/protein_features.py
"""

import numpy as np
import tensorflow as tf
from alphafold.common import residue_constants
from alphafold.data import parsers, pipeline
from alphafold.model.tf import data_transforms
from writing import write

A3M = """>query
MKVLAXUWYH
>one more words
MKabVL-XcUWYHd
>two
-KVLGXCW--
>three
MKVLGBCWYZ
>again
MKVLGBCWYZ
>four
aaaMKV--OUWYJ
"""
STOCKHOLM = """# STOCKHOLM 1.0
query MKV--LAXU
one   MKVAALA-U
two   M--ACLAXU

#=GC RF xxx..xxxx
query WY-H
one   W-AH
two   WYAH
//
"""


def read():
    """Ids and deletions as the pipeline has them before anything is drawn."""
    msas = [parsers.parse_a3m(A3M), parsers.parse_stockholm(STOCKHOLM)]
    made = pipeline.make_msa_features(msas)
    protein = {
        "msa": tf.constant(made["msa"]), "aatype": tf.constant([0]),
        "deletion_matrix": tf.cast(made["deletion_matrix_int"], tf.float32),
    }  # fmt: skip
    protein = data_transforms.correct_msa_restypes(protein)
    aatype = pipeline.make_sequence_features("MKVLAXUWYH", "query", 10)["aatype"].argmax(-1)
    return protein["msa"], protein["deletion_matrix"], tf.constant(aatype, tf.int32)


def main():
    msa, deletions, aatype = read()
    centres = tf.constant(np.where(np.arange(20).reshape(2, 10) % 6 == 5, 22, msa[:2]))  # some letters hidden
    protein = {
        "aatype": aatype, "between_segment_residues": tf.zeros_like(aatype), "msa": centres,
        "deletion_matrix": deletions[:2], "msa_mask": tf.ones_like(deletions[:2]), "extra_msa": msa[2:],
        "extra_deletion_matrix": deletions[2:], "extra_msa_mask": tf.ones_like(deletions[2:]),
    }  # fmt: skip
    protein = data_transforms.nearest_neighbor_clusters()(protein)
    protein = data_transforms.summarize_clusters()(protein)
    protein = data_transforms.make_msa_feat()(protein)
    profile = data_transforms.make_hhblits_profile({"msa": msa})["hhblits_profile"]
    kept = (
        "extra_cluster_assignment", "cluster_profile", "cluster_deletion_mean", "msa_feat", "target_feat",
        "extra_has_deletion", "extra_deletion_value",
    )  # fmt: skip
    found = {name: protein[name].numpy() for name in kept}
    found |= {"rows": msa.numpy(), "deletions": deletions.numpy(), "aatype": aatype.numpy()}
    found |= {"centres": centres.numpy(), "profile": profile.numpy()}
    texts = {"a3m": A3M, "stockholm": STOCKHOLM, "letters": "".join(residue_constants.restypes_with_x_and_gap)}
    write("protein_features", found, **texts)


if __name__ == "__main__":
    main()

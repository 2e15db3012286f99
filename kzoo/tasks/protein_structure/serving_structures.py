"""Structures for a server: `fold`, features in, atoms and confidence out, any number of recycles inside."""

import numpy as np
import tensorflow as tf

from kzoo.data import columns
from kzoo.generation import recycling
from kzoo.tasks.endpoints import Endpoint
from kzoo.tasks.protein_structure.confidence import error_middles

LENGTH = 6  # residues that an export is compared on


def endpoints(model) -> dict:
    """`fold`: chains of any length, whose features are those of one iteration, to positions and pLDDT.

    The rows of an alignment are drawn once, by the caller; `kzoo.predict` draws them anew for each recycle.
    """
    wanted = {name: each for name, each in columns.inputs_of(model).items() if name not in recycling.PREVIOUS}
    specs = {name: ((None, *each.shape), each.dtype) for name, each in wanted.items()}
    specs["num_recycles"] = ((), "int32")
    has_errors = "predicted_aligned_error" in model.output

    def make(call):
        def fold(*values):
            given = dict(zip(specs, values, strict=True))
            outputs = recycling.unrolled(model, given, given.pop("num_recycles"), call)
            found = {
                "positions": outputs["final_atom_positions"], "atom_mask": outputs["final_atom_mask"],
                "plddt": 100 * _expected(outputs["predicted_lddt"], lambda bins: (np.arange(bins) + 0.5) / bins),
            }  # fmt: skip
            if has_errors:
                found["aligned_errors"] = _expected(outputs["predicted_aligned_error"], error_middles)
            return found

        return fold

    def draw(random, batch_size):
        return [*(each.draw(random, batch_size, LENGTH) for each in wanted.values()), np.int32(1)]

    inputs = {
        name: f"{dtype} {shape}: {wanted[name].words}" for name, (shape, dtype) in specs.items() if name in wanted
    }
    inputs["num_recycles"] = "int32 (): how often what was found is read again"
    outputs = {
        "positions": "float32 (None, residues, 37, 3), angstroms", "atom_mask": "float32 (None, residues, 37)",
        "plddt": "float32 (None, residues), 0 to 100",
    }  # fmt: skip
    if has_errors:
        outputs["aligned_errors"] = "float32 (None, residues, residues), angstroms"
    return {"fold": Endpoint(make, specs, inputs, outputs, draw, "plddt", shares_variables=True)}


def _expected(logits, middles):
    values = tf.constant(middles(logits.shape[-1]).astype("float32"))
    return tf.reduce_sum(tf.nn.softmax(logits) * values, axis=-1)

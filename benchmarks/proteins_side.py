"""One side of `proteins.py`, in this process: a block of the Evoformer, or the structure module, run for every "go".

Answers each line with one JSON line on standard output: seconds, and the most memory that the process has held. The
first answer comes unasked: seconds until ready, the first (compiling) call included.
"""

import json
import os
import pathlib
import resource
import sys
import time

import numpy as np

MSA, PAIR, SINGLE, HEADS = 256, 128, 384, (8, 4, 12)


def arrays_of(job):
    """What enters, of one protein without padding."""
    random = np.random.default_rng(0)
    length, sequences = job["length"], job["sequences"]
    normal = lambda *shape: random.standard_normal(shape, "float32")  # noqa: E731
    if job["work"] == "structure":
        aatype = np.arange(length, dtype="int32") % 20
        return [normal(length, SINGLE), normal(length, length, PAIR), np.ones(length, "float32"), aatype]
    return [normal(sequences, length, MSA), normal(length, length, PAIR), np.ones((sequences, length), "float32"),
            np.ones((length, length), "float32")]  # fmt: skip


def kzoo_model(job, arrays):
    import keras

    from kzoo.layers.structure_prediction import evoformer
    from kzoo.models import alphafold

    keras.utils.set_random_seed(0)
    inputs = [keras.Input(x.shape, dtype=x.dtype) for x in arrays]
    if job["work"] == "structure":
        poses, angles, _ = alphafold.structure_module(*inputs[:3], 8, HEADS[2], 128, 0.0)
        return keras.Model(inputs, alphafold.positions(inputs[3], inputs[2], poses, angles)["final_atom_positions"])
    outputs = alphafold.evoformer_block(*inputs, evoformer.ColumnAttention, HEADS, 32, 0.0, job["chunk"], "block")
    return keras.Model(inputs, outputs)


def tensorflow_side(job, frozen=False):
    import keras
    import tensorflow as tf

    arrays = arrays_of(job)
    model = kzoo_model(job, arrays)
    given = [tf.constant(x[None]) for x in arrays]
    if frozen:
        constants = [(variable, tf.constant(variable.value)) for variable in model.variables]

        @tf.function
        def call(x):
            with keras.StatelessScope(state_mapping=constants):
                return model(x, training=False)
    else:
        call = tf.function(lambda x: model(x, training=False))
    return lambda: [x.numpy() for x in tf.nest.flatten(call(given))]


def jax_side(job):
    import jax

    arrays = arrays_of(job)
    model = kzoo_model(job, arrays)
    weights = [v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]
    call = jax.jit(lambda weights, x: model.stateless_call(*weights, x, training=False)[0])
    given = [jax.numpy.asarray(x[None]) for x in arrays]
    return lambda: jax.block_until_ready(call(weights, given))


def deepmind_side(job):
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "scripts" / "golden"))
    import deepmind  # noqa: F401  it comes before the package
    import haiku as hk
    import jax
    from alphafold.model import config, folding, modules

    settings = config.model_config("model_3").model
    arrays, common = arrays_of(job), settings.global_config
    if job["work"] == "structure":
        from alphafold.common import residue_constants

        kinds = arrays[3]
        names = [residue_constants.restype_name_to_atom14_names[name] for name in residue_constants.resnames]
        to14 = np.array([[max(atoms.index(a), 0) if a in atoms else 0 for a in residue_constants.atom_order]
                         for atoms in names])  # fmt: skip
        batch = {"seq_mask": arrays[2], "aatype": kinds, "residx_atom37_to_atom14": to14[kinds],
                 "atom14_atom_exists": residue_constants.restype_atom14_mask[kinds],
                 "atom37_atom_exists": residue_constants.restype_atom37_mask[kinds]}  # fmt: skip

        def function(single, pair):
            module = folding.StructureModule(settings.heads.structure_module, common, compute_loss=False)
            return module({"single": single, "pair": pair}, batch, is_training=False)["final_atom_positions"]

        arrays = arrays[:2]
    else:

        def function(msa, pair, msa_mask, pair_mask):
            block = modules.EvoformerIteration(settings.embeddings_and_evoformer.evoformer, common, is_extra_msa=False)
            return block({"msa": msa, "pair": pair}, {"msa": msa_mask, "pair": pair_mask}, is_training=False)

    module, key = hk.transform(function), jax.random.PRNGKey(0)
    given = [jax.numpy.asarray(x) for x in arrays]
    parameters = jax.jit(module.init)(key, *given)
    call = jax.jit(module.apply)
    return lambda: jax.block_until_ready(call(parameters, key, *given))


SIDES = {
    "tensorflow": tensorflow_side,
    "frozen": lambda job: tensorflow_side(job, frozen=True),
    "jax": jax_side,
    "deepmind": deepmind_side,
}


def main():
    job = json.loads(sys.argv[1])
    os.environ["KERAS_BACKEND"] = "jax" if job["side"] == "jax" else "tensorflow"
    begin = time.perf_counter()
    run = SIDES[job["side"]](job)
    run()
    print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        run()
        seconds = time.perf_counter() - begin
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": seconds, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main()

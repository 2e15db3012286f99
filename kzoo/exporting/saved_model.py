"""A SavedModel: the model's own signature, what its task gives a server, and the proof that both are the model's."""

import keras
import numpy as np

from kzoo import graph
from kzoo.data.synthetic import synthetic_inputs
from kzoo.runtimes import samples, verdicts
from kzoo.runtimes.fast_path import Settings, folder_bytes
from kzoo.runtimes.frozen import MAX_GRAPH_BYTES, freeze
from kzoo.tasks import of_or_guess

BATCH_SIZES = (1, 3)
TOLERANCE = 1e-5  # of the outputs' scale; looser for half precision, whose last bit is that large
HALF_TOLERANCE = 2e-2


def write(model, folder, data=None) -> dict:
    """Writes a SavedModel into a folder, reloads and compares it; returns the report.

    Args:
        data: a data set of kzoo for the accuracy before and after, or None.
    """
    import tensorflow as tf

    endpoints = of_or_guess(model).endpoints(model)
    shares = any(endpoint.shares_variables for endpoint in endpoints.values())
    _write(model, endpoints, shares, folder)
    loaded = tf.saved_model.load(str(folder))
    described = {name: {"inputs": one.inputs, "outputs": one.outputs} for name, one in endpoints.items()}
    report = {
        "precision": "float32",
        "signatures": {"serve": in_words(model), **described},
        "weights": "variables, which all signatures share" if shares else _weights(model),
        **_compare(model, endpoints, loaded),
        "batch_sizes": list(BATCH_SIZES),
        "bytes": folder_bytes(folder),
    }
    run = _runner(model, loaded)
    report |= verdicts.latency(model, run, Settings(seconds=0.3))
    if data is not None:
        report["accuracy"] = verdicts.accuracy(model, run, data.test or data.validation)
    return report


def in_words(model) -> dict:
    """The model's own inputs and outputs as the report has them."""
    inputs, outputs = (
        {tensor.name: f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in tensors}
        for tensors in (model.inputs, model.outputs)
    )
    return {"inputs": inputs, "outputs": outputs}


def _runner(model, loaded):
    """The reloaded `serve` as a function from a list of arrays to a list of arrays."""
    import tensorflow as tf

    def run(arrays):
        x = keras.tree.pack_sequence_as(model.input, [tf.constant(array) for array in arrays])
        return [np.asarray(output) for output in keras.tree.flatten(loaded.serve(x))]

    return run


def _weights(model):
    """How a SavedModel of the model holds its weights, in words."""
    size = graph.num_bytes(model.variables)
    return "constants" if size <= MAX_GRAPH_BYTES else f"variables: {size:,} bytes are more than a graph holds"


def _write(model, endpoints, shares, folder):
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    if not shares and _weights(model) == "constants":
        call = _constant_call(model)
    else:
        archive.track(model)
        call = _plain_call(model)
    wanted = keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype, name=t.name), model.input)
    archive.add_endpoint("serve", call, input_signature=[wanted])
    for name, endpoint in endpoints.items():
        specs = [tf.TensorSpec(shape, dtype, name=key) for key, (shape, dtype) in endpoint.specs.items()]
        archive.add_endpoint(name, endpoint.make(call), input_signature=specs)
    archive.write_out(str(folder), verbose=False)


def _plain_call(model):
    return lambda inputs: model(inputs, training=False)


def _constant_call(model):
    """The model as a function of its inputs, through one graph of constants that all signatures share."""
    frozen = freeze(model, flatten=True)

    def call(inputs):
        outputs = frozen.function(*keras.tree.flatten(inputs))
        return keras.tree.pack_sequence_as(model.output, outputs)

    return call


def _compare(model, endpoints, loaded):
    """Compares all signatures of the reloaded SavedModel with the model; ValueError if they differ."""
    import tensorflow as tf

    half = "16" in model.dtype_policy.name or any("16" in layer.dtype_policy.name for layer in model.layers)
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    difference, scale = 0.0, 0.0
    for seed, batch_size in enumerate(BATCH_SIZES):
        for name, endpoint in endpoints.items():
            given = [tf.constant(array) for array in endpoint.draw(np.random.default_rng(seed), batch_size)]
            wanted = keras.ops.convert_to_numpy(endpoint.make(_plain_call(model))(*given)[endpoint.compared])
            got = np.asarray(getattr(loaded, name)(*given)[endpoint.compared])
            if not endpoint.exact:
                difference, scale = _worst(name, got, wanted, batch_size, tolerance, difference, scale)
            elif not np.array_equal(got, wanted):
                raise ValueError(
                    f"export: {name} writes other {endpoint.compared} than the model at batch size {batch_size}; "
                    "nothing was kept"
                )
        x = synthetic_inputs(model, batch_size, seed, samples.open_size(model, seed))
        wanted = keras.tree.flatten(model(x, training=False))
        served = keras.tree.flatten(loaded.serve(keras.tree.map_structure(tf.constant, x)))
        for ours, theirs in zip(wanted, served, strict=True):
            ours, theirs = keras.ops.convert_to_numpy(ours), np.asarray(theirs)
            difference, scale = _worst("serve", theirs, ours, batch_size, tolerance, difference, scale)
    return {"max_difference": difference, "scale": scale, "tolerance": tolerance}


def _worst(signature, got, wanted, batch_size, tolerance, difference, scale):
    if got.shape != wanted.shape:
        raise ValueError(
            f"export: {signature} gives shape {got.shape} at batch size {batch_size}, wanted {wanted.shape}"
        )
    largest = float(np.max(np.abs(got.astype("float64") - wanted)))
    size = float(np.max(np.abs(wanted)))
    if not largest <= tolerance * max(size, 1e-6):
        raise ValueError(f"export: {signature} differs from the model by {largest:.3g} at batch size {batch_size} "
                         f"(outputs up to {size:.3g}, tolerance {tolerance:g} of that); nothing was kept")  # fmt: skip
    return max(difference, largest), max(scale, size)

"""A SavedModel: the model's own signature, what its task gives a server, and the proof that both are the model's."""

import json
import pathlib
import tempfile

import keras
import numpy as np

from kzoo import graph
from kzoo.catalog import card_of
from kzoo.data.synthetic import synthetic_inputs
from kzoo.exporting.snippets import snippet
from kzoo.runtimes import comparison, samples, verdicts
from kzoo.runtimes.fast_path import Settings, folder_bytes
from kzoo.runtimes.frozen import MAX_GRAPH_BYTES, freeze
from kzoo.runtimes.interface import in_words, interface_of
from kzoo.tasks import of_or_guess

INTERFACE_FILE = "interface.json"
TOLERANCE = 1e-5  # of the outputs' scale
HALF_TOLERANCE = 2e-2  # in half precision, whose last bit is that large


def write(model, folder, data=None) -> dict:
    """Writes a SavedModel into a folder, reloads it and compares it; returns the report.

    Args:
        data: a data set of kzoo for the accuracy before and after, or None.

    Raises ValueError if a signature differs from the model by more than the tolerance.
    """
    import tensorflow as tf

    endpoints, interface = of_or_guess(model).endpoints(model), interface_of(model)
    weights, size = "constants", graph.num_bytes(model.variables)
    if any(endpoint.shares_variables for endpoint in endpoints.values()):
        weights = "variables, which all signatures share"
    elif size > MAX_GRAPH_BYTES:
        weights = f"variables: {size:,} bytes are more than a graph holds"
    _write(model, endpoints, interface, weights, folder)
    loaded = tf.saved_model.load(str(folder))
    own = {side: in_words(interface[side]) for side in ("inputs", "outputs")}
    described = {name: {"inputs": one.inputs, "outputs": one.outputs} for name, one in endpoints.items()}
    report = {
        "precision": "float32",
        "signatures": {"serve": own, **described},
        "interface": interface,
        "snippet": _snippet(model, endpoints, interface),
        "weights": weights,
        **_compare(model, endpoints, loaded),
        "batch_sizes": list(verdicts.BATCH_SIZES),
        "bytes": folder_bytes(folder),
    }
    run = _runner(model, loaded)
    report |= verdicts.latency(model, run, Settings(seconds=0.3))
    if data is not None:
        report["accuracy"] = verdicts.accuracy(model, run, data.test or data.validation)
    return report


def _snippet(model, endpoints, interface):
    random = np.random.default_rng(0)
    calls = {name: dict(zip(one.specs, map(np.asarray, one.draw(random, 1)), strict=True))
             for name, one in endpoints.items()}  # fmt: skip
    return snippet("tensorflow", interface, model, samples.random_inputs(model, 1), calls=calls)


def _runner(model, loaded):
    """The reloaded `serve` as a function from a list of arrays to a list of arrays."""
    import tensorflow as tf

    def run(arrays):
        x = keras.tree.pack_sequence_as(model.input, [tf.constant(array) for array in arrays])
        return [np.asarray(output) for output in keras.tree.flatten(loaded.serve(x))]

    return run


def _write(model, endpoints, interface, weights, folder):
    """Writes the signatures, whose outputs have names, and as assets the interface and the files of the tokenizer."""
    import tensorflow as tf

    module, signatures = tf.Module(), {}
    call = _frozen_call(model) if weights == "constants" else _plain_call(model)
    wanted = keras.tree.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype, name=t.name), model.input)
    module.serve = tf.function(call, input_signature=[wanted], autograph=False)  # outputs in the model's structure

    def by_name(inputs):
        return dict(zip(interface["outputs"], keras.tree.flatten(module.serve(inputs)), strict=True))

    named = tf.function(by_name, input_signature=[wanted], autograph=False)
    signatures["serve"] = signatures["serving_default"] = named
    for name, endpoint in endpoints.items():
        specs = [tf.TensorSpec(shape, dtype, name=key) for key, (shape, dtype) in endpoint.specs.items()]
        signatures[name] = tf.function(endpoint.make(call), input_signature=specs, autograph=False)
        setattr(module, name, signatures[name])
    traced = {name: function.get_concrete_function() for name, function in signatures.items()}
    module.weights = list({id(one): one for function in traced.values() for one in function.variables}.values())
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        (place / INTERFACE_FILE).write_text(json.dumps(interface, indent=2) + "\n", encoding="utf-8")
        if card_of(model).tokenizer is not None:
            card_of(model).tokenizer.save(place)
        module.files = [tf.saved_model.Asset(str(file)) for file in sorted(place.iterdir())]
        tf.saved_model.save(module, str(folder), signatures)


def _frozen_call(model):
    """The model as one graph of constants, which all signatures share."""
    frozen = freeze(model, flatten=True)
    return lambda inputs: keras.tree.pack_sequence_as(model.output, frozen.function(*keras.tree.flatten(inputs)))


def _plain_call(model):
    return lambda inputs: model(inputs, training=False)


def _compare(model, endpoints, loaded):
    """Compares all signatures of the reloaded SavedModel with the model; ValueError if they differ."""
    half = "16" in model.dtype_policy.name or any("16" in layer.dtype_policy.name for layer in model.layers)
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    largest, scale = 0.0, 0.0
    for seed, batch_size in enumerate(verdicts.BATCH_SIZES):
        for name, wanted, got in _outputs(model, endpoints, loaded, seed, batch_size):
            wanted, got = keras.ops.convert_to_numpy(wanted), np.asarray(got)
            if name in endpoints and endpoints[name].exact:
                if not np.array_equal(got, wanted):
                    raise ValueError(
                        f"export: {name} writes other {endpoints[name].compared} than the model at batch size "
                        f"{batch_size}; nothing was kept"
                    )
                continue
            if wanted.dtype == np.uint8:  # where a sum falls beside the middle of two levels, rounding makes one of it
                wanted, got = (array.astype(int) for array in (wanted, got))
                verdicts.require_close(
                    f"export: {name}, in levels of a pixel", np.abs(wanted - got).max(), 1, batch_size, 1
                )
                continue
            what = f"export: {name} at batch size {batch_size} gives"
            difference, size = comparison.difference([wanted], [got], what)
            what = f"export: {name} differs from the model"
            verdicts.require_close(what, difference, size, batch_size, tolerance)
            largest, scale = max(largest, difference), max(scale, size)
    return {"max_difference": largest, "scale": scale, "tolerance": tolerance}


def _outputs(model, endpoints, loaded, seed, batch_size):
    """(signature, output of the model, output of the reloaded SavedModel) for random inputs."""
    import tensorflow as tf

    for name, endpoint in endpoints.items():
        given = [tf.constant(array) for array in endpoint.draw(np.random.default_rng(seed), batch_size)]
        wanted, got = endpoint.make(_plain_call(model))(*given), getattr(loaded, name)(*given)
        yield name, wanted[endpoint.compared], got[endpoint.compared]
    x = synthetic_inputs(model, batch_size, seed, samples.open_size(model, seed))
    wanted, got = model(x, training=False), loaded.serve(keras.tree.map_structure(tf.constant, x))
    for ours, theirs in zip(keras.tree.flatten(wanted), keras.tree.flatten(got), strict=True):
        yield "serve", ours, theirs

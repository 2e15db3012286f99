"""A SavedModel of what several networks do together, beside those of each, and the proof that it is what they do."""

import pathlib
import tempfile

import numpy as np

from kzoo.catalog import card_of
from kzoo.runtimes import verdicts
from kzoo.runtimes.fast_path import folder_bytes

FOLDER = "together"
MOST_DIFFERENT = 0.001  # of the numbers, which may differ by more than a level where a sum falls between two


def write(networks, endpoints, folder) -> dict:
    """Writes a SavedModel into a folder, reloads and compares it; returns its report.

    Args:
        networks: the `Assembly`.
        endpoints: `{signature: Endpoint}` of all of it, of uint8 results.

    Raises ValueError if a signature differs from the networks.
    """
    import tensorflow as tf

    module, traced = tf.Module(), {}
    for name, endpoint in endpoints.items():
        specs = [tf.TensorSpec(shape, dtype, name=key) for key, (shape, dtype) in endpoint.specs.items()]
        function = tf.function(endpoint.make(None), input_signature=specs, autograph=False)
        traced[name] = function.get_concrete_function()
        setattr(module, name, function)
    module.weights = list({id(one): one for each in traced.values() for one in each.variables}.values())
    with tempfile.TemporaryDirectory() as place:
        for part in networks.values():
            if card_of(part).tokenizer is not None:
                card_of(part).tokenizer.save(place)
        module.files = [tf.saved_model.Asset(str(file)) for file in sorted(pathlib.Path(place).iterdir())]
        tf.saved_model.save(module, str(folder), traced)
    loaded, largest = tf.saved_model.load(str(folder)), 0
    for seed, batch_size in enumerate(verdicts.BATCH_SIZES):
        for name, endpoint in endpoints.items():
            given = [tf.constant(array) for array in endpoint.draw(np.random.default_rng(seed), batch_size)]
            keys = dict(zip(endpoint.specs, given, strict=True))
            wanted = np.asarray(endpoint.make(None)(*given)[endpoint.compared]).astype(int)
            difference = np.abs(wanted - np.asarray(loaded.signatures[name](**keys)[endpoint.compared]))
            largest = max(largest, int(difference.max()))
            if (difference > 1).mean() > MOST_DIFFERENT:
                raise ValueError(
                    f"export: {name} of {networks.name} differs from the networks by up to {difference.max()} levels "
                    "of a pixel; nothing was kept"
                )
    described = {name: {"inputs": one.inputs, "outputs": one.outputs} for name, one in endpoints.items()}
    return {"path": FOLDER, "signatures": described, "max_difference": largest, "bytes": folder_bytes(folder)}

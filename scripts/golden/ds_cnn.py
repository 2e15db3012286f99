"""Makes tests/golden/ds_cnn.safetensors: MLPerf Tiny's trained keyword spotter, cepstra, and its probabilities of them.

Where kzoo is installed, with the folder kws_ref_model of github.com/mlcommons/tiny (Apache 2.0):

    python scripts/golden/ds_cnn.py benchmark/training/keyword_spotting/trained_models/kws_ref_model
"""

import pathlib
import sys
import tempfile

import numpy as np
import safetensors.numpy
import tensorflow as tf
from writing import write

import kzoo

KINDS = ("kernel", "depthwise_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


def weights_of(folder, model):
    """The published weights under kzoo's names: layers with weights are counted in the order of the graph."""
    reader = tf.train.load_checkpoint(f"{folder}/variables/variables")
    for index, layer in enumerate(layer for layer in model.layers if layer.weights):
        for variable in layer.weights:
            kind = next(kind for kind in KINDS if variable.path.endswith(f"/{kind}"))
            kind = (
                "depthwise_kernel" if isinstance(layer, tf.keras.layers.DepthwiseConv2D) and kind == "kernel" else kind
            )
            variable.assign(reader.get_tensor(f"layer_with_weights-{index}/{kind}/.ATTRIBUTES/VARIABLE_VALUE"))
    with tempfile.TemporaryDirectory() as place:
        kzoo.save_weights(model, pathlib.Path(place) / "weights.safetensors")
        return safetensors.numpy.load_file(pathlib.Path(place) / "weights.safetensors")


def main():
    folder = sys.argv[1]
    x = np.random.default_rng(0).normal(0, 20, (3, 49, 10, 1)).astype("float32")
    with tf.compat.v1.Session(graph=tf.Graph()) as session:  # its optimizer is too old for tf.saved_model.load
        signature = tf.compat.v1.saved_model.load(session, ["serve"], folder).signature_def["serving_default"]
        (given,), (found,) = signature.inputs.values(), signature.outputs.values()
        probabilities = session.run(found.name, {given.name: x})
    tensors = weights_of(folder, kzoo.build("ds_cnn_s"))
    write("ds_cnn", {**tensors, "input": x, "output": probabilities}, tensorflow=tf.__version__)


if __name__ == "__main__":
    main()

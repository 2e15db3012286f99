"""Makes tests/golden/wavenet_ibab.safetensors: a small network of ibab's `tensorflow-wavenet`, by r9y9's names.

With the repository ibab/tensorflow-wavenet (commit 3c973c0) on PYTHONPATH. It is written for TensorFlow 1, whose names
are put in place here, and its two Xavier initialisers with them:

    PYTHONPATH=tensorflow-wavenet python scripts/golden/wavenet_ibab.py
"""

import sys
import types

import numpy as np
import tensorflow
import writing

tf = tensorflow.compat.v1
tf.disable_v2_behavior()
xavier = types.SimpleNamespace(xavier_initializer_conv2d=tf.glorot_uniform_initializer)
for name in ("compat", "summary"):
    setattr(tf, name, getattr(tensorflow, name, None))
tf.contrib = types.SimpleNamespace(layers=xavier)
sys.modules["tensorflow"], sys.modules["librosa"] = tf, types.ModuleType("librosa")  # which reads files
from wavenet.model import WaveNetModel  # noqa: E402  it imports TensorFlow 1

DILATIONS, SAMPLES, NUM_LEVELS = [1, 2, 4, 1, 2, 4], 40, 256


def make():
    random = np.random.default_rng(0)
    network = WaveNetModel(1, DILATIONS, 2, 6, 5, 7, NUM_LEVELS, use_biases=True)
    ids = random.integers(0, NUM_LEVELS, (1, SAMPLES))
    outputs = network._create_network(tf.one_hot(ids, NUM_LEVELS), None)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable in tf.global_variables():
            session.run(variable.assign(random.normal(0, 0.4, variable.shape.as_list())))
        logits, values = session.run([outputs, network.variables])

    def kernel(*parts):
        return np.concatenate([part.transpose(2, 1, 0) for part in parts])

    end = values["postprocessing"]
    tensors = {
        "first_conv.weight": kernel(values["causal_layer"]["filter"]),
        "last_conv_layers.1.weight": kernel(end["postprocess1"]),
        "last_conv_layers.1.bias": end["postprocess1_bias"],
        "last_conv_layers.3.weight": kernel(end["postprocess2"]),
        "last_conv_layers.3.bias": end["postprocess2_bias"],
    }
    for index, layer in enumerate(values["dilated_stack"]):
        place = f"conv_layers.{index}"
        tensors |= {
            f"{place}.conv.weight": kernel(layer["filter"], layer["gate"]),
            f"{place}.conv.bias": np.concatenate([layer["filter_bias"], layer["gate_bias"]]),
            f"{place}.conv1x1_out.weight": kernel(layer["dense"]),
            f"{place}.conv1x1_out.bias": layer["dense_bias"],
            f"{place}.conv1x1_skip.weight": kernel(layer["skip"]),
            f"{place}.conv1x1_skip.bias": layer["skip_bias"],
        }
    # The middle of each class, which both ways of rounding put into it
    companded = 2 * (ids + 0.25) / (NUM_LEVELS - 1) - 1
    waveform = np.sign(companded) * (NUM_LEVELS ** np.abs(companded) - 1) / (NUM_LEVELS - 1)
    tensors |= {"input.waveform": waveform.astype("float32"), "output.wavenet_ibab": logits}
    writing.write("wavenet_ibab", tensors, tensorflow=tensorflow.__version__)


if __name__ == "__main__":
    writing.main(__doc__, make)

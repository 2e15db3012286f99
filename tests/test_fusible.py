"""Layer normalisation and GELU in the form that each runtime recognises: same outputs, one operation each."""

import collections

import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo.layers import gelu
from kzoo.rewrites.fusible import has_layer_norm, make_fusible
from kzoo.runtimes import choices
from kzoo.runtimes.fast_path import Settings
from kzoo.runtimes.frozen import freeze

if keras.backend.backend() != "tensorflow":
    pytest.skip("runtimes convert from TensorFlow", allow_module_level=True)


def with_norms(model):
    """Drawn weights, so that gamma and beta show."""
    random = np.random.default_rng(0)
    model.set_weights([value + random.normal(0, 0.3, value.shape) for value in model.get_weights()])
    return model


def of_keras():
    """A model of Keras' own layers; its first norm is over an axis that runtimes do not look for."""
    x = inputs = keras.Input((6, 8))
    x = layers.LayerNormalization(axis=1)(x)
    x = layers.Dense(12, activation="gelu")(x)
    x = layers.LayerNormalization(center=False, epsilon=1e-6)(x)
    x = layers.Activation("gelu")(layers.LayerNormalization()(layers.Dense(8)(x)))
    return with_norms(keras.Model(inputs, x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gelu_is_keras(dtype):
    x = np.linspace(-6, 6, 241, dtype=dtype)
    np.testing.assert_allclose(gelu(keras.ops.convert_to_tensor(x)), keras.ops.gelu(x, approximate=False), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gelu_keeps_its_small_values_in_half_precision(dtype):
    x = keras.ops.cast(np.linspace(-4, 0, 81, dtype="float32"), dtype)
    exact = keras.ops.gelu(keras.ops.cast(x, "float32"), approximate=False)
    np.testing.assert_allclose(np.asarray(keras.ops.cast(gelu(x), "float32")), exact, rtol=0.1, atol=1e-6)


def test_outputs_stay_and_the_model_too():
    model = of_keras()
    x = np.random.default_rng(1).normal(3, 2, (2, 6, 8)).astype("float32")
    wanted, before = model.predict_on_batch(x), [type(layer) for layer in model.layers]
    np.testing.assert_allclose(make_fusible(model).predict_on_batch(x), wanted, rtol=0, atol=3e-6)
    assert [type(layer) for layer in model.layers] == before
    pairs = list(zip(model.layers, make_fusible(model).layers, strict=True))
    changed = [old.name for old, new in pairs[1:] if old is not new]
    assert len(changed) == 4 and model.layers[1].name not in changed
    assert has_layer_norm(model) and not has_layer_norm(kzoo.build("mlp"))


def double(x):
    return 2 * x


def test_an_activation_that_keras_knows_no_name_of():
    x = inputs = keras.Input((6, 8))
    for _ in range(2):
        x = layers.LayerNormalization()(layers.Dense(8, activation=double)(x))
    model = with_norms(keras.Model(inputs, x))
    x = np.random.default_rng(1).normal(0, 1, (2, 6, 8)).astype("float32")
    wanted = model.predict_on_batch(x)
    np.testing.assert_allclose(kzoo.fast(model, xla=False, seconds=0.05)(x), wanted, rtol=0, atol=1e-5)


def bert():
    return with_norms(kzoo.build("bert_tiny", num_layers=1, hidden_dim=16, num_heads=2, vocabulary_size=31))


@pytest.mark.parametrize("make", [of_keras, bert])
def test_onnx_runtime_runs_each_as_one(make, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra for ONNX is not installed")
    onnx = pytest.importorskip("onnx", reason="the extra for ONNX is not installed")
    choices.module_of("onnxruntime").write(make(), tmp_path, Settings(), None)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), options, providers=["CPUExecutionProvider"])
    kinds = collections.Counter(node.op_type for node in onnx.load(str(tmp_path / "optimised.onnx")).graph.node)
    # a norm without an offset is none to ONNX Runtime
    assert kinds["LayerNormalization"] + kinds["SkipLayerNormalization"] == (1 if make is of_keras else 3), kinds
    assert kinds["Gelu"] + kinds["BiasGelu"] == (2 if make is of_keras else 1) and kinds["Erf"] == 0, kinds


@pytest.mark.parametrize("make", [of_keras, bert])
def test_openvino_runs_norms_as_one_and_leaves_gelu(make):
    if not choices.is_installed("openvino"):
        pytest.skip("the extra for openvino is not installed")
    openvino = choices.module_of("openvino").import_openvino()
    converted = openvino.convert_model(freeze(make(), length=6, fuse_gelu=False).concrete)
    openvino.Core().compile_model(converted, "CPU")
    kinds = collections.Counter(node.get_type_name() for node in converted.get_ops())
    assert kinds["MVN"] == (2 if make is of_keras else 3) and kinds["Gelu"] == 0 and kinds["Erf"] > 0, kinds


def test_litert_runs_gelu_as_one(tmp_path):
    if not choices.is_installed("litert"):
        pytest.skip("the extra for litert is not installed")
    from ai_edge_litert.interpreter import Interpreter

    choices.module_of("litert").write(of_keras(), tmp_path, Settings(batch_size=2), None)
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    assert [row["op_name"] for row in interpreter._get_ops_details()].count("GELU") == 2

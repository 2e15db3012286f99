import json
import os
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest

import kzoo
from kzoo import tasks
from kzoo.catalog import update_card
from kzoo.catalog.preprocessing import Preprocessing
from kzoo.exporting import saved_model
from kzoo.rewrites import pixels
from kzoo.runtimes import choices
from kzoo.runtimes.fast_path import Settings
from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

SMALL = {
    "perceptron": {"num_features": 9},
    "mlp": {"hidden_dims": (8,), "input_shape": (4, 3, 1)},
    "cnn": {"input_shape": (12, 8, 3), "filters": (4, 5), "hidden_dim": 7},
    "mnist_cnn": {"filters": (4, 5, 5), "hidden_dim": 6},
    "rnn_lstm": {},
    "rnn_gru": {},
    "rnn_simple": {},
    "transformer": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "vocabulary_size": 31},
}

# A stranger's process: TensorFlow alone, and kzoo made impossible to import.
STRANGER = """
import json, sys
sys.modules["kzoo"] = sys.modules["keras"] = None
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
inputs = dict(np.load(sys.argv[2]))
inputs = inputs.pop("single") if "single" in inputs else inputs
np.save(sys.argv[3], np.asarray(loaded.serve(inputs)))
print(json.dumps(sorted(loaded.signatures)))
"""


@pytest.mark.parametrize("name", SMALL)
def test_export_equals_the_model(name, tmp_path):
    model = kzoo.build(name, **SMALL[name])
    report = kzoo.export(model, tmp_path / "served")
    assert report["max_difference"] <= 1e-5 * report["scale"]
    assert report["batch_sizes"] == [1, 3]
    stored = json.loads((tmp_path / "served" / "kzoo_export.json").read_text())
    assert stored == {key: value for key, value in report.items() if key != "path"}
    assert [path.name for path in tmp_path.iterdir()] == ["served"]


def test_what_is_timed_is_what_was_compared(tmp_path, monkeypatch):
    """A SavedModel of gigabytes is loaded once."""
    seen = []
    for name in ("_compare", "_runner"):
        step = getattr(saved_model, name)
        monkeypatch.setattr(saved_model, name, lambda *given, step=step: seen.append(given[-1]) or step(*given))
    kzoo.export(kzoo.build("perceptron"), tmp_path / "served")
    assert len(seen) == 2 and seen[0] is seen[1] and hasattr(seen[0], "serve")


@pytest.mark.parametrize("name", ["mnist_cnn", "transformer"])
def test_a_stranger_can_serve_it(name, tmp_path):
    model = kzoo.build(name, **SMALL[name])
    kzoo.export(model, tmp_path / "served")
    x, _, _ = synthetic_batch(model, 2, sequence_length=7)
    np.savez(tmp_path / "inputs.npz", **(x if isinstance(x, dict) else {"single": x}))
    files = [str(tmp_path / file) for file in ("served", "inputs.npz", "outputs.npy")]
    done = subprocess.run([sys.executable, "-c", STRANGER, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    also = {"mnist_cnn": ["serve_images"], "transformer": ["generate"]}.get(name, [])
    assert sorted(json.loads(done.stdout)) == sorted(["serve", "serving_default", *also])
    wanted = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(np.load(files[2]), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_raw_images_of_any_size(tmp_path):
    import tensorflow as tf

    model = kzoo.build("cnn", **SMALL["cnn"])
    kzoo.export(model, tmp_path / "served")
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 12, 8, 3), "uint8")
    got = loaded.serve_images(pixels)
    np.testing.assert_allclose(got["probabilities"], kzoo.predict(model, pixels), atol=1e-6)
    np.testing.assert_array_equal(got["label"], np.argmax(got["probabilities"], -1))
    assert loaded.serve_images(pixels[:, :7, :5])["probabilities"].shape == (2, 10)


def test_images_of_open_size(tmp_path):
    report = kzoo.export(kzoo.build("resnet20", input_shape=(None, None, 3)), tmp_path / "served")
    assert report["max_difference"] <= 1e-5 * report["scale"]
    assert report["signatures"]["serve"]["inputs"] == {"image": "float32 (None, None, None, 3)"}


def test_half_precision_is_compared_too(tmp_path):
    report = kzoo.export(kzoo.build("mnist_cnn", dtype="mixed_bfloat16", **SMALL["mnist_cnn"]), tmp_path / "served")
    assert report["tolerance"] == saved_model.HALF_TOLERANCE


def test_an_export_that_differs_is_not_kept(tmp_path, monkeypatch):
    model = kzoo.build("rnn")
    write = saved_model._write

    def write_then_change(*given):
        write(*given)
        model.set_weights([value + 0.1 for value in model.get_weights()])

    monkeypatch.setattr(saved_model, "_write", write_then_change)
    with pytest.raises(ValueError, match=r"serve differs from the model by .* at batch size 1"):
        kzoo.export(model, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_nan_outputs_are_a_difference(tmp_path):
    model = kzoo.build("rnn")
    model.set_weights([value * np.nan for value in model.get_weights()])
    with pytest.raises(ValueError, match="differs from the model by nan"):
        kzoo.export(model, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_path_is_refused_and_kept(tmp_path):
    path = tmp_path / "served"
    path.mkdir()
    (path / "precious").write_text("kept")
    model = kzoo.build("rnn")
    with pytest.raises(ValueError, match="is not empty"):
        kzoo.export(model, path)
    with pytest.raises(ValueError, match="is a file"):
        kzoo.export(model, path / "precious")
    assert (path / "precious").read_text() == "kept"
    kzoo.export(model, path, overwrite=True)
    assert not (path / "precious").exists() and (path / "saved_model.pb").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["served"]


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match="unknown format 'saved-model'; did you mean saved_model"):
        kzoo.export(kzoo.build("rnn"), tmp_path / "served", format="saved-model")


SLOW_EXPORT = """
import sys, time
import kzoo
from kzoo.exporting import saved_model

def slow(*given):
    print("written", flush=True)
    time.sleep(60)
saved_model._compare = slow
kzoo.export(kzoo.build("rnn"), sys.argv[1])
"""


def test_killed_midway_leaves_nothing_under_the_final_name(tmp_path):
    path = tmp_path / "served"
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW_EXPORT, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert child.stdout.readline() == "written\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not path.exists() and len(os.listdir(tmp_path)) == 1
    kzoo.export(kzoo.build("rnn"), path)
    assert os.listdir(tmp_path) == ["served"], "what the killed process left is cleared away"


def test_two_threads_predict_the_same(tmp_path):
    import concurrent.futures

    model = kzoo.build("mnist_cnn", **SMALL["mnist_cnn"])
    x = np.random.default_rng(0).random((64, 28, 28, 1), "float32")
    wanted = kzoo.predict(model, x)
    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: kzoo.predict(model, x), range(8)):
            np.testing.assert_array_equal(got, wanted)
    assert time.perf_counter() - begin < 60


GENERATES_WITHOUT_KZOO = """
import json, sys
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
out = served.signatures["generate"](
    token_ids=tf.constant([[5, 6, 7], [0, 0, 8]]), padding_mask=tf.constant([[1, 1, 1], [0, 0, 1]]),
    max_new_tokens=tf.constant(9), stops=tf.constant([int(sys.argv[2]), -1]))
assert "kzoo" not in sys.modules
print(json.dumps([out["tokens"].numpy().tolist(), out["lengths"].numpy().tolist()]))
"""


def test_a_server_generates_the_same_tokens_without_kzoo(tmp_path):
    keras.utils.set_random_seed(0)
    model = kzoo.build("gpt2", num_layers=1, hidden_dim=16, num_heads=2, vocabulary_size=37, max_length=40)
    model.set_weights([value + np.random.default_rng(0).normal(0, 0.3, value.shape) for value in model.get_weights()])
    wanted = [one.ids for one in kzoo.generate(model, [[5, 6, 7], [8]], max_new_tokens=9)]
    stop = wanted[0][4]
    kzoo.export(model, tmp_path / "gpt")
    command = [sys.executable, "-I", "-c", GENERATES_WITHOUT_KZOO, str(tmp_path / "gpt"), str(stop)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    tokens, lengths = json.loads(done.stdout)
    for row, length, ids in zip(tokens, lengths, wanted, strict=True):
        before = ids.index(stop) if stop in ids else 9
        assert length == before and row[:length] == ids[:before]


def test_an_export_that_writes_other_tokens_is_not_kept(tmp_path, monkeypatch):
    class Wrong:
        """A SavedModel whose `generate` is wrong and whose `serve` is right."""

        def __init__(self, loaded):
            self.loaded, self.serve = loaded, loaded.serve

        def generate(self, *given):
            return {key: value + 1 for key, value in self.loaded.generate(*given).items()}

    compare = saved_model._compare
    monkeypatch.setattr(saved_model, "_compare", lambda *given: compare(*given[:-1], Wrong(given[-1])))
    model = kzoo.build("gpt2", num_layers=1, hidden_dim=16, num_heads=2, vocabulary_size=37, max_length=40)
    with pytest.raises(ValueError, match="generate writes other tokens than the model at batch size 1; nothing was"):
        kzoo.export(model, tmp_path / "gpt")
    assert list(tmp_path.iterdir()) == []


def needs(format):
    runtime = choices.FORMATS[format]
    if not choices.is_installed(runtime):
        pytest.skip(f"the extra for {runtime} is not installed")


def noisy(model):
    """Statistics of batch norm that are not those it begins with."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([value + random.uniform(0.1, 0.5, value.shape) for value in layer.get_weights()])
    return model


def test_saved_models_are_folded_and_constant(tmp_path):
    import tensorflow as tf

    model = noisy(kzoo.build("resnet20", depths=(1, 1, 1), filters=16))
    report = kzoo.export(model, tmp_path / "served")
    assert report["weights"] == "constants" and report["max_difference"] <= 1e-5 * report["scale"]
    num_bytes = 4 * model.count_params()
    assert num_bytes < report["bytes"] < 1.6 * num_bytes + 300_000, "weights stand in the file once"
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    assert not loaded.signatures["serve"].variables
    kinds = {node.op for function in loaded.signatures["serve"].graph.as_graph_def().library.function
             for node in function.node_def}  # fmt: skip
    assert "Conv2D" in kinds and not kinds & {"FusedBatchNormV3", "Rsqrt", "ReadVariableOp"}
    page = (tmp_path / "served" / "report.md").read_text()
    assert "| weights | constants |" in page and "times as fast at batch size 1" in page


@pytest.mark.parametrize("format", ["litert", "onnx", "openvino"])
def test_other_formats_are_proved_in_their_runtime(format, tmp_path):
    needs(format)
    model = noisy(kzoo.build("resnet20", depths=(1, 1, 1)))
    report = kzoo.export(model, tmp_path / "model", format=format)
    assert report["max_difference"] <= 1e-5 * report["scale"] and report["batch_sizes"] == [1, 3]
    assert report["changes"]["num_layers_before"] - report["changes"]["num_layers_after"] == 7
    names = {"litert": ["model.tflite"], "onnx": ["model.onnx"], "openvino": ["model.bin", "model.xml"]}[format]
    assert sorted(os.listdir(tmp_path / "model")) == ["kzoo_export.json", *names, "report.md"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    stored = json.loads((tmp_path / "model" / "kzoo_export.json").read_text())
    assert stored == {key: value for key, value in report.items() if key != "path"}


def test_a_wrong_runtime_leaves_nothing(tmp_path, monkeypatch):
    needs("litert")
    from kzoo.runtimes import litert

    load = litert.load
    monkeypatch.setattr(litert, "load", lambda *given: lambda arrays: [y + 0.1 for y in load(*given)(arrays)])
    with pytest.raises(ValueError, match="outputs differ from those of cnn by 0.1"):
        kzoo.export(kzoo.build("cnn", **SMALL["cnn"]), tmp_path / "model", format="litert")
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_keeps_its_batch_open(tmp_path):
    needs("onnx")
    import onnx

    kzoo.export(kzoo.build("cnn", **SMALL["cnn"]), tmp_path / "model", format="onnx")
    inputs = onnx.load(tmp_path / "model" / "model.onnx").graph.input
    assert [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim] == [0, 12, 8, 3]


@pytest.fixture(scope="module")
def digits():
    """A model trained on a part of its data, and the data."""
    keras.utils.set_random_seed(0)
    model = kzoo.build("mnist_cnn")
    data = kzoo.data.load("digits", model)
    tasks.compile_model(model, "adam")
    model.fit(data.train.dataset.take(55), shuffle=False, verbose=0)
    return model, data


@pytest.mark.parametrize(("format", "with_preprocessing"), [
    ("litert", False), ("onnx", False), ("openvino", False), ("litert", True), ("onnx", True)
])  # fmt: skip
def test_int8_keeps_the_accuracy_on_digits(format, with_preprocessing, digits, tmp_path):
    """At most one point of accuracy is lost."""
    needs(format)
    model, data = digits
    report = kzoo.export(model, tmp_path / "model", format=format, precision="int8", calibration=data, data=data,
                         with_preprocessing=with_preprocessing)  # fmt: skip
    accuracy = report["accuracy"]
    assert accuracy["num_examples"] == 1000 and accuracy["before"] > 0.7
    assert accuracy["after"] > accuracy["before"] - 0.01 and accuracy["agreement"] > 0.97
    assert report["int8_coverage"] > 0.95 and report["bytes"] < 0.5 * 4 * model.count_params()
    page = (tmp_path / "model" / "report.md").read_text()
    assert "int8 covers" in page and "| ranges of activations | m" in page


def test_pixels_from_inputs_are_those_of_the_data(digits):
    model, data = digits
    x = next(iter(data.test.dataset))[0].numpy()
    np.testing.assert_allclose(pixels.to_pixels(model, x) / 255, x, atol=1e-6)


@pytest.mark.parametrize("format", ["litert", "onnx", "openvino"])
def test_pixels_are_normalised_inside(format, tmp_path):
    needs(format)
    model = noisy(kzoo.build("resnet20", depths=(1, 1, 1)))
    update_card(model, preprocessing=Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3)))
    report = kzoo.export(model, tmp_path / "model", format=format, with_preprocessing=True)
    assert report["signatures"]["serve"] == {"inputs": {"images": "uint8 (None, 32, 32, 3)"},
                                             "outputs": {"probabilities": "float32 (None, 10)"}}  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    runtime, taken = choices.module_of(choices.FORMATS[format]), types.SimpleNamespace(name="images")
    run = runtime.load(tmp_path / "model", types.SimpleNamespace(inputs=[taken], layers=[]), Settings())
    np.testing.assert_allclose(run([images])[0], kzoo.predict(model, images), atol=1e-5)


@pytest.mark.parametrize(("name", "format", "why"), [
    ("gpt2", "litert", "no format holds a tokenizer; `generate` is part of a SavedModel alone"),
    ("rnn", "onnx", r"is for models of images of one size; rnn_lstm takes float32 \(None, None, 10\)"),
    ("retinanet", "openvino", "boxes are decoded by `serve_images` of format saved_model alone"),
])  # fmt: skip
def test_preprocessing_that_no_format_holds(name, format, why, tmp_path, monkeypatch):
    monkeypatch.setattr(choices, "is_installed", lambda runtime: True)
    small = {
        "gpt2": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "vocabulary_size": 37},
        "retinanet": {"backbone": "resnet18", "backbone_options": {"filters": 8}, "filters": 8, "head_depth": 1,
                      "input_shape": (64, 64, 3), "num_classes": 2},
    }  # fmt: skip
    with pytest.raises(ValueError, match=why):
        kzoo.export(kzoo.build(name, **small.get(name, {})), tmp_path / "a", format=format, with_preprocessing=True)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_exports_and_refuses(tmp_path, run_kzoo):
    refused = run_kzoo("export", "cnn", tmp_path / "a", "--format", "litert", "--precision", "int8")
    assert refused.returncode == 2 and "--calibration" in refused.stderr and not (tmp_path / "a").exists()
    needs("litert")
    done = run_kzoo("export", "mnist_cnn", tmp_path / "b", "--format", "litert", "--precision", "int8",
                    "--calibration", "synthetic", "--with-preprocessing", "--ranges", "min_max")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "int8 covers 100 % of MACs" in done.stdout and (tmp_path / "b" / "model.tflite").exists()

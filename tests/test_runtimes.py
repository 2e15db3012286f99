import logging
import threading

import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo.rewrites import precision as precisions
from kzoo.rewrites import unrolling
from kzoo.runtimes import choices, comparison, samples, verdicts
from kzoo.runtimes.fast_path import Settings

SMALL = {
    "resnet20": {"depths": (1, 1, 1)},
    "bert_tiny": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "vocabulary_size": 31},
    "rnn_lstm": {},
}
LENGTH = {"rnn_lstm": 4, "bert_tiny": 5}
OTHERS = [name for name in choices.RUNTIMES if name != "tensorflow"]


def needs(runtime):
    if not choices.is_installed(runtime):
        pytest.skip(f"the extra for {runtime} is not installed")


def build(name):
    keras.utils.set_random_seed(0)
    model = kzoo.build(name, **SMALL[name])
    random = np.random.default_rng(0)
    model.set_weights([abs(value + random.normal(0, 0.1, value.shape)) if "variance" in variable.path
                       else value + random.normal(0, 0.1, value.shape)
                       for variable, value in zip(model.weights, model.get_weights(), strict=True)])  # fmt: skip
    return model


def in_structure(model, arrays):
    return keras.tree.pack_sequence_as(model.input, arrays)


@pytest.mark.parametrize("runtime", choices.RUNTIMES)
@pytest.mark.parametrize("name", SMALL)
def test_every_runtime_gives_the_models_outputs_for_any_batch(runtime, name):
    needs(runtime)
    model = build(name)
    quick = kzoo.fast(model, runtime=runtime, length=LENGTH.get(name), xla=False, seconds=0.05)
    for batch_size in (1, 4):
        arrays = samples.random_inputs(model, batch_size, LENGTH.get(name), seed=batch_size)
        got, wanted = quick(in_structure(model, arrays)), model(in_structure(model, arrays), training=False)
        keras.tree.assert_same_structure(got, wanted)
        for ours, theirs in zip(keras.tree.flatten(got), keras.tree.flatten(wanted), strict=True):
            assert isinstance(ours, np.ndarray)
            theirs = keras.ops.convert_to_numpy(theirs)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())
    report = quick.report
    assert report["max_difference"] <= 1e-5 * report["scale"] and report["runtime"] == runtime
    assert report["latency_ms"]["after"]["min"] > 0 and report["bytes"] > 0
    removed = report["num_layers_before"] - report["num_layers_after"]
    assert removed == (7 if name == "resnet20" else 0)


def test_weights_are_constants_and_later_changes_do_not_show():
    model = build("rnn_lstm")
    quick = kzoo.fast(model, xla=False, seconds=0.05)
    x = samples.random_inputs(model, 2)[0]
    before = quick(x)
    model.set_weights([value + 1 for value in model.get_weights()])
    np.testing.assert_array_equal(quick(x), before)


@pytest.mark.parametrize("xla", [False, True])
def test_large_weights_are_held_as_they_are(xla, monkeypatch):
    monkeypatch.setattr("kzoo.runtimes.tensorflow.MAX_CONSTANT_BYTES", {"plain": 0, "xla": 0})
    model = build("bert_tiny")
    quick = kzoo.fast(model, length=5, xla=xla, seconds=0.05)
    x = in_structure(model, samples.random_inputs(model, 2, 5))
    before = quick(x)["tokens"]
    assert quick.report["max_difference"] <= 1e-5 * quick.report["scale"] and quick.report["bytes"] > 0
    model.set_weights([value + 1 for value in model.get_weights()])
    np.testing.assert_array_equal(quick(x)["tokens"], before)


def test_xla_is_measured_and_the_faster_kept():
    model = kzoo.build("rnn", num_layers=1, cell="simple")
    report = kzoo.fast(model, batch_size=2, length=3, seconds=0.05).report
    times = {name: row["min"] for name, row in report["measured_ms"].items()}
    assert set(times) == {"plain", "xla", "unrolled", "unrolled_xla"} and report["compiled"] == min(
        times, key=times.get
    )


def test_a_fixed_batch_refuses_another():
    quick = kzoo.fast(build("rnn_lstm"), batch_size=2, xla=False, seconds=0.05)
    assert quick(np.zeros((2, 5, 10), "float32")).shape == (2, 2)
    with pytest.raises(ValueError, match="made for batch_size=2 and got 3 examples"):
        quick(np.zeros((3, 5, 10), "float32"))


def test_bad_inputs():
    quick = kzoo.fast(build("resnet20"), xla=False, seconds=0.05)
    with pytest.raises(ValueError, match=r"shape \(2, 3, 32, 32\); wanted \(batch, 32, 32, 3\)"):
        quick(np.zeros((2, 3, 32, 32), "float32"))
    with pytest.raises(ValueError, match=r"shape \(0, 32, 32, 3\); pass at least one example"):
        quick(np.zeros((0, 32, 32, 3), "float32"))
    with pytest.raises(ValueError, match="dtype uint8; wanted float32: kzoo.data.prepare_inputs"):
        quick(np.zeros((2, 32, 32, 3), "uint8"))
    texts = kzoo.fast(build("bert_tiny"), xla=False, seconds=0.05)
    ids = {name: np.ones((1, 4), "int32") for name in ("token_ids", "padding_mask", "segment_ids")}
    with pytest.raises(ValueError, match=r"token id 31 at \[0, 0\] is outside the vocabulary 0..30"):
        texts({**ids, "token_ids": 31 * ids["token_ids"]})
    with pytest.raises(ValueError, match="takes a dict with .*; got a dict with token_ids"):
        texts({"token_ids": ids["token_ids"]})
    with pytest.raises(ValueError, match="different numbers of examples"):
        texts({**ids, "token_ids": np.ones((2, 4), "int32")})


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ({"runtime": "openvno"}, "unknown runtime 'openvno'; did you mean openvino"),
        ({"precision": "int-8"}, "unknown precision 'int-8'; did you mean int8"),
        ({"precision": "int8"}, "'tensorflow' cannot do precision 'int8'.*runs in litert and onnxruntime and openvino"),
        ({"runtime": "litert", "precision": "bfloat16"}, "runs in tensorflow and openvino"),
        ({"runtime": "litert", "precision": "int8"}, "pass calibration= a data set"),
        ({"runtime": "openvino", "precision": "int8", "calibration": [0], "ranges": "percentil"},
         "did you mean percentile"),
        ({"runtime": "openvino", "ranges": "percentile"}, "belongs to precision 'int8'.*got 'float32'"),
        ({"runtime": "litert", "precision": "int8", "calibration": [0], "ranges": "percentile"},
         "'litert' finds the ranges of activations by min_max, which is all.*'percentile' is there in onnxruntime"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_bad_choices(how, error, monkeypatch):
    monkeypatch.setattr(choices, "is_installed", lambda runtime: True)
    with pytest.raises(ValueError, match=error):
        kzoo.fast(kzoo.build("perceptron"), **how)


@pytest.mark.parametrize("runtime", OTHERS)
def test_a_runtime_that_is_not_installed_names_its_extra(runtime, monkeypatch):
    monkeypatch.setattr(choices, "is_installed", lambda runtime: False)
    with pytest.raises(ImportError, match=rf"pip install 'kzoo\[{choices.RUNTIMES[runtime].extra}\]'"):
        kzoo.fast(kzoo.build("perceptron"), runtime=runtime)


def test_the_other_runtimes_are_imported_only_when_asked_for():
    import subprocess
    import sys

    code = ("import sys, kzoo; kzoo.fast(kzoo.build('perceptron'), xla=False, seconds=0.01); "
            "others = {'ai_edge_litert', 'onnx', 'onnxruntime', 'tf2onnx', 'openvino', 'nncf'}; "
            "print(others & set(sys.modules))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime", "openvino"])
def test_int8_covers_convolutions_and_stays_close(runtime):
    needs(runtime)
    model = build("resnet20")
    x = np.random.default_rng(1).random((8, 32, 32, 3), "float32")
    report = kzoo.fast(model, runtime=runtime, precision="int8", calibration=x, seconds=0.05).report
    assert report["compared_on"] == "real" and report["int8_coverage"] > 0.95
    assert 0 < report["max_difference"] < 0.2 * report["scale"]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_ranges_that_leave_an_outlier_out_are_finer(runtime):
    """One value of 32,768 is 300 times as large as the others; its square alone would keep it in the range."""
    needs(runtime)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((256,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(8)(inputs))
    x = np.random.default_rng(0).random((128, 256), "float32")
    usual, x[100, 3] = x[:8].copy(), 300.0
    wanted, errors = comparison.outputs_of(model, [usual])[0], {}
    for ranges in choices.RUNTIMES[runtime].ranges:
        quick = kzoo.fast(model, runtime=runtime, precision="int8", calibration=x, ranges=ranges, seconds=0.05)
        errors[ranges] = np.abs(quick(usual) - wanted).mean()
        assert quick.report["ranges"] == ranges
    largest = errors.pop("min_max")
    assert errors.pop("mse", largest) <= largest
    assert errors and all(error < largest / 4 for error in errors.values()), (largest, errors)


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime", "openvino"])
def test_int8_attention_does_not_drown_in_its_masks(runtime):
    """Masked scores are as low as floats go: quantised beside the others they would make attention an average."""
    needs(runtime)
    keras.utils.set_random_seed(5)  # of OpenVINO's six first draws, 0.0186 to 0.0206 of scale, the lowest
    model = kzoo.build("gpt2", num_layers=1, hidden_dim=32, num_heads=2, vocabulary_size=97, max_length=16)
    random = np.random.default_rng(0)
    model.set_weights([value + random.normal(0, 0.2, value.shape) for value in model.get_weights()])
    arrays = samples.random_inputs(model, 8, 8)
    arrays[1][1::2, 5:] = 0  # padding
    names = [tensor.name for tensor in model.inputs]
    calibration = dict(zip(names, arrays, strict=True))
    quick = kzoo.fast(model, runtime=runtime, precision="int8", calibration=calibration, length=8, seconds=0.05)
    wanted = comparison.outputs_of(model, arrays)[0]
    moved = np.abs(quick(in_structure(model, arrays)) - wanted)[arrays[1] > 0]
    assert moved.mean() < 0.02 * np.abs(wanted).max()


def test_onnx_in_int8_wants_a_length_of_recurrent_networks():
    needs("onnxruntime")
    with pytest.raises(ValueError, match="ONNX Runtime quantises no loops: pass length="):
        kzoo.fast(
            build("rnn_lstm"), runtime="onnxruntime", precision="int8", calibration=np.zeros((2, 4, 10), "float32")
        )


@pytest.mark.parametrize("runtime", ["litert", "openvino"])
def test_int8_weights_need_no_data(runtime):
    needs(runtime)
    model = kzoo.build("gpt2", num_layers=1, hidden_dim=64, num_heads=2, vocabulary_size=97, max_length=16)
    whole = 4 * model.count_params()
    report = kzoo.fast(model, runtime=runtime, precision="int8_weights", length=8, seconds=0.05).report
    assert report["int8_coverage"] > 0.9 and report["bytes"] < whole * 0.7
    assert 0 < report["max_difference"] < 0.1 * report["scale"]


def test_bfloat16_computes_in_bfloat16_and_answers_in_float32():
    model = build("resnet20")
    quick = kzoo.fast(model, precision="bfloat16", xla=False, seconds=0.05)
    x = samples.random_inputs(model, 2)[0]
    assert quick(x).dtype == np.float32
    assert 1e-6 < quick.report["max_difference"] / quick.report["scale"] < 0.1
    texts = kzoo.fast(build("bert_tiny"), precision="bfloat16", length=5, xla=False, seconds=0.05)
    assert 1e-6 < texts.report["max_difference"] / texts.report["scale"] < 0.1
    half = precisions.in_bfloat16(model)
    assert half.get_layer("conv1").compute_dtype == "bfloat16" and half.get_layer("linear").compute_dtype == "float32"


@pytest.mark.parametrize("name", ["onnx_int8", "litert"])
def test_what_libraries_log_leaves_the_root_logger_as_it_was(name, monkeypatch):
    module = pytest.importorskip(f"kzoo.runtimes.{name}", exc_type=ImportError)
    monkeypatch.setattr(logging.root, "handlers", [])
    with module._quiet():
        logging.warning("which gives a root logger without handlers one")
        assert logging.root.handlers
    assert not logging.root.handlers and not logging.root.manager.disable


@pytest.mark.parametrize("one_product", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_unrolled_is_equal_and_the_original_stays(cell, one_product):
    model = kzoo.build("rnn", cell=cell, masked=True, head="states")
    unrolled = unrolling.unroll(model, 6, one_product)
    x = samples.random_inputs(model, 3, 6)
    x[1][1, 4:] = 0
    for ours, theirs in zip(*(comparison.outputs_of(m, x) for m in (model, unrolled)), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-6)
    assert unrolled.get_layer("rnn.l0").unroll and not model.get_layer("rnn.l0").unroll
    assert unrolling.is_recurrent(model) and not unrolling.is_recurrent(build("resnet20"))


@pytest.mark.parametrize("one_product", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_both_directions_unroll(use_bias, one_product):
    inputs = keras.Input((None, 3))
    side = layers.LSTM(4, use_bias=use_bias, return_sequences=True, bias_initializer="random_normal")
    model = keras.Model(inputs, layers.LSTM(5)(layers.Bidirectional(side, name="both")(inputs)))
    unrolled = unrolling.unroll(model, 6, one_product)
    x = samples.random_inputs(model, 2, 6)
    ours, theirs = (comparison.outputs_of(m, x) for m in (model, unrolled))
    np.testing.assert_allclose(theirs[0], ours[0], atol=1e-6)
    assert unrolled.get_layer("both").forward_layer.unroll and unrolling.num_steps(model, 6) == 18
    assert ("recurrent_kernel" in [w.name for w in unrolled.layers[-1].weights]) is not one_product


def test_xla_is_not_given_too_many_unrolled_steps(monkeypatch):
    monkeypatch.setattr("kzoo.runtimes.tensorflow.MAX_COMPILED_STEPS", 5)
    model = kzoo.build("rnn", num_layers=2, cell="simple")
    report = kzoo.fast(model, length=3, seconds=0.05).report
    assert set(report["measured_ms"]) == {"plain", "xla", "unrolled"}
    assert "6 unrolled steps" in report["refused"]["unrolled_xla"]


@pytest.mark.parametrize(
    ("name", "why"), [("rnn_lstm", "no loops over one"), ("bert_tiny", "no attention over an open")]
)
def test_litert_wants_a_length(name, why):
    needs("litert")
    with pytest.raises(ValueError, match=f"{why}.*: pass length="):
        kzoo.fast(build(name), runtime="litert")


def test_onnx_of_attention_without_biases_keeps_its_open_length():
    needs("onnxruntime")
    model = kzoo.build("bert_tiny", **SMALL["bert_tiny"])  # biases are zeros: a projection is a product and a reshape
    quick = kzoo.fast(model, runtime="onnxruntime", seconds=0.05)
    for length in (3, 9):
        arrays = samples.random_inputs(model, 2, length)
        ours = keras.tree.flatten(quick(in_structure(model, arrays)))
        for got, wanted in zip(ours, comparison.outputs_of(model, arrays), strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("size", [3, 7])
def test_adaptive_pooling_in_litert_keeps_its_open_batch(size):
    needs("litert")
    from kzoo.layers.pooling import AdaptiveAveragePooling2D

    image = keras.Input((size, size, 2), name="image")
    model = keras.Model(image, AdaptiveAveragePooling2D(4)(image))
    quick = kzoo.fast(model, runtime="litert", seconds=0.05)
    for batch_size in (1, 3):
        x = np.random.default_rng(0).random((batch_size, size, size, 2), "float32")
        np.testing.assert_allclose(quick(x), comparison.outputs_of(model, [x])[0], atol=1e-6)


def test_openvino_takes_a_recurrent_network_of_open_length():
    needs("openvino")
    needs("onnxruntime")
    model = build("rnn_lstm")
    quick = kzoo.fast(model, runtime="openvino", seconds=0.05)
    for length in (3, 9):
        x = samples.random_inputs(model, 2, length)
        np.testing.assert_allclose(quick(x[0]), comparison.outputs_of(model, x)[0], atol=1e-5)


def test_calibration_reads_every_kind_of_data():
    model = kzoo.build("cnn", input_shape=(12, 8, 3), filters=(4, 5))
    x = np.random.default_rng(0).random((10, 12, 8, 3), "float32")
    data = kzoo.data.from_arrays(x, np.zeros(10, int), model)
    for source, count in ((x, 10), ({"image": x}, 10), ([(x, None), (x, None)], 20), (data, 9)):
        assert samples.read(model, source)["image"].shape == (count, 12, 8, 3)
    assert len(samples.read(model, x, num_examples=4)["image"]) == 4
    with pytest.raises(ValueError, match="no example"):
        samples.read(model, [])
    with pytest.raises(ValueError, match="wanted"):
        samples.read(model, x[:, :5])


def test_calibration_takes_as_many_examples_as_asked_for():
    batches = [(np.full((4, 28, 28, 1), index / 9, "float32"),) for index in range(3)]
    (x,) = samples.read(kzoo.build("mlp", hidden_dims=(2,)), batches, num_examples=6).values()
    np.testing.assert_allclose(x[:, 0, 0, 0] * 9, [0, 0, 0, 0, 1, 1], atol=1e-6)


def test_texts_of_different_lengths_are_filled_up():
    model = build("bert_tiny")
    names = ("token_ids", "padding_mask", "segment_ids")
    batches = [({name: np.ones((2, length), "int32") for name in names},) for length in (3, 5)]
    assert samples.read(model, batches)["token_ids"].tolist() == [[1, 1, 1, 0, 0]] * 2 + [[1] * 5] * 2
    assert samples.read(model, batches, length=4)["token_ids"].shape == (4, 4)
    rows = list(samples.batches(samples.read(model, batches), names, 3))
    assert [row[0].shape for row in rows] == [(3, 5), (3, 5)]


@pytest.mark.parametrize("runtime", ["tensorflow", "litert"])
def test_threads_share_it(runtime):
    needs(runtime)
    model = build("resnet20")
    quick = kzoo.fast(model, runtime=runtime, xla=False, seconds=0.05)
    xs = [samples.random_inputs(model, 1 + seed % 2, seed=seed)[0] for seed in range(6)]
    wanted, got = [quick(x) for x in xs], {}
    threads = [threading.Thread(target=lambda i=i: got.update({i: quick(xs[i])})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, outputs in enumerate(wanted):
        np.testing.assert_allclose(got[index], outputs, atol=1e-6)


def test_outputs_that_differ_are_refused(monkeypatch):
    from kzoo.runtimes import tensorflow

    build_right = tensorflow.build

    def build_wrong(model, settings, calibration):
        run, notes = build_right(model, settings, calibration)
        return lambda arrays: [output + 0.01 for output in run(arrays)], notes

    monkeypatch.setattr(tensorflow, "build", build_wrong)
    with pytest.raises(ValueError, match="outputs differ from those of rnn_lstm by 0.01"):
        kzoo.fast(build("rnn_lstm"), xla=False)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_outputs_that_are_no_numbers_are_refused(precision):
    """Python's max(0.0, nan) is 0.0, by which a runtime that gives NaN would agree with the model to the last bit."""
    model = kzoo.build("perceptron")

    def run(arrays):
        return [np.full_like(outputs, np.nan) for outputs in comparison.outputs_of(model, arrays)]

    with pytest.raises(ValueError, match="outputs differ from those of perceptron by nan at batch size 1"):
        verdicts.moved(model, run, Settings(precision=precision))


def test_a_conversion_leaves_no_graphs_behind():
    needs("onnxruntime")
    import gc

    from tf2onnx.graph import Graph

    kzoo.fast(build("resnet20"), batch_size=1, runtime="onnxruntime", seconds=0.1)
    assert not any(isinstance(each, Graph) for each in gc.get_objects())


def test_an_onnx_file_has_no_pairs_of_transposes_and_no_pads_before_a_pooling(tmp_path):
    needs("onnxruntime")
    import collections

    import onnx

    model = kzoo.build("resnet18", filters=4, input_shape=(32, 32, 3), num_classes=3)
    report = kzoo.export(model, tmp_path / "model", "onnx")
    nodes = onnx.load(str(tmp_path / "model" / "model.onnx")).graph.node
    counts = collections.Counter(node.op_type for node in nodes)
    assert counts["Transpose"] <= 2 and "Pad" not in counts and counts["Conv"] == 20
    pool = next(node for node in nodes if node.op_type == "MaxPool")
    assert [list(row.ints) for row in pool.attribute if row.name == "pads"] == [[1, 1, 1, 1]]
    assert report["max_difference"] <= 1e-5 * report["scale"]


@pytest.mark.parametrize(
    ("before", "value", "widths", "merged"),
    [("Relu", 0.0, [0, 0, 1, 0, 0, 0, 1, 1], True), ("Relu", 1.0, [0, 0, 1, 0, 0, 0, 1, 1], False),
     ("Abs", 0.0, [0, 0, 1, 0, 0, 0, 1, 1], False), ("Relu", 0.0, [0, 1, 1, 0, 0, 0, 1, 1], False),
     ("Relu", 0.0, [0, 0, 2, 0, 0, 0, 1, 1], False), ("Relu", 0.0, [0, 0, -1, 0, 0, 0, 1, 1], False)],
)  # fmt: skip
def test_pads_merge_only_where_they_change_nothing(before, value, widths, merged):
    needs("onnxruntime")
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    from kzoo.runtimes import onnx_tidying

    nodes = [helper.make_node(before, ["x"], ["a"]),
             helper.make_node("Pad", ["a", "widths", "value"], ["b"]),
             helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 1]),
             helper.make_node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
             helper.make_node("Transpose", ["d"], ["e"], perm=[0, 3, 1, 2]),
             helper.make_node("Transpose", ["e"], ["f"], perm=[0, 2, 3, 1]),
             helper.make_node("Transpose", ["f"], ["g"], perm=[0, 2, 3, 1]),
             helper.make_node("Neg", ["g"], ["y"])]  # fmt: skip
    constants = [numpy_helper.from_array(np.array(widths), "widths"),
                 numpy_helper.from_array(np.array(value, "float32"), "value")]  # fmt: skip
    tensors = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4) for name in "xy"]
    proto = helper.make_model(helper.make_graph(nodes, "test", tensors[:1], tensors[1:], constants),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=9)  # fmt: skip

    def run():
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {"x": np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype("float32")})[0]

    wanted = run()
    onnx_tidying.tidy(proto)
    np.testing.assert_array_equal(run(), wanted)
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds == [before, *(() if merged else ["Pad"]), "MaxPool", "Transpose", "Transpose", "Neg"]
    assert len(proto.graph.initializer) == (0 if merged else 2)


@pytest.mark.parametrize(
    ("shapes", "rank", "read_twice", "named"),
    [([(1, 3, 1, 1), (1, 3, 1, 1)], 4, False, True), ([(1, 3, 1, 1), (1, 3, 1, 1)], 4, True, False),
     ([(1, 3, 1, 1), (1, 1, 1, 1)], 4, False, False), ([(1, 3, 1, 1), (1, 1, 1, 4)], 4, False, False),
     ([(3, 1, 1), (3, 1, 1)], 4, False, False), ([(1, 3, 1, 1), (1, 3, 1, 1)], 5, False, False)],
)  # fmt: skip
def test_what_is_named_batch_norm_is_batch_norm(shapes, rank, read_twice, named):
    needs("onnxruntime")
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    from kzoo.runtimes import onnx_tidying

    nodes = [helper.make_node("Mul", ["scale", "x"], ["a"]),
             helper.make_node("Add", ["a", "offset"], ["b"], name="add"),
             helper.make_node("Add" if read_twice else "Relu", ["b", "a"][: 1 + read_twice], ["y"])]  # fmt: skip
    random = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array(random.normal(size=shape).astype("float32"), name)
        for name, shape in zip(("scale", "offset"), shapes, strict=True)
    ]
    sizes = (2, 5, 3, 3, 4)[5 - rank :] if rank == 5 else (2, 3, 5, 4)
    tensors = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, *sizes[1:]]),
               helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * rank)]  # fmt: skip
    proto = helper.make_model(helper.make_graph(nodes, "test", tensors[:1], tensors[1:], constants),
                              opset_imports=[helper.make_opsetid("", 17)], ir_version=9)  # fmt: skip

    def run():
        onnx.checker.check_model(proto)
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {"x": np.random.default_rng(1).normal(size=sizes).astype("float32")})[0]

    wanted = run()
    onnx_tidying.name_batch_norms(proto)
    np.testing.assert_allclose(run(), wanted, atol=1e-6)
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds == (["BatchNormalization", "Relu"] if named else ["Mul", "Add", "Add" if read_twice else "Relu"])


def test_a_conversion_to_litert_gives_no_advice(recwarn, caplog):
    needs("litert")
    from kzoo.runtimes.frozen import freeze
    from kzoo.runtimes.litert import converted

    rows = [[np.random.default_rng(0).random((1, 28, 28, 1)).astype("float32")] for _ in range(4)]
    assert converted(freeze(kzoo.build("mnist_cnn"), 1).concrete, "int8", lambda: rows)
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    assert not [record for record in caplog.records if record.name == "absl"]


def test_batch_norm_before_a_convolution_is_one_operation_of_onnx(tmp_path):
    needs("onnxruntime")
    import onnx

    model = kzoo.build("densenet121", depths=(1, 1), growth_rate=8, filters=8, input_shape=(32, 32, 3), num_classes=3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(keras.random.normal(layer.moving_mean.shape))  # a mean of zero would be left out
    kzoo.export(model, tmp_path / "model", format="onnx")
    (path,) = (tmp_path / "model").rglob("*.onnx")
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert kinds.count("BatchNormalization") == 4 and not {"Mul", "Add"} & set(kinds)

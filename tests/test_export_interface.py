"""What an export says of itself: names, kinds, limits, classes and vocabulary, in its report and in its own format."""

import json
import subprocess
import sys

import fresh_processes
import keras
import numpy as np
import pytest

import kzoo
from kzoo.catalog import Preprocessing, update_card
from kzoo.runtimes import choices
from kzoo.runtimes.interface import interface_of
from kzoo.tasks import endpoints

FORMATS = list(choices.FORMATS)
TEXTS = ["the cat sat", "a dog ran", "the end"]
HOW = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3), crop=0.875)


def needs(format):
    if not choices.is_installed(choices.FORMATS[format]):
        pytest.skip(f"the extra for {format} is not installed")


def classifier():
    keras.utils.set_random_seed(1)
    model = kzoo.build("cnn", input_shape=(12, 8, 3), filters=(4, 5), hidden_dim=7, num_classes=3)
    update_card(model, preprocessing=HOW, class_names=["a cat", 'a "dog"', "none|of\nboth"])
    return model


def writer():
    tokenizer = kzoo.data.Tokenizer.train("bytes", TEXTS, 270)
    model = kzoo.build(
        "gpt2", num_layers=1, hidden_dim=16, num_heads=2, vocabulary_size=tokenizer.vocabulary_size, max_length=40
    )
    update_card(model, tokenizer=tokenizer)
    return model


def of_twins(names=("zeta", "alpha")):
    """Two outputs of one shape in an order that is not the alphabet's, and an input between the lines."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,), name="x")
    return keras.Model(x, [keras.layers.Dense(3, name=name)(x) for name in names])


def run_alone(program, folder, *missing):
    """Runs a program in a process of its own that cannot import some packages."""
    blocked = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in ("kzoo", "keras", *missing))
    command = [sys.executable, "-I", "-c", blocked + program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("format", FORMATS)
def test_the_program_of_the_report_runs_alone_and_gives_the_models_answers(format, tmp_path):
    needs(format)
    model, missing = classifier(), () if format == "saved_model" else ("tensorflow",)
    report = kzoo.export(model, tmp_path / "model", format)
    page = (tmp_path / "model" / "report.md").read_text(encoding="utf-8")
    program = page.split("```python\n")[1].split("```")[0]
    assert program == report["snippet"] and report["snippet"] in page
    keep = 'np.save("logits.npy", outputs["logits"])\n'
    told = run_alone(program + keep, tmp_path / "model", *missing)
    wanted = kzoo.predict(model, np.zeros((1, 12, 8, 3), "uint8"))
    got = np.load(tmp_path / "model" / "logits.npy")
    np.testing.assert_allclose(keras.ops.softmax(got), wanted, atol=1e-6)
    assert "logits (1, 3)\n" in told and model.kzoo.class_names[np.argmax(wanted)] in told


@pytest.mark.parametrize("format", ["saved_model", "onnx"])
def test_the_program_of_a_writer_runs_alone(format, tmp_path):
    needs(format)
    report = kzoo.export(writer(), tmp_path / "model", format)
    program = report["snippet"] + (
        "from tokenizers import Tokenizer\n"
        f"print(Tokenizer.from_file({[n for n in report['files'] if n.endswith('tokenizer.json')][0]!r})"
        f".encode({TEXTS[0]!r}).ids)\n"
    )
    told = run_alone(program, tmp_path / "model", *(() if format == "saved_model" else ("tensorflow",)))
    assert "logits (1, 32, 270)" in told and ("'tokens'" in told) == (format == "saved_model")
    assert told.splitlines()[-1] == str(writer().kzoo.tokenizer.encode(TEXTS[:1])[0])


def read_onnx(folder):
    import onnx

    proto = onnx.load(folder / "model.onnx")
    docs = {row.name: row.doc_string for row in (*proto.graph.input, *proto.graph.output)}
    return {row.key: row.value for row in proto.metadata_props}, docs


def read_openvino(folder):
    from kzoo.runtimes.openvino import import_openvino

    program = import_openvino().Core().read_model(folder / "model.xml")
    keys = ("task", "inputs", "outputs", "class_names", "preprocessing")
    return {key: program.get_rt_info(["kzoo", key]).value for key in keys}, None


def read_litert(folder):
    from ai_edge_litert import schema_py_generated as schema

    file = schema.ModelT.InitFromPackedBuf((folder / "model.tflite").read_bytes(), 0)
    texts = {row.name.decode(): bytes(file.buffers[row.buffer].data).decode() for row in file.metadata
             if row.name.startswith(b"kzoo.")}  # fmt: skip
    return {key.removeprefix("kzoo."): text for key, text in texts.items()}, None


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("format", ["litert", "onnx", "openvino"])
def test_the_file_itself_says_what_it_holds(format, precision, tmp_path):
    needs(format)
    model = classifier()
    real = {"calibration": np.random.default_rng(0).random((4, 12, 8, 3), "float32")} if precision == "int8" else {}
    report = kzoo.export(model, tmp_path / "model", format, precision=precision, **real)
    texts, docs = {"onnx": read_onnx, "openvino": read_openvino, "litert": read_litert}[format](tmp_path / "model")
    interface = report["interface"]
    assert texts["task"] == interface["task"] == model.kzoo.task
    for key in ("inputs", "outputs", "class_names", "preprocessing"):
        assert json.loads(texts[key]) == interface[key]
    if docs:
        assert docs["logits"] == "logits (softmax over the last axis gives probabilities)"
        assert docs["image"].endswith("divided by std; from -2.5 to 2.5")


def test_a_saved_model_says_it_in_assets_and_keeps_the_models_structure(tmp_path):
    import tensorflow as tf

    model = writer()
    report = kzoo.export(model, tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    paths = [str(asset.asset_path.numpy().decode()) for asset in loaded.files]
    assert [path.rpartition("/")[2] for path in paths] == ["interface.json", "tokenizer.json"]
    with open(paths[0], encoding="utf-8") as file:
        assert json.load(file) == report["interface"]
    held = tmp_path / "model" / "variables" / "variables.data-00000-of-00001"
    assert 4 * model.count_params() <= held.stat().st_size < 1.5 * 4 * model.count_params(), "weights stand there once"
    assert kzoo.data.Tokenizer.load(paths[1]).digest == model.kzoo.tokenizer.digest
    x = {name: np.ones((1, 3), "int32") for name in ("token_ids", "padding_mask")}
    bare = loaded.serve(x)
    for name in ("serve", "serving_default"):
        named = loaded.signatures[name](**{key: tf.constant(array) for key, array in x.items()})
        assert list(named) == ["logits"]
        np.testing.assert_array_equal(named["logits"], bare)


def by_name(format, folder, x):
    """The outputs by name, as the format's own runtime gives them."""
    if format == "saved_model":
        import tensorflow as tf

        return tf.saved_model.load(str(folder)).signatures["serve"](x=tf.constant(x))
    if format == "litert":
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(folder / "model.tflite"))
        told = {row["name"] for row in (*interpreter.get_input_details(), *interpreter.get_output_details())}
        assert told <= {"x", "zeta", "alpha"}
        return interpreter.get_signature_runner("serve")(x=x)
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        names = ["alpha", "zeta"]
        return dict(zip(names, session.run(names, {"x": x}), strict=True))
    from kzoo.runtimes.openvino import compiled

    results = compiled(folder, "float32")({"x": x})
    return {name: results[name] for name in ("alpha", "zeta")}


@pytest.mark.parametrize("format", FORMATS)
def test_names_belong_to_their_outputs(format, tmp_path):
    needs(format)
    model, x = of_twins(), np.random.default_rng(0).random((2, 4), "float32")
    report = kzoo.export(model, tmp_path / "model", format)
    assert list(report["signatures"]["serve"]["outputs"]) == ["zeta", "alpha"]
    found = by_name(format, tmp_path / "model", x)
    assert set(found) == {"zeta", "alpha"}
    for name, wanted in zip(("zeta", "alpha"), model(x), strict=True):
        np.testing.assert_allclose(found[name], wanted, atol=1e-6)


def test_litert_gives_an_input_back_under_another_name(tmp_path):
    needs("litert")
    x = keras.Input((4,), name="x")
    kzoo.export(keras.Model(x, {"alpha": keras.layers.Dense(3)(x), "zeta": x}), tmp_path / "model", "litert")
    given = np.random.default_rng(0).random((2, 4), "float32")
    np.testing.assert_array_equal(by_name("litert", tmp_path / "model", given)["zeta"], given)


def blank(name, **options):
    with keras.StatelessScope(initialize_variables=False):
        return kzoo.build(name, **options)


BERT = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 24, "vocabulary_size": 31}


@pytest.mark.parametrize(("name", "options", "outputs"), [
    ("resnet20", {}, ["logits"]),
    ("resnet20", {"num_classes": 0}, ["features"]),
    ("mnist_cnn", {}, ["probabilities"]),
    ("perceptron", {}, ["logits"]),
    ("googlenet", {"auxiliary": True}, ["logits", "auxiliary_logits_1", "auxiliary_logits_2"]),
    ("bert_tiny", BERT, ["pooled", "tokens"]),
    ("bert_tiny", {**BERT, "head": "embedding"}, ["embedding"]),
    ("bert_tiny", {**BERT, "head": "pretraining"}, ["masked_words", "next_sentence"]),
    ("retinanet", {"backbone": "resnet18", "input_shape": (64, 64, 3)}, ["box_regression", "class_logits"]),
])  # fmt: skip
def test_outputs_are_called_what_they_are(name, options, outputs):
    told = endpoints.named_outputs(blank(name, **options))
    assert list(told) == outputs and all(told.values())
    assert ("sigmoid" in str(told)) == (name in ("perceptron", "retinanet"))


def test_a_model_of_nobodys_keeps_the_names_of_its_layers():
    x = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(4, name="hidden")(x)
    for outputs, names in (
        (hidden, ["hidden"]), ({"x": hidden}, ["x_output"]), ({"a": [hidden, x]}, ["a_0", "a_1"]),
        (keras.ops.split(hidden, 2, axis=-1), ["output_0", "output_1"]),
    ):  # fmt: skip
        assert endpoints.named_outputs(keras.Model(x, outputs)) == dict.fromkeys(names)


def test_inputs_say_their_kinds_and_limits():
    told = interface_of(blank("bert_tiny", **BERT), length=8)["inputs"]
    assert {name: (row["kind"], row["values"], row["shape"]) for name, row in told.items()} == {
        "token_ids": ("tokens", [0, 30], [None, 8]),
        "padding_mask": ("mask", [0, 1], [None, 8]),
        "segment_ids": ("segments", [0, 1], [None, 8]),
    }
    told = interface_of(classifier())
    assert told["inputs"]["image"]["values"] == pytest.approx([-2.5, 2.5])
    assert told["preprocessing"]["mean"] == [0.5, 0.4, 0.3] and told["tokenizer"] is None
    grey = kzoo.build("cnn", input_shape=(12, 8, 1), filters=(4, 5))
    update_card(grey, preprocessing=HOW)
    assert interface_of(grey)["preprocessing"]["mean"] == pytest.approx([0.4])
    assert interface_of(blank("rnn"))["inputs"]["features"]["values"] is None


@pytest.mark.parametrize("format", ["litert", "onnx", "openvino"])
def test_with_preprocessing_pixels_go_in_and_only_the_cut_is_left_to_do(format, tmp_path):
    needs(format)
    report = kzoo.export(classifier(), tmp_path / "model", format, with_preprocessing=True)
    interface = report["interface"]
    assert interface["inputs"]["images"]["values"] == [0, 255]
    assert interface["preprocessing"] == {"crop": 0.875, "interpolation": "bilinear"}
    assert interface["outputs"]["probabilities"]["words"] == "probabilities"
    assert interface["class_names"] == classifier().kzoo.class_names


def test_the_page_lists_signatures_classes_and_preprocessing(tmp_path):
    kzoo.export(classifier(), tmp_path / "model")
    page = (tmp_path / "model" / "report.md").read_text(encoding="utf-8")
    assert '| classes | a cat, a "dog", none\\|of both |' in page
    assert "| images | the shorter side / 0.875, then its centre, resized (bilinear, antialiased)" in page
    assert (
        "| input `image` | float32 (None, 12, 8, 3) | images" in page and "| output `label` | int32 (None,) |" in page
    )


FULL = """
import errno, json, pathlib, resource, sys
import kzoo
from kzoo.runtimes import choices

model, told = kzoo.build("mlp", input_shape=(100, 100, 1), hidden_dims=(50,)), {}
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for format, runtime in choices.FORMATS.items():
    if choices.is_installed(runtime):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
        try:
            kzoo.export(model, pathlib.Path(sys.argv[1]) / format, format)
        except OSError as error:
            told[format] = [errno.errorcode[error.errno], str(error)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
print(json.dumps(told))
"""


def test_a_full_disk_is_one_line_in_every_format_and_leaves_nothing(tmp_path):
    done = fresh_processes.run(tmp_path, code=FULL)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told) == {format for format, runtime in choices.FORMATS.items() if choices.is_installed(runtime)}
    for format, (code, line) in told.items():
        assert code == "EFBIG" and f"while writing {tmp_path / format}, which needs 2,002,240 bytes" in line
    assert list(tmp_path.iterdir()) == []

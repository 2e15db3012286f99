import json
import resource
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

from kzoo.cli.commands import cli
from kzoo.data.sources import listing

BAD = [
    (["info", "mnist_cn"], "did you mean mnist_cnn"),
    (["info", "mnist_cnn", "--set", "classes=3"], "did you mean num_classes"),
    (["info", "mnist_cnn", "--set", "num_classes"], "--set takes key=value, got 'num_classes'"),
    (["info", "rnn", "--length", "0"], "length must be an int of at least 1"),
    (["list", "nothing*"], "no model matches 'nothing*'"),
    (["list", "--task", "chess"], "unknown task 'chess'"),
    (["train"], "name the model to train"),
    (["train", "mnist_cn"], "did you mean mnist_cnn"),
    (["evaluate", "no/such/folder"], "no folder at no/such/folder"),
    (["explode"], "No such command 'explode'"),
    (["list", "--colour"], "No such option"),
]


@pytest.fixture
def run_here(capfd):
    """Runs the command line in this process: (status, standard output, standard error)."""
    import kzoo.cli.commands

    def run(*arguments):
        saved, sys.argv = sys.argv, ["kzoo", *map(str, arguments)]
        try:
            with pytest.raises(SystemExit) as caught:
                kzoo.cli.commands.main()
        finally:
            sys.argv = saved
        return (caught.value.code, *capfd.readouterr())

    return run


@pytest.mark.parametrize(("arguments", "words"), BAD)
def test_bad_input_is_one_line_and_exit_2(arguments, words, run_here):
    status, out, err = run_here(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("kzoo: ") and err.count("\n") == 1, err
    assert words in err


def test_no_home_directory_is_no_traceback(run_here, tmp_path, monkeypatch):
    import pwd

    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "TFDS_DATA_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # raises KeyError, as for a user without an entry
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert listing.search_dirs() == []
    assert run_here("show-data", "digits/zero_one", "sheet.png")[0] == 0 and (tmp_path / "temporary").is_dir()
    for name, words in ("nonsense", "no folder, since there is no home directory"), ("~/photos/", "Set HOME, or write"):
        status, out, err = run_here("evaluate", "mnist_cnn", "--data", name)
        assert (status, out) == (2, "") and err.count("\n") == 1 and words in err


def test_every_training_option_is_on_the_command_line():
    import dataclasses

    from kzoo.training import Recipe

    options = {parameter.name for parameter in cli.commands["train"].params}
    assert {field.name for field in dataclasses.fields(Recipe)} <= options


def test_every_option_has_help():
    for command in cli.commands.values():
        assert command.help
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name not in ("split", "batch_size"):
                assert parameter.help, f"{command.name} --{parameter.name}"


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["train", "--help"]])
def test_listing_and_help_are_instant(arguments):
    def processor_time():  # which other tests on the same cores lengthen less than the wall's
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    seconds = []
    for _ in range(3):
        begin = processor_time()
        subprocess.run([sys.executable, "-m", "kzoo", *arguments], check=True, capture_output=True)
        seconds.append(processor_time() - begin)
    assert min(seconds) < 0.4


def test_list_json(run_here):
    status, out, err = run_here("list", "--json", "--max-params", "1e6", "--task", "image_classification")
    assert (status, err) == (0, "")
    rows = {row["name"]: row for row in json.loads(out)}
    assert {"cnn", "mlp", "mnist_cnn"} <= set(rows) and "vgg16" not in rows and "rnn_lstm" not in rows
    assert rows["mnist_cnn"]["parameters"] == 93_322


def test_info_json_and_table(run_here):
    status, out, _ = run_here("info", "transformer", "--json")
    facts = json.loads(out)
    assert status == 0 and facts["parameters"] == 63_082_496 and facts["length"] == 128
    status, out, _ = run_here("info", "mnist_cnn", "--set", "num_classes=5")
    assert status == 0 and "92,997 trainable" in out and "2.79 M" in out
    assert "recipe        epochs=10  batch_size=64  optimizer='adam'" in out and facts["recipe"]["beta_2"] == 0.98


def test_info_shows_layers(run_here):
    status, out, _ = run_here("info", "gpt2", "--set", "num_layers=1", "--layers", "--length", "16")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert status == 0 and "6,144 for every token written" in rows["cache"]
    assert {"DotProductAttention", "16", "x", "768", "393,216"} <= set(rows["transformer.h.0.attn"].split())
    assert "1,771,776" in rows["transformer.h.0.attn.c_attn"] and "28,311,552" in rows["transformer.h.0.attn.c_attn"]
    status, out, _ = run_here("info", "mnist_cnn", "--layers", "--json")
    facts = json.loads(out)
    assert sum(row["macs"] for row in facts["layers"]) == facts["macs"] and len(facts["layers"]) == 8
    assert "layers" not in json.loads(run_here("info", "mnist_cnn", "--json")[1])


def test_version(run_here):
    from kzoo import __version__

    assert run_here("--version")[:2] == (0, f"kzoo, version {__version__}\n")


def test_train_evaluate_predict_export(run_kzoo, tmp_path):
    """The main job as a user runs it, in processes of their own."""
    run = tmp_path / "run"
    done = run_kzoo("train", "mlp", "--set", "hidden_dims=(32,)", "--epochs", 2, "--run-folder", run, alone=True)
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stderr and "test: accuracy" in done.stdout and f"kzoo export {run}" in done.stdout
    assert not any(line.startswith(("I0000", "WARNING", "E0000")) for line in done.stderr.splitlines()), done.stderr

    done = run_kzoo("evaluate", run, "--json")
    numbers = json.loads(done.stdout)
    assert done.returncode == 0 and numbers["accuracy"] > 0.5 and numbers["num_examples"] == 1000

    import keras

    image = tmp_path / "digit.png"
    keras.utils.save_img(image, np.random.default_rng(0).random((40, 30, 3)), scale=True)
    done = run_kzoo("predict", run, image, "--json")
    (row,) = json.loads(done.stdout)
    assert row["file"] == str(image) and len(row["classes"]) == 3
    assert 0 < row["classes"][0]["probability"] <= 1

    done = run_kzoo("export", run, tmp_path / "served")
    assert done.returncode == 0 and "largest difference" in done.stdout
    done = run_kzoo("export", run, tmp_path / "served")
    assert done.returncode == 2 and "is not empty" in done.stderr and done.stderr.count("\n") == 1


def test_weights_without_their_head(run_here, tmp_path):
    import keras

    import kzoo

    small = {"hidden_dims": (4,)}
    kzoo.save_weights(kzoo.build("mlp", num_classes=7, **small), tmp_path / "seven.safetensors")
    given = ("mlp", "--set", "hidden_dims=(4,)", "--weights", tmp_path / "seven.safetensors")
    keras.utils.save_img(tmp_path / "digit.png", np.random.default_rng(0).random((28, 28, 1)), scale=True)
    status, _, err = run_here("predict", *given, tmp_path / "digit.png")
    assert status == 2 and "pass load_head=False" in err
    status, out, _ = run_here("predict", *given, tmp_path / "digit.png", "--no-load-head", "--json", "--top", 10)
    assert status == 0 and len(json.loads(out)[0]["classes"]) == 10
    status, _, err = run_here("train", *given, "--no-load-head", "--data", "digits", "--epochs", 1, "--quiet",
                              "--run-folder", tmp_path / "run", "--learning-rate", 1e-9)  # fmt: skip
    assert status == 0, err
    first = [kzoo.build("mlp", tmp_path / "seven.safetensors", num_classes=7, **small), kzoo.load(tmp_path / "run")]
    np.testing.assert_allclose(*(model.get_layer("0").kernel for model in first), atol=1e-5)
    for command in (("train", "--run-folder", tmp_path / "no"), ("evaluate",)):
        status, _, err = run_here(*command, "mlp", "--no-load-head")
        assert status == 2 and "pass --weights" in err
    status, _, err = run_here("evaluate", tmp_path / "run", "--no-load-head")
    assert status == 2 and "a folder itself says" in err


def test_resume_alone_takes_the_newest_run(run_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    status, _, err = run_here("train", "--resume")
    assert status == 2 and "no run to resume in runs" in err
    assert run_here("train", "perceptron", "--epochs", 1, "--quiet", "--no-deterministic")[0] == 0
    status, out, err = run_here("train", "--resume", "--quiet")
    assert status == 0 and "resuming runs/perceptron, the newest run" in err
    assert "already complete (epoch 1/1)" in out


def test_files_that_are_no_images(run_here, tmp_path, caplog):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    pickled = tmp_path / "pickled.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for path, words in (
        (broken, "broken.png damaged, or no image"),
        (pickled, "can be read safely"),
        (tmp_path / "x", "no file"),
    ):
        status, out, err = run_here("predict", "mnist_cnn", path)
        assert (status, out) == (2, "") and err.count("\n") == 1
        words_found = [word for word in words.split() if word in err]
        assert len(words_found) == len(words.split()), err
    Image.fromarray(np.zeros((28, 28), "uint8")).save(tmp_path / "good.png")
    status, out, err = run_here("predict", "mnist_cnn", tmp_path, "--skip-bad")
    assert status == 0 and out.count("\n") == 1 and "good.png: " in out
    assert "2 of 3 files cannot be read" in caplog.text
    assert run_here("predict", "mnist_cnn", broken, "--skip-bad")[0] == 2


def test_arrays_from_npy(run_here, tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((28, 28, 1), "uint8"))
    np.save(tmp_path / "two.npy", np.zeros((2, 28, 28, 1), "float32"))
    status, out, _ = run_here("predict", "mnist_cnn", tmp_path / "one.npy", tmp_path / "two.npy", "--json")
    rows = json.loads(out)
    assert status == 0 and len(rows) == 3
    assert rows[0]["classes"] == rows[1]["classes"]


def test_predictions_beside_the_true_answers(run_here, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    small = ["--set", "num_layers=1", "--set", "hidden_dim=16", "--set", "num_heads=2"]
    status, out, _ = run_here("predict", "transformer_tiny", *small, "--limit", 2, "--json")
    rows = json.loads(out)
    assert status == 0 and len(rows) == 2
    assert rows[0]["target"] == rows[0]["source"][::-1]
    status, out, _ = run_here("predict", "perceptron", "--limit", 2)
    assert status == 0 and out.count("(label ") == 2


def test_bare_kzoo_prints_help_and_every_help_ends_with_examples(run_here):
    status, out, _ = run_here()
    assert status == 0 and out.startswith("Usage: kzoo") and all(name in out for name in cli.commands)
    for name in cli.commands:
        end = run_here(name, "--help")[1].partition("Examples:\n")[2].splitlines()
        assert 1 <= len(end) <= 3 and all(line.startswith("    kzoo ") for line in end), name


def test_a_narrow_list_shows_names_and_numbers(run_here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_here("list")[1].splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines), "no room for what it is"
    (row,) = (line for line in lines if line.startswith("transformer_big "))
    assert "214,245,376" in row and row.endswith("28 G  translation")


def test_listing_imports_neither_keras_nor_tensorflow():
    for arguments in (["list"], ["info", "resnet50"], ["info", "gpt2", "--json"], ["datasets"]):
        code = (
            f"import sys; from kzoo.cli.commands import cli; cli.main({arguments}, standalone_mode=False); "
            "print(*sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert not {"keras", "tensorflow", "rich"} & set(done.stdout.splitlines()[-1].split())


def test_info_says_what_can_be_set(run_here, tmp_path):
    import kzoo

    out = run_here("info", "gpt2")[1]
    assert "settings      num_layers=12  hidden_dim=768" in out
    kzoo.save(kzoo.build("cnn", num_classes=3, input_shape=(8, 8, 1)), tmp_path / "saved")
    status, out, _ = run_here("info", tmp_path / "saved")
    assert status == 0 and "num_classes=3" in out and "input_shape=(8, 8, 1)" in out
    assert "num_classes=4\nrecipe " in run_here("info", "cnn", "--set", "num_classes=4")[1]


def test_datasets(run_here, tmp_path, monkeypatch):
    folder = tmp_path / "photos" / "1.0.0"
    folder.mkdir(parents=True)
    splits = [{"name": "train", "shardLengths": ["1000", "234"]}, {"name": "test", "shardLengths": ["5"]}]
    (folder / "dataset_info.json").write_text(json.dumps({"description": "two\n lines", "splits": splits}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    status, out, _ = run_here("datasets", "--data-dir", tmp_path, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["photos"] == {
        "name": "photos", "splits": {"train": 1234, "test": 5}, "what": "two lines", "folder": str(folder)
    }  # fmt: skip
    assert rows["digits"]["folder"] is None
    (row,) = (line for line in run_here("datasets", "--data-dir", tmp_path)[1].splitlines() if "photos" in line)
    assert row.split()[:4] == ["photos", "1,234", "5", "two"]
    (folder / "dataset_info.json").write_text("{")
    assert "dataset_info.json is damaged" in run_here("datasets", "--data-dir", tmp_path)[2]

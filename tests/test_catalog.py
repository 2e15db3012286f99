import pathlib
import subprocess
import sys

import pytest

import kzoo
from kzoo import catalog


def test_importing_kzoo_imports_neither_keras_nor_tensorflow():
    code = (
        "import sys, kzoo, kzoo.catalog, kzoo.data, kzoo.cli.commands; kzoo.list_models()\n"
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_first_variant_is_what_the_architecture_builds():
    assert catalog.find("transformer").name == "transformer_base"
    assert catalog.find("rnn").name == "rnn_lstm"


def test_listing():
    assert "mnist_cnn" in kzoo.list_models()
    assert kzoo.list_models("rnn") == ["rnn_lstm", "rnn_gru", "rnn_simple"]
    assert kzoo.list_models("*cnn") == ["cnn", "mnist_cnn", *kzoo.list_models("recurrent_cnn")]
    assert kzoo.list_models(task="translation") == [*kzoo.list_models("seq2seq"), *kzoo.list_models("transformer")]
    assert kzoo.list_models(task="token_classification") == kzoo.list_models("bert"), "a task of one of its heads"
    assert kzoo.list_models(max_params=1000) == ["perceptron", "rnn_gru", "rnn_simple"]
    assert kzoo.list_models("nothing*") == []
    with pytest.raises(ValueError, match="unknown task 'translate'; did you mean translation"):
        kzoo.list_models(task="translate")


@pytest.mark.parametrize("name", ["mnist_cn", "", "../cnn", None, 3])
def test_unknown_names_say_three_near_ones(name):
    with pytest.raises(ValueError, match="did you mean .* or .* or ") as caught:
        kzoo.build(name)
    if name == "mnist_cn":
        assert "did you mean mnist_cnn" in str(caught.value)


def test_unknown_keywords_say_the_near_and_all_allowed_ones():
    with pytest.raises(TypeError, match=r"did you mean num_classes.*all: input_shape, filters"):
        kzoo.build("mnist_cnn", classes=3)


@pytest.mark.parametrize(
    ("name", "overrides", "error", "words"),
    [
        ("rnn", {"units": 0}, ValueError, "units must be at least 1, got 0"),
        ("rnn", {"num_layers": -2}, ValueError, "num_layers must be at least 1, got -2"),
        ("rnn", {"units": 2.5}, TypeError, "units must be an int, got 2.5"),
        ("rnn", {"units": True}, TypeError, "units must be an int, got True"),
        ("rnn", {"cell": 3}, TypeError, "cell must be a string"),
        ("rnn", {"cell": "lstn"}, ValueError, "cell must be one of lstm, gru, simple"),
        ("mlp", {"hidden_dims": 3}, TypeError, "hidden_dims must be a tuple of ints, got 3"),
        ("mlp", {"hidden_dims": (3, 0)}, ValueError, "hidden_dims must be at least 1"),
        ("cnn", {"input_shape": (3, 3, 3)}, ValueError, "at least 4 x 4 pixels"),
        ("mnist_cnn", {"input_shape": (17, 17, 1)}, ValueError, "at least 18 x 18 pixels"),
        ("transformer", {"dropout": 1.0}, ValueError, "dropout must be a number from 0 up to but not including 1"),
        ("transformer", {"dropout": -0.1}, ValueError, "dropout"),
        ("transformer", {"num_heads": 0}, ValueError, "num_heads must be at least 1"),
        ("transformer", {"num_heads": 7}, ValueError, "num_heads"),
    ],
)  # fmt: skip
def test_bad_values_name_the_argument(name, overrides, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        kzoo.build(name, **overrides)


def test_smallest_image_works():
    assert kzoo.build("mnist_cnn", input_shape=(18, 18, 1)).output_shape == (None, 10)
    assert kzoo.build("cnn", input_shape=(4, 4, 3)).output_shape == (None, 10)


def test_unknown_attribute_of_the_package():
    with pytest.raises(AttributeError, match=r"no attribute 'bild'; it has build"):
        kzoo.bild  # noqa: B018


def test_info_checks_its_length():
    with pytest.raises(ValueError, match="length must be an int of at least 1"):
        kzoo.info("rnn", length=0)


def test_no_room_hides_a_public_function():
    """Importing the module kzoo.NAME would put it in place of the function of that name."""
    rooms = {path.stem for path in pathlib.Path(kzoo.__file__).parent.iterdir()}
    assert not rooms & set(kzoo.ROOMS)
    assert all(callable(getattr(kzoo, name)) for name in kzoo.ROOMS)

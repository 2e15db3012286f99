import importlib
import pathlib
import subprocess
import sys

import pytest

import kzoo
from kzoo import catalog
from kzoo.catalog import keywords

ENTRIES = importlib.import_module("kzoo.catalog.entries")


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
    assert kzoo.list_models("*t_cnn") == ["mnist_cnn", *kzoo.list_models("recurrent_cnn")]
    assert kzoo.list_models(task="translation") == [*kzoo.list_models("seq2seq"), *kzoo.list_models("transformer")]
    assert kzoo.list_models(task="token_classification") == kzoo.list_models("bert"), "a task of one of its heads"
    assert kzoo.list_models(max_params=1000) == ["perceptron", "rnn_gru", "rnn_simple"]
    assert kzoo.list_models("nothing*") == []
    with pytest.raises(ValueError, match="unknown task 'translate'; did you mean translation"):
        kzoo.list_models(task="translate")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnist_cn", "did you mean mnist_cnn"),
        ("ResNet-50", "did you mean resnet50 or "),
        ("bert-base-uncased", "did you mean bert_base"),
        ("vit_base_patch16_384", r"did you mean 'vit_b_16', input_shape=\(384, 384, 3\)"),
        *((name, "^unknown model .*list name all$") for name in ("efficientnet_b0", "mobilenet_v2", "", None, 3)),
    ],
)
def test_unknown_names_say_near_ones_where_there_are_any(name, words):
    with pytest.raises(ValueError, match=words):
        kzoo.build(name)


@pytest.mark.parametrize(
    ("model", "keyword", "words"),
    [
        ("densenet121", "block_config", "did you mean depths"),
        ("vit_b_16", "hidden_size", "did you mean hidden_dim"),
        ("rnn", "hidden_size", "did you mean units"),
        ("vit_b_16", "num_channels", r"did you mean input_shape = \(height, width, channels\)"),
        ("resnet50", "in_chans", r"did you mean input_shape = "),
        ("resnet50", "layers", "did you mean depths"),
        ("bert", "layers", "did you mean num_layers"),
        ("gpt2", "n_positions", "did you mean max_length"),
        ("bert", "num_labels", "did you mean num_classes"),
        ("resnet50", "include_top", "num_classes=0 leaves the classifier out"),
        ("resnet50", "pretrained", "pass weights="),
    ],
)
def test_words_of_other_libraries_lead_to_ours(model, keyword, words):
    with pytest.raises(TypeError, match=f"unknown keyword '{keyword}'; {words}"):
        kzoo.build(model, **{keyword: 1})


def test_functions_of_other_libraries_lead_to_ours():
    for name, ours in {"create_model": "build", "list_pretrained": "list_models", "load_model": "load"}.items():
        with pytest.raises(AttributeError, match=f"no attribute '{name}'; did you mean {ours}"):
            getattr(kzoo, name)
    assert {ours.partition(".")[0] for ours in kzoo.SYNONYMS.values()} <= {*kzoo.__all__}


def test_every_synonym_leads_to_a_keyword_that_some_model_has():
    entries = catalog.entries().values()
    assert {*keywords.SYNONYMS} <= {key for entry in entries for key in catalog.arguments_of(entry, {})}


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


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A catalogue of one file, `own`, whose literals are given as text."""
    caches = (ENTRIES.literals, ENTRIES.entries)

    def write(text):
        needed = "TASK = 'image_classification'\nINPUTS = {'image': 'image'}\n"
        (tmp_path / "own.py").write_text(f'"""Own: a model."""\n{needed}{text}\n')
        monkeypatch.setattr(ENTRIES, "MODELS", tmp_path)
        for function in caches:
            function.cache_clear()

    yield write
    for function in caches:
        function.cache_clear()


def test_a_variant_may_start_from_another(written):
    written(
        "VARIANTS = {'a': {'like': 'c', 'depths': 1}, 'b': {'filters': 5, 'depths': 2}, 'c': {'like': 'b', 'size': 3}}"
    )
    assert catalog.find("own").arguments == {"filters": 5, "size": 3, "depths": 1}
    assert catalog.find("c").arguments == {"filters": 5, "size": 3, "depths": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("VARIANTS = {'a': {'like': 'b'}, 'b': {'like': 'a'}}", "variants start from each other: a, b, a"),
        ("VARIANTS = {'a': {'like': 'a'}}", "variants start from each other: a, a"),
        ("VARIANTS = {'small': {}, 'b': {'like': 'smal'}}", "b: unknown variant 'smal'; did you mean small"),
        ("VARIANTS = {'a': {}}\nHEADLES = True", "unknown literal 'HEADLES'; did you mean HEADLESS .*called _HEADLES"),
        ("VARIANTS = {'a': {}}\nNUM_ANCHORS = 9", "unknown literal 'NUM_ANCHORS'.*called _NUM_ANCHORS"),
        ("VARIANTS = {'a': {}}\nHEAD = tuple('ab')", "HEAD must be written out as a literal"),
        ("_VARIANTS = {}", "lacks VARIANTS"),
    ],
)
def test_a_model_file_that_says_something_unknown(written, text, words):
    written(text)
    with pytest.raises(ValueError, match=f"models/own.py:? .*{words}|models/own.py {words}"):
        kzoo.list_models()


def test_constants_of_the_files_own(written):
    written("VARIANTS = {'a': {}}\n_NUM_ANCHORS = 9\nsmall = 3\nBLOCKS = {'a': len}")
    assert set(catalog.literals("own")) == {"DOC", "TASK", "INPUTS", "VARIANTS"}


def build_own(
    num_layers=2,
    offset=3,
    first=0,
    num_extra=0,
    shift=-1,
    epsilon=1e-3,
    weight=0.0,
    width_multiplier=1.0,
    scales=(0.5, 1.0),
    sizes=(32, 64),
    places=(1, 0),
    shape=(None, 3),
    names=("a",),
    anything=(),
    other=None,
    name="own",
):
    """A signature of every kind of keyword."""


OWN = catalog.Entry("own", "mlp", {"": "image_classification"}, "", "", {})


@pytest.mark.parametrize(
    "overrides",
    [
        {"offset": 0, "first": 0, "num_extra": 0, "shift": -1},
        {"epsilon": 0.0, "weight": 0, "width_multiplier": 2},
        {"scales": (0.0, 1, 2.5)},
        {"scales": [1, 2, 3]},
        {"sizes": [1], "places": (0, 0, 2), "shape": (None, None)},
        {"names": ("b", "c"), "anything": ("a", 3), "other": 0},
    ],
)
def test_values_of_the_kinds_of_their_defaults(overrides):
    assert keywords.checked(OWN, build_own, overrides) == overrides


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        ({"num_layers": 0}, ValueError, "num_layers must be at least 1, got 0"),
        ({"num_extra": -1}, ValueError, "num_extra must be at least 0, got -1"),
        ({"offset": -1}, ValueError, "offset must be at least 0, got -1"),
        ({"shift": -2}, ValueError, "shift must be at least -1, got -2"),
        ({"offset": 1.0}, TypeError, "offset must be an int, got 1.0"),
        ({"epsilon": -1e-9}, ValueError, "epsilon must be a finite number of at least 0, got -1e-09"),
        ({"epsilon": float("inf")}, ValueError, "epsilon must be a finite number of at least 0, got inf"),
        ({"epsilon": float("nan")}, ValueError, "epsilon must be a finite number"),
        ({"epsilon": True}, ValueError, "epsilon must be a finite number"),
        ({"width_multiplier": 0.0}, ValueError, "width_multiplier must be a number above 0, got 0.0"),
        ({"scales": (0.5, "1")}, TypeError, r"scales must be a tuple of numbers, got \(0.5, '1'\)"),
        ({"scales": (True,)}, TypeError, "scales must be a tuple of numbers"),
        ({"scales": 0.5}, TypeError, "scales must be a tuple of numbers, got 0.5"),
        ({"scales": (0.5, float("nan"))}, ValueError, "scales must be finite"),
        ({"scales": (-0.5,)}, ValueError, r"scales must be at least 0, got \(-0.5,\)"),
        ({"sizes": (32, 0)}, ValueError, "sizes must be at least 1"),
        ({"sizes": (32, 1.5)}, TypeError, "sizes must be a tuple of ints"),
        ({"names": (1,)}, TypeError, "names must be a tuple of strings"),
        ({"names": "ab"}, TypeError, "names must be a tuple of strings, got 'ab'"),
        ({"anything": 3}, TypeError, "anything must be a tuple, got 3"),
    ],
)
def test_values_of_other_kinds_and_out_of_range(overrides, error, words):
    with pytest.raises(error, match=f"own: {words}"):
        keywords.checked(OWN, build_own, overrides)

"""Assemblies: several flat models built, saved, loaded, counted and adapted as one, all of them or none."""

import json
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy

import kzoo
from kzoo import catalog
from kzoo.building import Assembly, saving
from kzoo.layers import LowRankDense

FILE = '''"""Pair: two networks that learn against each other. https://arxiv.org/abs/1406.2661"""

TASK = "image_classification"
PARTS = {"generator": {"model": "mlp", "hidden_dims": (6, 5)}, "discriminator": {"model": "perceptron"}}
VARIANTS = {"pair": {}, "small_pair": {"discriminator": {"num_features": 4}}}
'''


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    """The catalogue with one more file, which is made of parts."""
    for path in catalog.MODELS.glob("*.py"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "pair.py").write_text(FILE)
    monkeypatch.setattr(sys.modules["kzoo.catalog.entries"], "MODELS", tmp_path)
    forget = lambda: [cached.cache_clear() for cached in (catalog.entries, catalog.literals)]  # noqa: E731
    forget()
    yield
    forget()


def make_pair(seed=0):
    parts = {"generator": kzoo.build("mlp", hidden_dims=(6,)), "discriminator": kzoo.build("perceptron")}
    random = np.random.default_rng(seed)
    for model in parts.values():
        model.set_weights([random.normal(size=value.shape) for value in model.get_weights()])
    return Assembly("pair", parts)


def weights_of(pair):
    return {f"{part}/{v.path}": v.numpy() for part, model in pair.items() for v in model.variables}


def equal(one, other):
    one, other = weights_of(one), weights_of(other)
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_a_mapping_that_says_what_it_holds():
    pair = make_pair()
    assert list(pair) == ["generator", "discriminator"] and len(pair) == 2 and "unet" not in pair
    assert pair["discriminator"].name == "perceptron" and pair.name == pair.kzoo.name == "pair"
    assert (
        repr(pair) == "<Assembly pair: generator = mlp (4,780 parameters), discriminator = perceptron (785 parameters)>"
    )
    with pytest.raises(KeyError, match="did you mean generator"):
        pair["generater"]


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({}, ValueError, "at least one part"),
        ({"../up": None}, ValueError, "'../up' cannot name a part"),
        ({"_name": None}, ValueError, "'_name' cannot name a part"),
        ({"a": "mlp"}, TypeError, "part 'a' must be a functional keras.Model, got str"),
        ({"a": keras.Sequential()}, TypeError, "got Sequential"),
    ],
)
def test_parts_that_are_none(parts, error, message):
    with pytest.raises(error, match=message):
        Assembly("pair", parts)


def test_a_folder_has_a_folder_a_part(tmp_path):
    pair = make_pair()
    pair["generator"].kzoo = kzoo.catalog.Card(**{**vars(pair["generator"].kzoo), "class_names": list("0123456789")})
    kzoo.save(pair, tmp_path / "saved")
    files = {f"{part}/{name}" for part in pair for name in ("weights.safetensors", "model.json")}
    assert set(contents(tmp_path / "saved")) == {"model_index.json", *files}
    index = json.loads((tmp_path / "saved/model_index.json").read_text())
    assert {key: row for key, row in index.items() if key[0] != "_"} == {
        "generator": ["kzoo", "mlp"], "discriminator": ["kzoo", "perceptron"]
    }  # fmt: skip
    loaded = kzoo.load(tmp_path / "saved")
    assert equal(loaded, pair) and list(loaded) == list(pair) and loaded.kzoo == pair.kzoo
    assert loaded["generator"].kzoo == pair["generator"].kzoo
    assert kzoo.load(tmp_path / "saved/generator").name == "mlp", "a part is a model of its own"
    kzoo.save(make_pair(1), tmp_path / "saved")
    assert equal(kzoo.load(tmp_path / "saved"), make_pair(1))


def test_a_save_that_fails_leaves_the_old_folder(tmp_path, monkeypatch):
    kzoo.save(make_pair(), tmp_path / "saved")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="part own: own was not built by kzoo.build"):
        kzoo.save(Assembly("pair", {**make_pair(1), "own": keras.Model(x := keras.Input((2,)), x + 1, name="own")}),
                  tmp_path / "saved")  # fmt: skip
    save_weights = saving.save_weights

    def full(model, path, *names, **options):
        save_weights(model, path, *names, **options)
        if model.name == "perceptron":
            raise OSError(28, "disk full")

    with monkeypatch.context() as patched:
        patched.setattr(saving, "save_weights", full)
        patched.setattr("kzoo.weights.checkpoint.save_weights", full)
        for save in (kzoo.save, kzoo.save_weights):
            with pytest.raises(OSError, match="o space left|disk full"):
                save(make_pair(1), tmp_path / "saved")
    assert contents(tmp_path) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(ValueError, match="mine is not empty"):
        kzoo.save(make_pair(), tmp_path / "mine")


def test_weights_alone_and_all_or_nothing(tmp_path):
    pair, other = make_pair(), make_pair(1)
    kzoo.save_weights(pair, tmp_path)
    assert set(contents(tmp_path)) == {f"{part}/weights.safetensors" for part in pair}
    assert kzoo.load_weights(other, tmp_path) == {"generator": [], "discriminator": []}
    assert equal(other, pair)
    other, path = make_pair(1), tmp_path / "discriminator/weights.safetensors"
    (tmp_path / "generator/model.json").write_text('{"preprocessing": {"mean": 0.5}}')
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    for content, message in ((damaged, "part discriminator: .*damaged"), (None, "part discriminator: .*missing")):
        if content is None:
            safetensors.numpy.save_file({"other": np.zeros(2, "float32")}, path)
        else:
            path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            kzoo.load_weights(other, tmp_path)
        assert equal(other, make_pair(1)), "the part that fits stays as it was"
        assert other["generator"].kzoo == make_pair()["generator"].kzoo


def test_a_damaged_index(tmp_path):
    kzoo.save(make_pair(), tmp_path / "saved")
    (tmp_path / "saved/model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ValueError, match="model_index.json is damaged, or names the parts of another library"):
        kzoo.load(tmp_path / "saved")
    with pytest.raises(ValueError, match="not empty"):
        kzoo.save(make_pair(), tmp_path / "saved")


def test_info_has_totals_and_a_dict_a_part():
    pair = make_pair()
    facts = kzoo.info(pair)
    assert facts["parts"] == {part: kzoo.info(model) for part, model in pair.items()}
    assert facts["parameters"] == 4780 + 785 and facts["macs"] == 784 * 6 + 6 * 10 + 784
    assert (facts["name"], facts["architecture"]) == ("pair", None)
    with pytest.raises(TypeError, match="takes no overrides, got generator"):
        kzoo.info(pair, generator={})


def test_lora_updates_the_parts_that_it_is_told():
    pair = make_pair()
    adapted = kzoo.lora(pair, 2, layers={"generator": ["0"]}, alpha=4)
    assert [layer.name for layer in adapted["generator"].layers if isinstance(layer, LowRankDense)] == ["0"]
    assert adapted["discriminator"] is pair["discriminator"]
    assert [len(model.trainable_variables) for model in adapted.values()] == [2, 0]
    merged = adapted.map(kzoo.merge_lora, ["generator"])
    x = np.random.default_rng(0).random((2, *pair["generator"].input_shape[1:]), "float32")
    np.testing.assert_allclose(merged["generator"](x), pair["generator"](x), rtol=1e-5)
    for layers, error, message in (
        (["0"], TypeError, r"layers of an Assembly must be a dict \{part: patterns\}, got \['0'\]"),
        ({"generater": None}, ValueError, "generater.*did you mean generator"),
        ({"generator": ["fc9"]}, ValueError, "part generator: .*fc9"),
    ):
        with pytest.raises(error, match=message):
            kzoo.lora(pair, 2, layers=layers)


def test_a_model_file_of_parts_is_an_entry_of_the_catalogue(catalogue, tmp_path):
    assert kzoo.list_models("pair") == ["pair", "small_pair"]
    pair = kzoo.build("small_pair", generator={"hidden_dims": (3,)}, dtype="mixed_bfloat16")
    assert isinstance(pair, Assembly) and list(pair) == ["generator", "discriminator"]
    assert (pair.kzoo.name, pair.kzoo.architecture) == ("small_pair", "pair")
    assert pair["generator"].kzoo.overrides == {"hidden_dims": (3,)}
    assert pair["discriminator"].input_shape == (None, 4)
    assert pair["generator"].layers[-2].compute_dtype == "bfloat16"
    kzoo.save(pair, tmp_path / "saved")
    loaded = kzoo.load(tmp_path / "saved")
    assert equal(loaded, pair) and loaded.kzoo.architecture == "pair"
    assert equal(kzoo.build("small_pair", weights=tmp_path / "saved", generator={"hidden_dims": (3,)}), pair)
    assert kzoo.info("pair")["parameters"] == sum(model.count_params() for model in kzoo.build("pair").values())
    assert kzoo.info("small_pair", generator={"hidden_dims": (3,)}) == kzoo.info(loaded)
    assert kzoo.build("mlp").name == "mlp"
    with pytest.raises(TypeError, match="small_pair: unknown part 'generater'; did you mean generator"):
        kzoo.build("small_pair", generater={})
    with pytest.raises(TypeError, match="generator must be a dict of keywords for that part, got 3"):
        kzoo.build("pair", generator=3)
    with pytest.raises(TypeError, match="part generator: mlp: unknown keyword 'units'"):
        kzoo.build("pair", generator={"units": 3})


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports need TensorFlow")
def test_an_export_has_a_folder_a_part(tmp_path):
    import tensorflow as tf

    pair = make_pair()
    report = kzoo.export(pair, tmp_path / "served")
    assert list(report["parts"]) == list(pair)
    assert (tmp_path / "served" / "model_index.json").is_file()
    x = np.zeros((1, 28, 28, 1), "float32")
    served = tf.saved_model.load(str(tmp_path / "served" / "generator")).serve(x)
    np.testing.assert_allclose(served, pair["generator"](x), atol=1e-6)
    with pytest.raises(ValueError, match="unknown format"):
        kzoo.export(pair, tmp_path / "other", format="tape")
    assert not (tmp_path / "other").exists()


def test_keywords_may_name_every_argument(tmp_path):
    pair = make_pair()
    kzoo.save_weights(model=pair, path=tmp_path / "weights")
    with pytest.raises(TypeError, match="names of an Assembly must be a dict"):
        kzoo.save_weights(pair, tmp_path / "weights", names="timm")
    assert set(kzoo.load_weights(model=make_pair(1), weights=tmp_path / "weights")) == set(pair)

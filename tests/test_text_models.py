"""BERT and GPT beside transformers (scripts/golden/text_models.py), and what padding may not change."""

import json
import re

import keras
import numpy as np
import pytest
import safetensors.numpy
from backends import compiled
from golden_files import GOLDEN, assert_close, golden, run, write
from seeded_weights import digest, reference_shapes

import kzoo
from kzoo import catalog

BERT = {
    "num_layers": 2, "hidden_dim": 16, "num_heads": 4, "intermediate_dim": 24, "vocabulary_size": 37, "max_length": 21,
    "num_classes": 5,
}  # fmt: skip
GPT = {"num_layers": 2, "hidden_dim": 16, "num_heads": 4, "vocabulary_size": 37, "max_length": 21}
# reference -> golden file, what to build
CASES = {
    "bert_none": ("bert", "bert", {**BERT, "head": "none"}),
    "bert_pretraining": ("bert", "bert", {**BERT, "head": "pretraining"}),
    "bert_masked_words": ("bert", "bert", {**BERT, "head": "masked_words"}),
    "bert_classification": ("bert", "bert", {**BERT, "head": "classification"}),
    "bert_token_classification": ("bert", "bert", {**BERT, "head": "token_classification"}),
    "gpt2": ("gpt2", "gpt", GPT),
    "gpt1": ("gpt1", "gpt", {**GPT, "post_norm": True}),
}


def flat(outputs):
    return outputs if isinstance(outputs, dict) else {"": outputs}


def of_real_tokens(array, mask):
    """What the first three examples give, without the positions of padding: the reference attends from there too."""
    return array[:3][mask[:3] > 0] if array.shape[:2] == mask.shape else array[:3]


def compare(folder, case, how=lambda model: model):
    """(ours, the reference's) for every output."""
    file, name, overrides = CASES[case]
    tensors, inputs, wanted = golden(file)
    model, mask = kzoo.build(name, write(tensors, folder), **overrides), inputs["padding_mask"]
    taken = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    for key, value in flat(keras.tree.map_structure(np.asarray, how(model)(taken))).items():
        assert np.isfinite(value).all(), "the last example is nothing but padding"
        yield of_real_tokens(value, mask), of_real_tokens(wanted[f"{case}.{key}".rstrip(".")], mask)


@pytest.mark.parametrize("how", [lambda model: model, compiled], ids=["eager", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_reference(case, how, tmp_path):
    for got, wanted in compare(tmp_path, case, how):
        assert_close(got, wanted)


@pytest.mark.parametrize("case", CASES)
def test_writes_what_the_reference_loads(case, tmp_path):
    """Names and values; scripts/golden/text_models.py --check-back does the same with torch itself."""
    file, name, overrides = CASES[case]
    tensors, _, _ = golden(file)
    kzoo.save_weights(kzoo.build(name, write(tensors, tmp_path), **overrides), tmp_path / "ours.safetensors")
    ours = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    for key, value in ours.items():
        np.testing.assert_array_equal(value, tensors[key])
    literals = catalog.literals(name)
    others = (*literals.get("OTHER_HEADS", ()), *(re.escape(key) for key in literals["DERIVED"]))
    assert all(re.match("|".join(others), key) for key in set(tensors) - set(ours))


@pytest.mark.parametrize("name", json.loads((GOLDEN / "text_shapes.json").read_text()))
def test_full_size_has_the_references_names_and_shapes(name):
    wanted = json.loads((GOLDEN / "text_shapes.json").read_text())[name]
    with keras.StatelessScope(initialize_variables=False):
        model = kzoo.build(name)
        shapes = reference_shapes(model)
    if name == "marian":  # a buffer in the reference, and no parameter here either
        assert shapes["final_logits_bias"] == (1, 65001)
    assert digest(shapes) == wanted["digest"]
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == wanted["parameters"]


def test_counts_with_the_heads_of_pretraining():
    assert kzoo.info("bert_base", head="pretraining")["parameters"] == 110_106_428
    assert kzoo.info("bert_large", head="pretraining")["parameters"] == 336_226_108


def first_release(name):
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@pytest.mark.parametrize(
    ("case", "rename", "extra"),
    [
        ("bert_none", lambda name: name.removeprefix("bert."), {"embeddings.position_ids": np.arange(21)[None]}),
        ("bert_classification", first_release, {"bert.embeddings.position_ids": np.arange(21)[None]}),
        ("gpt2", lambda name: name.removeprefix("transformer."), {"h.0.attn.bias": np.ones((1, 1, 21, 21), "uint8"),
                                                                  "h.0.attn.masked_bias": np.float32(-1e4)}),
    ],
)  # fmt: skip
def test_loads_the_names_of_checkpoints_in_the_wild(case, rename, extra, tmp_path):
    file, name, overrides = CASES[case]
    tensors, inputs, wanted = golden(file)
    renamed = {rename(key): value for key, value in tensors.items()}
    assert set(renamed) != set(tensors)
    model = kzoo.build(name, write({**renamed, **{k: np.asarray(v) for k, v in extra.items()}}, tmp_path), **overrides)
    for key, value in flat(run(model, inputs)).items():
        expected = wanted[f"{case}.{key}".rstrip(".")]
        mask = inputs["padding_mask"]
        np.testing.assert_allclose(of_real_tokens(value, mask), of_real_tokens(expected, mask), rtol=0, atol=1e-4)


def test_a_new_head_on_a_pretrained_body_says_what_stayed_random(tmp_path):
    tensors, inputs, _ = golden("bert")
    body = {key: value for key, value in tensors.items() if not key.startswith(("classifier", "bert.pooler"))}
    path = write(body, tmp_path)
    with pytest.raises(ValueError, match="4 missing: bert.pooler.dense.weight"):
        kzoo.build("bert", path, **{**BERT, "head": "classification"})
    model = kzoo.build("bert", path, load_head=False, **{**BERT, "head": "classification", "num_classes": 3})
    left = kzoo.load_weights(model, path, load_head=False)
    assert left == ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"]
    whole = kzoo.load_weights(model, write(tensors, tmp_path), load_head=False)
    assert whole == ["classifier.weight", "classifier.bias"]
    np.testing.assert_array_equal(model.get_layer("bert.pooler.dense").bias.numpy(), tensors["bert.pooler.dense.bias"])


@pytest.mark.parametrize(("case", "name"), [("bert_masked_words", "cls.predictions.decoder.weight"),
                                            ("bert_masked_words", "cls.predictions.decoder.bias"),
                                            ("gpt2", "lm_head.weight"), ("gpt1", "lm_head.weight")])  # fmt: skip
def test_refuses_a_checkpoint_that_is_not_tied(case, name, tmp_path):
    file, architecture, overrides = CASES[case]
    tensors, _, _ = golden(file)
    tensors[name] = tensors[name] + 1
    with pytest.raises(ValueError, match=f"{name} differs from .*ties the two"):
        kzoo.build(architecture, write(tensors, tmp_path), **overrides)


def example(batch=4, length=9):
    random = np.random.default_rng(0)
    return {
        "token_ids": random.integers(1, 37, (batch, length)).astype("int32"),
        "padding_mask": np.ones((batch, length), "int32"),
        "segment_ids": random.integers(0, 2, (batch, length)).astype("int32"),
    }


def pad(inputs, before, after):
    return {
        name: np.pad(array, ((0, 0), (before, after)), constant_values=0 if "mask" in name else 1)
        for name, array in inputs.items()
    }


@pytest.fixture(scope="module")
def models():
    """One model a kind, with random weights in every layer."""
    random = np.random.default_rng(1)
    built = {case: kzoo.build(name, **overrides) for case, (_, name, overrides) in CASES.items()}
    built["bert_embedding"] = kzoo.build("bert", **{**BERT, "head": "embedding"})
    for model in built.values():
        for variable in model.trainable_variables:
            variable.assign(random.normal(1.0 if "gamma" in variable.path else 0.0, 0.3, variable.shape))
    return built


KINDS = [*CASES, "bert_embedding"]


PADDINGS = [(kind, 0, after) for kind in KINDS for after in (1, 7)]  # BERT pools the first token: on the right
PADDINGS += [(kind, before, 7 - before) for kind in ("gpt1", "gpt2") for before in (1, 7)]


@pytest.mark.parametrize(("kind", "before", "after"), PADDINGS)
def test_padding_changes_nothing(kind, before, after, models):
    model, inputs = models[kind], example()
    plain, padded = flat(run(model, inputs)), flat(run(model, pad(inputs, before, after)))
    unmasked = {**pad(inputs, before, after), "padding_mask": np.ones((4, 9 + before + after), "int32")}
    changed = 0.0
    for key, value in plain.items():
        window = slice(before, before + 9) if value.shape[1] == 9 and padded[key].shape[1] > 9 else slice(None)
        np.testing.assert_allclose(padded[key][:, window], value, rtol=0, atol=1e-5 * np.abs(value).max())
        changed = max(changed, np.abs(flat(run(model, unmasked))[key][:, window] - value).max())
    if before or not kind.startswith("gpt"):
        assert changed > 1e-3, "the mask is what makes the difference"


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_equals_its_examples_one_by_one(kind, models):
    model, inputs = models[kind], pad(example(), 0, 3)
    inputs["padding_mask"][1, 4:] = 0
    together = flat(run(model, inputs))
    singles = [flat(run(model, {name: array[i : i + 1] for name, array in inputs.items()})) for i in range(4)]
    for key, value in together.items():
        apart = np.concatenate([single[key] for single in singles])
        np.testing.assert_allclose(apart, value, rtol=0, atol=1e-5 * np.abs(value).max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_fully_padded_text_reads_nothing_and_is_finite(kind, models):
    model, inputs = models[kind], example()
    inputs["padding_mask"][1] = 0
    for key, value in flat(run(model, inputs)).items():
        assert np.isfinite(value).all(), key
    if kind == "bert_embedding":
        assert not run(model, inputs)[1].any()


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_one_token_and_longer_than_the_model(kind, models):
    model = models[kind]
    assert all(np.isfinite(value).all() for value in flat(run(model, example(length=1))).values())
    assert all(np.isfinite(value).all() for value in flat(run(model, example(length=21))).values())
    with pytest.raises(ValueError, match="length 22 is longer than max_length 21"):
        run(model, example(length=22))


@pytest.mark.parametrize("kind", ["gpt1", "gpt2"])
def test_later_tokens_change_nothing_earlier(kind, models):
    model, inputs = models[kind], example()
    before = run(model, inputs)
    changed = {**inputs, "token_ids": inputs["token_ids"].copy()}
    changed["token_ids"][:, 5] = changed["token_ids"][:, 5] % 36 + 1
    after = run(model, changed)
    np.testing.assert_allclose(after[:, :5], before[:, :5], rtol=0, atol=1e-5)
    assert np.abs(after[:, 5:] - before[:, 5:]).max(axis=(0, 2)).min() > 1e-3


@pytest.mark.parametrize("head", [*catalog.literals("bert")["TASK"]])
def test_a_model_has_the_task_of_its_head(head):
    model = kzoo.build("bert", **{**BERT, "head": head, "num_layers": 1})
    task = catalog.literals("bert")["TASK"][head]
    assert model.kzoo.task == task
    assert "bert_base" in kzoo.list_models(task=task)
    from kzoo import tasks
    from kzoo.tasks.feeding.synthetic_batches import synthetic_batch

    if head in ("none", "embedding"):
        with pytest.raises(ValueError, match="no loss here; build it with a head"):
            tasks.compile_model(model)
        return
    tasks.compile_model(model, keras.optimizers.Adam(0.01))
    x, y, weight = synthetic_batch(model, 4, sequence_length=9)
    first = model.train_on_batch(x, y, weight, return_dict=True)["loss"]
    for _ in range(15):
        last = model.train_on_batch(x, y, weight, return_dict=True)["loss"]
    assert last < first


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("bert", {"head": "clasification"}, "unknown head 'clasification'; did you mean classification"),
        ("bert", {"num_heads": 5}, "hidden_dim 768 is not divisible by num_heads 5"),
        ("gpt", {"hidden_dim": 100}, "hidden_dim 100 is not divisible by num_heads 12"),
        ("gpt", {"max_length": 0}, "max_length must be at least 1, got 0"),
    ],
)
def test_bad_values_are_named(name, overrides, message):
    with keras.StatelessScope(initialize_variables=False), pytest.raises(ValueError, match=message):
        kzoo.build(name, **overrides)


def test_segments_have_a_vocabulary_of_their_own(models):

    inputs = example()
    inputs["segment_ids"][0, 0] = 2
    with pytest.raises(ValueError, match="segment_ids.*token id 2 at .* outside the vocabulary 0..1"):
        kzoo.data.check_inputs(models["bert_none"], inputs)

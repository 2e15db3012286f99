"""LoRA: what trains, what stays, the files of peft, merging, and what else a model can do."""

import json
import pathlib
import re
import shutil
import sys

import keras
import numpy as np
import pytest
import safetensors.numpy
from golden_files import GOLDEN, golden, run, write
from small_runs import Stop, fail

import kzoo
from kzoo.layers import LowRankDense
from kzoo.measure import measure

GPT = {"num_layers": 2, "hidden_dim": 16, "num_heads": 4, "vocabulary_size": 37, "max_length": 21}
BERT = {**GPT, "intermediate_dim": 24}
CASES = {
    "bert": ("bert_classification", "bert", {**BERT, "head": "classification", "num_classes": 5}),
    "gpt2": ("gpt2", "gpt2", GPT),
}
STEADY = {"schedule": "constant", "warmup_steps": 0}
ATTENTION = ["bert.encoder.layer.0.attention.self", "bert.encoder.layer.1.attention.self"]


def small_bert(**overrides):
    keras.utils.set_random_seed(0)
    return kzoo.build("bert", **{**BERT, "head": "classification", "num_classes": 2, **overrides})


def small_gpt(**overrides):
    keras.utils.set_random_seed(0)
    return kzoo.build("gpt2", **{**GPT, **overrides})


def texts(model, count=48):
    """Two kinds of rows that differ in which half of the vocabulary they come from."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, count)
    ids = (random.integers(2, 18, (count, 8)) + 18 * y[:, None]).astype("int32")
    known = {"token_ids": ids, "padding_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}
    return {tensor.name: known[tensor.name] for tensor in model.inputs}, y


def weights(model):
    return {variable.path: keras.ops.convert_to_numpy(variable.value).copy() for variable in model.weights}


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def shake(model):
    """Every trainable weight becomes another number."""
    random = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(0.3 * random.standard_normal(variable.shape))


def close(got, wanted, tolerance=1e-5):
    assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()


# What it is


def test_the_start_is_the_base_and_only_the_updates_train():
    base = small_bert()
    x, _ = texts(base)
    before, all_before = outputs(base, x), len(base.weights)
    model = kzoo.lora(base, 4)
    np.testing.assert_array_equal(outputs(model, x), before)
    wanted = [f"{at}.{part}/lora_{side}" for at in ATTENTION for part in ("query", "value") for side in "ab"]
    assert [variable.path for variable in model.trainable_variables] == wanted
    assert len(model.weights) == all_before + len(wanted)
    assert model.get_layer(f"{ATTENTION[0]}.query").kernel is base.get_layer(f"{ATTENTION[0]}.query").kernel
    assert [layer.name for layer in model.layers] == [layer.name for layer in base.layers]
    assert (model.kzoo.name, model.kzoo.task) == (base.kzoo.name, base.kzoo.task)


def test_the_update_is_alpha_over_rank_times_the_product():
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense(5, activation="tanh", name="dense")
    x = np.random.default_rng(0).standard_normal((3, 2, 4)).astype("float32")
    dense.build(x.shape)
    layer = LowRankDense(dense, 2, alpha=6)
    layer.build(x.shape)
    shake(layer)
    w, b = dense.get_weights()
    a, low = (keras.ops.convert_to_numpy(v) for v in (layer.lora_a, layer.lora_b))
    close(keras.ops.convert_to_numpy(layer(x)), np.tanh(x @ w + b + 3.0 * x @ a @ low))
    bound = 1 / 4**0.5
    fresh = LowRankDense(keras.layers.Dense(5), 400)
    fresh.build(x.shape)
    drawn = keras.ops.convert_to_numpy(fresh.lora_a)
    assert 0.95 * bound < np.abs(drawn).max() <= bound and not np.any(keras.ops.convert_to_numpy(fresh.lora_b))


def test_dropout_acts_on_the_update_alone_and_in_training_alone():
    layer = LowRankDense(keras.layers.Dense(5), 2, dropout=0.5)
    x = np.ones((4, 6), "float32")
    still = keras.ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(still, keras.ops.convert_to_numpy(layer(x)), atol=1e-6)  # B is zero
    shake(layer)
    first, second = (keras.ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(layer(x), layer(x))


@pytest.mark.parametrize(
    ("layers", "count"),
    [
        (None, 4),
        ("key", 2),
        (["query", "*.0.output.dense"], 3),
        ("bert.encoder.layer.1.intermediate.dense", 1),
        (re.compile(r".*layer\.[01]\.attention.*"), 8),
        ("bert.encoder.*", 12),
    ],
)
def test_choosing_layers(layers, count):
    model = kzoo.lora(small_bert(), 2, layers=layers)
    assert sum(isinstance(layer, LowRankDense) for layer in model.layers) == count


@pytest.mark.parametrize(
    ("name", "overrides", "count"),
    [
        ("gpt2", GPT, 2),
        ("transformer_tiny", {}, 12),
        ("vit_ti_16", {"num_layers": 2, "input_shape": (32, 32, 3)}, 2),
    ],
)
def test_defaults_of_architectures(name, overrides, count):
    model = kzoo.lora(kzoo.build(name, **overrides), 2)
    assert sum(isinstance(layer, LowRankDense) for layer in model.layers) == count


def test_counts_and_report():
    base = small_bert()
    counted = measure(base, 8)
    model = kzoo.lora(base, 4, train="classifier")
    facts = measure(model, 8)
    assert facts["macs"] - counted["macs"] == 4 * 8 * 4 * (16 + 16) and not facts["uncounted"]
    trained = 4 * 4 * (16 + 16) + 2 * 16 + 2
    report = kzoo.lora_report(model)
    assert facts["parameters"] == report["trainable_parameters"] == trained
    total = counted["parameters"] + counted["non_trainable_parameters"]
    assert report["parameters"] == total + 4 * 4 * (16 + 16)
    assert (report["gradient_bytes"], report["optimizer_bytes"]) == (4 * trained, 8 * trained)
    assert (report["full_gradient_bytes"], report["full_optimizer_bytes"]) == (4 * total, 8 * total)
    model.compile(keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    slots = model.optimizer.variables[2:]  # after the counter and the rate
    assert sum(int(np.prod(v.shape)) for v in slots) * 4 == report["optimizer_bytes"]


# Training


def test_training_leaves_the_base_and_learns():
    base = small_bert(num_layers=1, dropout=0.0)
    x, y = texts(base)
    before, unadapted = weights(base), outputs(base, x)
    model = kzoo.lora(base, 8, layers="bert.*", dropout=0.1, train="classifier")
    run = kzoo.fit(model, (x, y), progress=False, epochs=15, batch_size=16, learning_rate=1e-2, **STEADY)
    for path, value in weights(base).items():
        np.testing.assert_array_equal(value, before[path])
    np.testing.assert_array_equal(outputs(base, x), unadapted)
    assert min(row["loss"] for row in run.history) < 0.5 * run.history[0]["loss"]
    assert np.any(model.get_layer("classifier").get_weights()[0] != base.get_layer("classifier").get_weights()[0])


def test_a_run_resumes_exactly_and_its_folder_rebuilds_the_model(tmp_path):
    def make():
        return kzoo.lora(small_bert(num_layers=1), 2, alpha=4, dropout=0.2, train="classifier")

    options = {"epochs": 2, "batch_size": 16, "progress": False, "steps_per_execution": 1, "backup_steps": 1}
    options |= STEADY
    whole, parts = make(), make()
    x, y = texts(whole)
    kzoo.fit(whole, (x, y), tmp_path / "whole", **options)
    with pytest.raises(RuntimeError, match="own words"):
        kzoo.fit(parts, (x, y), tmp_path / "parts", callbacks=[Stop(fail, 1, 2)], **options)
    again = make()
    kzoo.fit(again, (x, y), tmp_path / "parts", resume=True, **options)
    for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    loaded = kzoo.load(tmp_path / "parts")
    assert loaded.kzoo == whole.kzoo
    assert [v.path for v in loaded.trainable_variables] == [v.path for v in whole.trainable_variables]
    np.testing.assert_array_equal(outputs(loaded, x), outputs(whole, x))
    with pytest.raises(ValueError, match="model.rewrites was"):
        kzoo.fit(kzoo.lora(small_bert(num_layers=1), 3), (x, y), tmp_path / "parts", resume=True, **options)
    with pytest.raises(ValueError, match=r"would train the frozen layers .* train="):
        kzoo.fit(make(), (x, y), train_from="classifier", progress=False)


# Files


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_peft(name, tmp_path):
    case, file, overrides = CASES[name]
    tensors, inputs, _ = golden(file)
    wanted = safetensors.numpy.load_file(GOLDEN / "lora.safetensors")[f"output.{name}"]
    base = kzoo.build(name, write(tensors, tmp_path), **overrides)
    real = inputs["padding_mask"].any(axis=1)
    plain = run(base, inputs)
    model = kzoo.load_lora(base, GOLDEN / f"lora_{name}")
    close(run(model, inputs)[real], wanted[real])
    assert np.abs(plain[real] - wanted[real]).max() > 0.1 * np.abs(wanted).max()  # the adapter changes a lot
    close(run(kzoo.merge_lora(model), inputs)[real], wanted[real])
    # scripts/golden/lora.py --check-back does the same with peft itself
    kzoo.save_lora(model, tmp_path / "ours")
    ours, theirs = (
        safetensors.numpy.load_file(folder / "adapter_model.safetensors")
        for folder in (tmp_path / "ours", GOLDEN / f"lora_{name}")
    )
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value)
    config = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    published = json.loads((GOLDEN / f"lora_{name}" / "adapter_config.json").read_text())
    for key in ("peft_type", "r", "lora_alpha", "lora_dropout", "fan_in_fan_out", "modules_to_save", "bias"):
        assert config[key] == published[key], key
    ends = tuple(f".{end}" for end in published["target_modules"])
    assert all(layer.endswith(ends) for layer in config["target_modules"])


def test_saved_apart_and_loaded_into_another_copy(tmp_path):
    model = kzoo.lora(small_gpt(), 2, alpha=3)
    shake(model)
    kzoo.save_lora(model, tmp_path)
    x = texts(model)[0]
    again = kzoo.load_lora(small_gpt(), tmp_path)
    np.testing.assert_array_equal(outputs(again, x), outputs(model, x))
    assert again.kzoo == model.kzoo
    third = kzoo.lora(small_gpt(), 2, alpha=3)
    assert kzoo.load_lora(third, tmp_path) is third
    np.testing.assert_array_equal(outputs(third, x), outputs(model, x))


def change_config(**changes):
    def change(folder):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def change_tensors(function):
    def change(folder):
        path = folder / "adapter_model.safetensors"
        safetensors.numpy.save_file(function(safetensors.numpy.load_file(path)), path, {"format": "pt"})

    return change


FIRST = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"
FAULTS = [
    (lambda folder: shutil.rmtree(folder), "holds no adapter_config.json"),
    (lambda folder: (folder / "adapter_model.safetensors").unlink(), "no weight file at"),
    (lambda folder: (folder / "adapter_config.json").write_text("{"), "adapter_config.json is damaged"),
    (change_config(peft_type="IA3"), "method 'IA3'; LORA is wanted"),
    (change_config(use_dora=True, bias="all"), "use_dora=True, bias='all'"),
    (change_config(r=0), "is damaged: r=0"),
    (change_config(r=3), r"4 mis-shaped: .*lora_A.weight \(2, 16\), wanted \(3, 16\)"),
    (change_tensors(lambda t: {k: v for k, v in t.items() if k != FIRST}), "1 missing: transformer.h.0.attn"),
    (change_tensors(lambda t: {**t, FIRST.replace("h.0", "h.7"): t[FIRST]}), "1 unexpected: transformer.h.7"),
    (change_tensors(lambda t: {k: v[:, :1] for k, v in t.items()}), "4 mis-shaped"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), FAULTS)
def test_adapters_that_do_not_fit_change_nothing(change, words, tmp_path):
    kzoo.save_lora(kzoo.lora(small_gpt(), 2), tmp_path / "adapter")
    change(tmp_path / "adapter")
    base = small_gpt()
    before = weights(base)
    with pytest.raises(ValueError, match=words):
        kzoo.load_lora(base, tmp_path / "adapter")
    assert all(variable.trainable for variable in base.weights)
    for path, value in weights(base).items():
        np.testing.assert_array_equal(value, before[path])


def test_an_adapter_of_another_rank_or_choice(tmp_path):
    kzoo.save_lora(kzoo.lora(small_gpt(), 2), tmp_path)
    with pytest.raises(ValueError, match="has rank 2 and alpha 2, gpt2 rank 3 and alpha 3; load it into the base"):
        kzoo.load_lora(kzoo.lora(small_gpt(), 3), tmp_path)
    with pytest.raises(ValueError, match="has rank 2 and alpha 2, gpt2 rank 2 and alpha 5; load it into the base"):
        kzoo.load_lora(kzoo.lora(small_gpt(), 2, alpha=5), tmp_path)
    model = kzoo.lora(small_gpt(), 2, layers="c_fc")
    before = weights(model)
    with pytest.raises(ValueError, match="gpt2, which is unchanged; 4 missing: .*; 4 unexpected: "):
        kzoo.load_lora(model, tmp_path)
    assert all(np.array_equal(value, before[path]) for path, value in weights(model).items())
    with pytest.raises(ValueError, match="4 unexpected"):
        kzoo.load_lora(small_bert(), tmp_path)


# What else such a model does


def test_merging_is_exact_and_gives_an_ordinary_checkpoint(tmp_path):
    base = small_bert()
    model = kzoo.lora(base, 4, alpha=8, layers=["query", "intermediate.dense"], train="classifier")
    shake(model)
    x, _ = texts(model)
    merged = kzoo.merge_lora(model)
    close(outputs(merged, x), outputs(model, x), 1e-6)
    assert merged.kzoo == base.kzoo and all(variable.trainable for variable in merged.weights)
    kzoo.save_weights(merged, tmp_path / "merged.safetensors")
    plain = kzoo.build("bert", tmp_path / "merged.safetensors", **base.kzoo.overrides)
    np.testing.assert_array_equal(outputs(plain, x), outputs(merged, x))
    for variable in merged.trainable_variables:  # a model of its own
        variable.assign(variable + 1.0)
    close(outputs(plain, x), outputs(model, x), 1e-6)
    with pytest.raises(ValueError, match="no low-rank updates; kzoo.lora makes a model that has"):
        kzoo.merge_lora(merged)


def test_export_generation_and_keras_files(tmp_path):
    model = kzoo.lora(small_gpt(num_layers=1), 2)
    shake(model)
    report = kzoo.export(model, tmp_path / "export")
    assert report["max_difference"] <= 1e-5 * report["scale"]
    prompt = [[3, 5, 7], [9, 4]]
    written = kzoo.generate(model, prompt, max_new_tokens=6)
    row, wanted = np.array([prompt[0]]), []
    for _ in range(6):
        wanted.append(int(outputs(model, {"token_ids": row, "padding_mask": np.ones_like(row)})[0, -1].argmax()))
        row = np.append(row, [[wanted[-1]]], axis=1)
    assert written[0].ids == wanted
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x, _ = texts(model)
    np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x))
    assert len(loaded.trainable_variables) == len(model.trainable_variables)
    taps = kzoo.features(model, "transformer.h.0.mlp.add")  # shares layers with the base, whose tensors are others
    assert outputs_of(taps, x).shape == (48, 8, 16)


def outputs_of(features, x):
    (value,) = features(x, training=False).values()
    return keras.ops.convert_to_numpy(value)


def test_mixed_precision():
    keras.utils.set_random_seed(0)
    base = kzoo.build("bert", dtype="mixed_bfloat16", head="classification", **BERT)
    model = kzoo.lora(base, 2)
    shake(model)
    x, _ = texts(model, 4)
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model.get_layer(f"{ATTENTION[0]}.query").compute_dtype == "bfloat16"
    close(outputs(kzoo.merge_lora(model), x), outputs(model, x), 0.05)


# Bad input


def nested():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="inner")
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(2, name="outer")(inner(x)), name="nest")


class Subclassed(keras.Model):
    pass


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"rank": 0}, ValueError, "rank must be at least 1, got 0"),
        ({"rank": 2.0}, TypeError, "rank must be an int"),
        ({"rank": True}, TypeError, "rank must be an int"),
        ({"alpha": 0}, ValueError, "alpha must be a finite number above 0, got 0"),
        ({"alpha": "8"}, TypeError, "alpha must be a number"),
        ({"dropout": 1.0}, ValueError, "dropout must be a number from 0 up to but not including 1"),
        ({"rank": 17}, ValueError, "rank 17 is larger than layer bert.encoder.layer.0.* at most 16"),
        ({"layers": "quary"}, ValueError, "unknown layers 'quary'; did you mean query"),
        ({"layers": "LayerNorm"}, ValueError, r"chooses no Dense layer but bert.embeddings.LayerNorm \(LayerNorm"),
        ({"layers": ATTENTION[0]}, ValueError, r"attention.self \(DotProductAttention\); lora updates Dense layers"),
        ({"layers": []}, TypeError, "layers must be a name or pattern or a list of such"),
        ({"layers": 3}, TypeError, "layers must be a name"),
        ({"train": "clasifier"}, ValueError, "unknown layer with weights 'clasifier'; did you mean classifier"),
        ({"train": "query"}, ValueError, "chosen by both layers and train"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, error, words):
    base = small_bert()
    with pytest.raises(error, match=words):
        kzoo.lora(base, **{"rank": 2, **arguments})
    assert all(variable.trainable for variable in base.weights)


def test_bad_models():
    with pytest.raises(ValueError, match="has low-rank updates already; merge them first"):
        kzoo.lora(kzoo.lora(small_bert(), 2), 2)
    with pytest.raises(ValueError, match="nest holds the models inner as layers"):
        kzoo.lora(nested(), 1, layers="outer")
    with pytest.raises(ValueError, match="flat functional graph, such as kzoo.build gives; got a Subclassed"):
        kzoo.lora(Subclassed(), 1)
    with pytest.raises(ValueError, match=r"name them with layers= \(Dense layers: 1, 3\)|Dense layers: "):
        kzoo.lora(kzoo.build("mnist_cnn"), 1)
    with pytest.raises(ValueError, match="unknown optimizer 'lion'"):
        kzoo.lora_report(kzoo.lora(small_bert(), 2), "lion")
    for function in (kzoo.lora_report, lambda model: kzoo.save_lora(model, "nowhere")):
        with pytest.raises(ValueError, match="has no low-rank updates"):
            function(small_bert())
    assert not pathlib.Path("nowhere").exists()


# The command line and the other backend


def test_command_line(tmp_path, monkeypatch, capfd):
    import kzoo.cli.commands

    monkeypatch.chdir(tmp_path)
    (tmp_path / "plays.txt").write_text("To be, or not to be, that is the question.\n" * 40)

    def command(*arguments, status=0):
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            kzoo.cli.commands.main()
        out, err = capfd.readouterr()
        assert caught.value.code == status, err
        return out, err

    sizes = [
        part
        for key, value in {**GPT, "num_layers": 1, "vocabulary_size": 40}.items()
        for part in ("--set", f"{key}={value}")
    ]
    common = ["gpt2", *sizes, "--data", "plays.txt", "--tokenizer", "characters", "--quiet", "--epochs", "1"]
    common += ["--schedule", "constant", "--warmup-steps", "0"]
    low_rank = ["--lora-rank", "4", "--lora-alpha", "8", "--lora-layers", "c_attn", "--lora-layers", "c_fc"]
    _, err = command("train", *common, *low_rank, "--run-folder", "run")
    assert "LoRA trains 576 of" in err
    record = json.loads((tmp_path / "run" / "model.json").read_text())["rewrites"]
    assert [(row["rewrite"], row["rank"], row["alpha"], len(row["layers"])) for row in record] == [("lora", 4, 8, 2)]
    assert "already complete (epoch 1/1)" in command("train", "--run-folder", "run", "--resume", "--quiet")[0]
    ours = json.loads(command("evaluate", "run", "--split", "validation", "--json")[0])
    text, _ = command("generate", "run", "--prompt", "To be", "--max-new-tokens", "8")
    assert text.startswith("To be") and len(text) > 6
    assert "updates merged" in command("merge-lora", "run", "merged")[0]
    assert "rewrites" not in json.loads((tmp_path / "merged" / "model.json").read_text())
    theirs = json.loads(command("evaluate", "merged", "--data", "plays.txt", "--split", "validation", "--json")[0])
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.1)  # other rows: merged has no run.json
    assert "has no low-rank updates" in command("merge-lora", "merged", "again", status=2)[1]
    assert "merged is not empty" in command("merge-lora", "run", "merged", status=2)[1]
    assert "belongs to --lora-rank" in command("train", *common, "--lora-alpha", "8", status=2)[1]
    assert "rank must be at least 1" in command("train", *common, "--lora-rank", "0", status=2)[1]


def test_works_on_jax(tmp_path):
    import os
    import subprocess

    pytest.importorskip("jax")
    code = (
        "import keras, numpy as np, kzoo\n"
        "model = kzoo.build('mlp', hidden_dims=(8,), num_classes=4, input_shape=(4, 4, 1))\n"
        "x = np.ones((2, 4, 4, 1), 'float32')\n"
        "low = kzoo.lora(model, 2, layers='*')\n"
        "for v in low.trainable_variables: v.assign(v + 0.1)\n"
        "a, b = (np.asarray(m(x)) for m in (low, kzoo.merge_lora(low)))\n"
        "print(keras.backend.backend(), float(np.abs(a - b).max()), np.abs(a - np.asarray(model(x))).max() > 0.01)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"})  # fmt: skip
    backend, difference, changed = done.stdout.split()
    assert (backend, changed) == ("jax", "True") and float(difference) < 1e-5, done.stderr


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "unheard_of"])
def test_an_adapter_of_a_changed_base_is_refused(start, tmp_path):
    model = kzoo.lora(kzoo.build("bert_tiny", vocabulary_size=20, head="classification"), 2)
    kzoo.save_lora(model, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "init_lora_weights": start}))
    with pytest.raises(ValueError, match=f"init_lora_weights='{start}'"):
        kzoo.load_lora(model, tmp_path)

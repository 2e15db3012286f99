"""Sparse weights: which become zero and when, that they stay so, and that a pruned run resumes bit for bit."""

import contextlib

import keras
import numpy as np
import pytest
import small_runs
from small_runs import NUM_BATCHES, Stop, equal, fail, make, run

import kzoo
from kzoo import tasks
from kzoo.training import fitting, pruning
from kzoo.training.recipe import Recipe

SMALL_CNN = {"name": "mnist_cnn", "filters": (4, 4, 4), "hidden_dim": 8}


def groups(kernel, axis, size):
    return np.moveaxis(kernel, axis, -1).reshape(-1, size)


class Record(keras.callbacks.Callback):
    """The zeros of every kernel after every step."""

    def __init__(self):
        super().__init__()
        self.zeros = []

    def on_train_batch_end(self, batch, logs=None):
        self.zeros.append([row[3].numpy() == 0 for row in pruning.kernels(self.model)])


def test_the_schedule_is_equation_1():
    schedule = pruning.Schedule(Recipe(prune=0.8, prune_begin=0.1, prune_end=0.6, prune_every=7), 1000)
    assert (schedule.begin, schedule.end, schedule.every) == (100, 600, 7)
    for step in (100, 170, 355, 599, 600, 700):
        wanted = 0.8 - 0.8 * (1 - min(1, (step - 100) / 500)) ** 3
        assert int(schedule.num_zeros(np.int32(step), 10_000)) == pytest.approx(10_000 * wanted, abs=1)
    assert int(schedule.num_zeros(np.int32(600), 123_456_789)) == round(0.8 * 123_456_789)
    assert [step for step in range(1000) if schedule.is_due(np.int32(step))] == [*range(100, 600, 7), 600]


@pytest.mark.parametrize("choices", [
    {"prune": 0.5, "prune_begin": 0.5, "prune_end": 0.5}, {"prune": "1:4", "optimizer": "sgd"},
    {"prune": 0.7, "prune_end": 1.0, "steps_per_execution": 13},
], ids=str)  # fmt: skip
def test_weights_that_become_zero_stay_zero(choices):
    made, record = make(augment=False, **SMALL_CNN), Record()
    result = run(None, made, callbacks=[record], **choices)
    steps = [np.concatenate([zeros.ravel() for zeros in row]) for row in record.zeros]
    assert all((before <= after).all() for before, after in zip(steps, steps[1:], strict=False)), "no zero comes back"
    begin = round(choices.get("prune_begin", 0) * 3 * NUM_BATCHES)
    if begin:
        assert not steps[begin - 1].any()
    pattern = isinstance(choices["prune"], str) and pruning.parse_pattern(choices["prune"])
    for layer, _, axis, kernel in pruning.kernels(made[0]):
        kernel = kernel.numpy()
        if not pattern:
            assert (kernel == 0).sum() == round(choices["prune"] * kernel.size)
        elif kernel.shape[axis] % pattern[1]:
            assert layer.name == "conv2d" and kernel.all(), "one input channel cannot be grouped"
        else:
            assert ((groups(kernel, axis, pattern[1]) != 0).sum(axis=1) == pattern[0]).all()
    assert result.sparsity == kzoo.sparsity(made[0])
    assert sum(row["zeros"] for row in result.sparsity["layers"]) == steps[-1].sum()


def masked(prune, weights, axis=0, mask=None):
    """The mask that the last update of a schedule gives to weights."""
    schedule = pruning.Schedule(Recipe(prune=prune, prune_end=0.0), 10)
    constraint = pruning.Masked(schedule, None, weights, None, axis, None)
    mask = np.ones(weights.shape, bool) if mask is None else mask
    return keras.ops.convert_to_numpy(constraint.update(weights, mask, np.int32(0)))


def test_the_smallest_weights_go():
    weights = np.random.default_rng(0).normal(size=(12, 5)).astype("float32")
    smallest = np.sort(np.abs(weights).ravel())[45]
    np.testing.assert_array_equal(masked(0.75, weights), np.abs(weights) >= smallest)
    ties = np.full((4, 5), 2.0, "float32")
    assert masked(0.5, ties).sum() == 10
    before = np.arange(20).reshape(4, 5) % 2 == 0
    np.testing.assert_array_equal(masked(0.5, ties, mask=before), before)  # what is masked counts first
    for axis in (0, 1):
        weights = np.random.default_rng(1).normal(size=(8, 12)).astype("float32")
        stays = groups(masked("2:4", weights, axis), axis, 4)
        sizes = np.abs(groups(weights, axis, 4))
        np.testing.assert_array_equal(stays, sizes >= np.sort(sizes, axis=1)[:, 2:3])


def test_mixed_precision():
    made = make(dtype="mixed_float16")
    run(None, made, prune=0.8, prune_end=1.0, epochs=1)
    assert [row["zeros"] for row in kzoo.sparsity(made[0])["layers"]] == [round(0.8 * 784 * 16), round(0.8 * 160)]


def test_steps_left_out_by_float16_do_not_leave_the_last_update_out():
    model, _ = make(dtype="mixed_float16")
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    with pruning.pruned(tasks.of(model).trainee(model), Recipe(prune=0.8), 10) as masks:
        assert not masks.is_complete()
        masks.finish()
    assert kzoo.sparsity(model)["sparsity"] == pytest.approx(0.8, abs=1e-3)


def test_compiled_by_xla():
    made = make()
    result = run(None, made, prune="2:4", epochs=1, jit_compile=True, deterministic=False, steps_per_execution=4)
    assert result.execution.startswith("XLA on")
    assert result.sparsity["sparsity"] == 0.5


# What is left behind


def test_a_plain_model_remains(tmp_path):
    (plain, data), (model, _) = make(), make()
    run(None, (plain, data), epochs=1)
    run(tmp_path / "run", (model, data), epochs=1, prune=0.8)
    assert all(variable.constraint is None for variable in model.trainable_variables)
    assert len(model.optimizer.variables) == len(plain.optimizer.variables)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for one, other in zip(model.weights + model.optimizer.variables, again.weights + again.optimizer.variables,
                          strict=True):  # fmt: skip
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert kzoo.sparsity(kzoo.load(tmp_path / "run")) == kzoo.sparsity(model)
    run(None, (model, data), epochs=1)
    assert kzoo.sparsity(model)["sparsity"] < 0.5, "without prune all weights train"


def test_the_kernels_constraint_still_holds():
    model, data = make()
    kernel = model.layers[2].kernel
    kernel.constraint = positive = keras.constraints.NonNeg()
    run(None, (model, data), prune=0.5, epochs=1)
    assert kernel.constraint is positive and kernel.numpy().min() == 0


def test_a_failure_leaves_nothing_behind():
    model, data = make()
    with pytest.raises(RuntimeError, match="user's own words"):
        run(None, (model, data), callbacks=[Stop(fail, 1, 3)], prune=0.5)
    assert all(variable.constraint is None for variable in model.trainable_variables)


def test_recurrent_kernels_and_frozen_layers():
    model = kzoo.build("rnn_lstm", num_layers=1)
    paths = {(layer.name, path) for layer, path, _, _ in pruning.kernels(model)}
    assert paths == {("rnn.l0", "cell.kernel"), ("rnn.l0", "cell.recurrent_kernel"), ("fc", "kernel")}
    made = make(augment=False, **SMALL_CNN)
    run(None, made, prune=0.5, train_from="dense", epochs=1)
    zeros = {row["name"]: row["zeros"] for row in kzoo.sparsity(made[0])["layers"]}
    assert zeros["dense"] and zeros["dense_1"] and not zeros["conv2d"]


# Resuming


def test_pruned_runs_resume_bit_for_bit(tmp_path):
    choices = {"prune": "2:4", "epochs": 2, "tensorboard": False}
    run(tmp_path / "whole", **choices)
    for at in ((1, 7), (2, 9)):  # while masks grow, and after
        with pytest.raises(RuntimeError, match="user's own words"):
            run(tmp_path / "run", callbacks=[Stop(fail, *at)], resume=True, **choices)
    again = run(tmp_path / "run", resume=True, **choices)
    assert equal(tmp_path / "run", tmp_path / "whole")
    assert again.sparsity["sparsity"] == 0.5
    assert run(tmp_path / "run", resume=True, **choices).message.startswith("already complete")


ON_JAX = """
choices = {"epochs": 2, "prune": "2:4"}
print(small_runs.run(folder / "whole", **choices).sparsity["sparsity"])
try:
    small_runs.run(folder / "run", callbacks=[small_runs.Stop(small_runs.fail, 2, 5)], **choices)
except RuntimeError:
    small_runs.run(folder / "run", resume=True, **choices)
"""


@pytest.mark.slow
def test_jax_prunes_and_resumes_exactly(tmp_path):
    pytest.importorskip("jax")
    printed = small_runs.on_jax(ON_JAX, tmp_path)
    assert printed.split() == ["0.5"]
    assert equal(tmp_path / "run", tmp_path / "whole")


def test_runs_of_releases_without_pruning_resume(tmp_path, monkeypatch):
    identity = fitting.identity

    def older(*all):
        facts = identity(*all)
        facts["recipe"] = {key: value for key, value in facts["recipe"].items() if not key.startswith("prune")}
        return facts

    choices = {"epochs": 1, "tensorboard": False}
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(fitting, "identity", older)
        run(tmp_path / "run", callbacks=[Stop(fail, 1, 5)], **choices)
    with pytest.raises(ValueError, match=r"recipe.prune was None, now 0.5; start another run"):
        run(tmp_path / "run", resume=True, prune=0.5, **choices)
    assert len(run(tmp_path / "run", resume=True, **choices).history) == 1


def test_more_epochs_are_another_schedule(tmp_path):
    steady = {"schedule": "constant", "warmup_steps": 0, "prune": 0.8, "tensorboard": False}
    run(tmp_path / "run", epochs=1, **steady)
    with pytest.raises(ValueError, match=r"recipe.epochs was 1, now 2; pass force=True"):
        run(tmp_path / "run", epochs=2, resume=True, **steady)
    assert run(tmp_path / "run", epochs=2, resume=True, force=True, **steady).sparsity["sparsity"] > 0.79


def test_early_stopping_keeps_no_epoch_that_is_not_sparse_yet(tmp_path):
    choices = {"early_stopping": 1, "epochs": 5, "augment": False, "tensorboard": False,
               "schedule": "constant", "warmup_steps": 0, "prune": 0.97,
               "learning_rate": 0.01, "prune_begin": 0.4, "prune_end": 0.4}  # fmt: skip
    result = run(tmp_path / "run", make(augment=False), **choices)
    losses = [row["val_loss"] for row in result.history]
    assert min(losses[:2]) < min(losses[2:]), "an epoch before the end of pruning would have been the best"
    assert result.kept_epoch >= 3
    assert result.sparsity["sparsity"] == pytest.approx(0.97, abs=1e-3)
    assert kzoo.sparsity(kzoo.load(tmp_path / "run"))["zeros"] == result.sparsity["zeros"]


# Bad input


@pytest.mark.parametrize(("choices", "error", "message"), [
    ({"prune": 1.0}, ValueError, "prune must be a share above 0 and below 1, got 1.0"),
    ({"prune": float("nan")}, ValueError, "prune must be a share above 0"),
    ({"prune": True}, TypeError, "prune must be a share such as 0.8 or a pattern such as '2:4', got True"),
    ({"prune": "4:2"}, ValueError, "N:M with 0 < N < M <= 64 such as '2:4', got '4:2'"),
    ({"prune": "80%"}, ValueError, "got '80%'"),
    ({"prune": "1:3"}, ValueError, "no kernel of mlp has a number of inputs that 3 divides"),
    ({"prune": 0.5, "prune_end": 1.5}, ValueError, "prune_end must be at least 0 and at most 1, got 1.5"),
    ({"prune": 0.5, "prune_begin": 0.9}, ValueError, "prune_begin must be at most prune_end, got 0.9 and 0.75"),
    ({"prune": 0.5, "prune_every": 0}, ValueError, "prune_every must be at least 1, got 0"),
], ids=str)  # fmt: skip
def test_bad_choices(choices, error, message):
    with pytest.raises(error, match=message.replace("(", r"\(")):
        run(None, make(), **choices)


def test_low_rank_updates_would_fill_the_zeros():
    model, data = make()
    adapted = kzoo.lora(model, 2, layers="0")
    with pytest.raises(ValueError, match="merge them first"):
        kzoo.fit(adapted, data, progress=False, epochs=1, prune=0.5)


def test_sparsity_of_a_model_without_kernels():
    image = keras.Input((4,))
    with pytest.raises(ValueError, match="no kernel that can be pruned"):
        kzoo.sparsity(keras.Model(image, keras.layers.ReLU()(image), name="bare"))


def command(*arguments):
    import click

    from kzoo.cli.commands import cli

    with contextlib.suppress(click.exceptions.Exit):
        return cli.main([str(one) for one in arguments], standalone_mode=False)


def test_the_command_line(tmp_path, capsys):
    import click

    mlp = ("train", "mlp", "--set", "hidden_dims=(8,)", "--data", "digits", "--quiet", "--epochs", "1")
    command(*mlp, "--prune", "0.75", "--run-folder", tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert "  0.kernel   75.00% of 6,272 weights are zero" in lines
    assert any(line.startswith("sparsity: 75.00% of 6,352 weights in kernels are zero") for line in lines)
    with pytest.raises(click.UsageError, match="--prune-end belongs to --prune"):
        command(*mlp, "--prune-end", "0.5", "--run-folder", tmp_path / "other")
    with pytest.raises(click.UsageError, match="--prune takes a share such as 0.8 or N:M such as 2:4, got 'most'"):
        command(*mlp, "--prune", "most", "--run-folder", tmp_path / "other")
    assert not (tmp_path / "other").exists()

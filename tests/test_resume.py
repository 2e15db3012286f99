"""Training that is killed, interrupted or fails anywhere goes on bit for bit; what is saved survives every fault."""

import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import small_runs
from small_runs import NUM_BATCHES, Stop, equal, fail, make, make_translator, run

import kzoo
from kzoo.tasks.trainee import Trainee
from kzoo.training import backup, fitting, run_loop

WEIGHTS = "weights.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of the small recipe that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(folder)
    return folder


def stopped(folder, epoch, step=None, made=None, **choices):
    """A run that fails in a user's callback."""
    with pytest.raises(RuntimeError, match="^the user's own words$"):
        run(folder, made, callbacks=[Stop(fail, epoch, step)], **choices)


def state(folder):
    return backup.read_state(folder)[1]


# Exact resumption


@pytest.mark.parametrize(
    ("epoch", "step", "saved"),
    [(1, 2, (0, 0)), (1, 7, (0, 6)), (2, NUM_BATCHES, (1, 12)), (3, None, (2, 12))],
)
def test_failure_in_a_callback_then_resume(epoch, step, saved, whole, tmp_path):
    stopped(tmp_path / "run", epoch, step)
    assert (state(tmp_path / "run")["epoch"], state(tmp_path / "run")["step"]) == saved
    result = run(tmp_path / "run", resume=True)
    assert equal(tmp_path / "run", whole)
    assert [row["epoch"] for row in result.history] == [1, 2, 3]


@pytest.mark.parametrize("module, name", [(run_loop.reports, "write_history"), (run_loop.backup, "write")])
def test_failure_while_an_epoch_is_booked(module, name, whole, tmp_path, monkeypatch):
    """Between the weights and the backup: the weights are of an epoch which the backup does not know yet."""
    original, calls = getattr(module, name), []

    def write(folder, *rest):
        calls.append(folder)
        if (folder / WEIGHTS).exists():
            fail()
        return original(folder, *rest)

    monkeypatch.setattr(module, name, write)
    with pytest.raises(RuntimeError, match="user's own words"):
        run(tmp_path / "run")
    monkeypatch.undo()
    assert calls and state(tmp_path / "run")["epoch"] == 0
    run(tmp_path / "run", resume=True)
    assert equal(tmp_path / "run", whole)


def test_steps_per_execution_and_backups_change_no_number(whole, tmp_path):
    run(tmp_path / "run", steps_per_execution=20, backup_steps=None, tensorboard=False)
    assert equal(tmp_path / "run", whole)


@pytest.mark.parametrize("make_run", [make_translator, lambda: make(dtype="mixed_float16")], ids=["dropout", "float16"])
def test_dropout_seeds_and_loss_scale_survive(make_run, tmp_path):
    choices = {"epochs": 2, "optimizer": "adam", "schedule": "constant", "warmup_steps": 0, "learning_rate": 1e-3}
    run(tmp_path / "whole", make_run(), **choices)
    stopped(tmp_path / "run", 2, 5, make_run(), **choices)
    keras.utils.set_random_seed(99)  # a seed that were not restored would show
    run(tmp_path / "run", make_run(), resume=True, **choices)
    assert equal(tmp_path / "run", tmp_path / "whole")


def test_backup_steps_without_a_folder_leave_no_step_out():
    model, data = make()
    run(None, (model, data), epochs=2, backup_steps=3)
    assert int(model.optimizer.iterations.numpy()) == 2 * NUM_BATCHES


def test_a_backup_with_the_metrics_of_an_earlier_release_resumes(whole, tmp_path, monkeypatch, capfd):
    with monkeypatch.context() as patch:
        variables = Trainee.variables
        patch.setattr(Trainee, "variables", lambda self: {**variables(self), "metrics": []})
        stopped(tmp_path / "run", 2, 7)
    resumed = run(tmp_path / "run", resume=True)
    words = "running metrics of an earlier release; those of epoch 2 are those of its steps from 7 on"
    assert words in capfd.readouterr().err
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes() and len(resumed.history) == 3


def test_early_stopping_resumes_with_its_best(tmp_path):
    choices = {"early_stopping": 2, "epochs": 12, "schedule": "constant", "warmup_steps": 0, "learning_rate": 0.05}
    whole = run(tmp_path / "whole", **choices)
    assert whole.kept_epoch + 2 == len(whole.history) < 12
    stopped(tmp_path / "run", len(whole.history), 4, **choices)
    model, data = make()
    again = run(tmp_path / "run", (model, data), resume=True, **choices)
    assert equal(tmp_path / "run", tmp_path / "whole")
    assert again.kept_epoch == whole.kept_epoch
    losses = [row["val_loss"] for row in again.history]
    assert losses.index(min(losses)) + 1 == again.kept_epoch
    assert kzoo.evaluate(model, data, "validation")["loss"] == pytest.approx(min(losses), rel=1e-5)


def test_early_stopping_keeps_its_best_without_a_folder():
    model, data = make()
    choices = {"early_stopping": 1, "epochs": 12, "schedule": "constant", "warmup_steps": 0, "learning_rate": 0.1}
    result = run(None, (model, data), **choices)
    losses = [row["val_loss"] for row in result.history]
    assert result.kept_epoch < len(losses)
    assert kzoo.evaluate(model, data, "validation")["loss"] == pytest.approx(min(losses), rel=1e-5)


# Signals


@pytest.mark.signals
@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signal_saves_at_the_next_safe_point(number, error, whole, tmp_path, capfd):
    folder = tmp_path / "run"
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(error) as caught:
        run(folder, callbacks=[Stop(lambda: signal.raise_signal(number), 2, 4)], backup_steps=None)
    message = str(caught.value) if number == signal.SIGINT else capfd.readouterr().err
    assert f"in epoch 2 after step 5; the full state is saved; go on with: kzoo train --run-folder {folder}" in message
    assert error is KeyboardInterrupt or (caught.value.code == 143 and message.count("\n") == 1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    run(folder, resume=True)
    assert equal(folder, whole)


@pytest.mark.signals
def test_second_interrupt_stops_at_once(tmp_path):
    after = []

    def twice():
        signal.raise_signal(signal.SIGINT)
        after.append("the first is only noted")
        signal.raise_signal(signal.SIGINT)
        after.append("never reached")

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", callbacks=[Stop(twice, 1, 2)], backup_steps=None)
    assert after == ["the first is only noted"]
    assert state(tmp_path / "run")["step"] == 0


COMMAND = [
    sys.executable, "-m", "kzoo", "train", "mlp", "--set", "hidden_dims=(32,)", "--batch-size", "16", "--augment",
    "--optimizer", "adamw", "--schedule", "cosine", "--warmup-steps", "50", "--epochs", "8", "--quiet",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole_command(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command") / "run"
    subprocess.run([*COMMAND, "--run-folder", folder], check=True, capture_output=True)
    return folder


def interrupt(folder, number, delay):
    """Starts or resumes the run in a process and sends it a signal once it has saved and the delay is over."""
    # a kill between the renames of a backup leaves the newest under another name
    resumes = any((folder / name).exists() for name in (backup.FILE, backup.NEW, backup.PREVIOUS))
    command = [*COMMAND[:4], "--resume"] if resumes else COMMAND
    options = ["--run-folder", folder, "--backup-steps", "5", "--steps-per-execution", "1", "--quiet"]
    # the first backup is of step 0; from the second on, steps are under way
    watched = folder / (backup.FILE if resumes else backup.PREVIOUS)
    before = watched.stat().st_mtime_ns if resumes and watched.exists() else 0
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):  # a generation is being moved
            if watched.stat().st_mtime_ns > before:
                break
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    return process.returncode, errors


def finish(folder):
    done = subprocess.run(
        [sys.executable, "-m", "kzoo", "train", "--run-folder", folder, "--resume", "--quiet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_interrupted_and_terminated_processes_resume(whole_command, tmp_path):
    folder, delays = tmp_path / "run", random.Random(0)
    assert interrupt(folder, signal.SIGKILL, delays.uniform(0, 1))[0] == -signal.SIGKILL
    status, errors = interrupt(folder, signal.SIGINT, delays.uniform(0, 0.5))
    assert status == 130, errors
    assert errors.strip().startswith("kzoo: interrupted ") and errors.strip().count("\n") == 0, errors
    assert errors.strip().endswith(f"go on with: kzoo train --run-folder {folder} --resume")
    status, errors = interrupt(folder, signal.SIGTERM, delays.uniform(0, 0.5))
    assert status == 143, errors
    assert errors.strip().startswith("kzoo: interrupted ") and errors.strip().count("\n") == 0, errors
    assert not state(folder)["finished"]
    finish(folder)
    assert equal(folder, whole_command)


@pytest.mark.slow
def test_twenty_kills(whole_command, tmp_path):
    folder, delays = tmp_path / "run", random.Random(time.time_ns())
    kills = 0
    for _ in range(20):
        if not (folder / backup.FILE).exists() or not state(folder)["finished"]:
            kills += interrupt(folder, signal.SIGKILL, delays.uniform(0, 0.4))[0] == -signal.SIGKILL
    assert kills >= 10
    finish(folder)
    assert equal(folder, whole_command)


# What is on disk


@pytest.fixture(scope="module")
def half_done(tmp_path_factory):
    """A run stopped in its second epoch, with two generations of backups."""
    folder = tmp_path_factory.mktemp("half") / "run"
    stopped(folder, 2, 8)
    return folder


@pytest.fixture
def half(half_done, tmp_path):
    return pathlib.Path(shutil.copytree(half_done, tmp_path / "half"))


def truncate(path, share):
    os.truncate(path, int(share * path.stat().st_size))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "empty": lambda path: truncate(path, 0),
    "half": lambda path: truncate(path, 0.5),
    "last byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "one bit": flip,
    "HTML": lambda path: path.write_text("<!DOCTYPE html>"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_backup_falls_back_to_the_previous(kind, half):
    assert (state(half)["epoch"], state(half)["step"]) == (1, 6)
    DAMAGE[kind](half / backup.FILE)
    path, saved, warning = backup.read_state(half)
    assert path.name == backup.PREVIOUS and (saved["epoch"], saved["step"]) == (1, 3)
    assert str(half / backup.FILE) in warning
    DAMAGE[kind](half / backup.PREVIOUS)
    with pytest.raises(ValueError, match="no intact backup in .*--overwrite") as caught:
        backup.read_state(half)
    assert backup.FILE in str(caught.value) and backup.PREVIOUS in str(caught.value)


def test_resume_from_the_previous_backup(half, whole, capfd):
    flip(half / backup.FILE)
    run(half, resume=True)
    assert "warning: " in capfd.readouterr().err
    assert equal(half, whole)
    assert backup.read_state(half)[2] == ""


def test_both_backups_damaged_is_an_error_and_changes_nothing(half):
    for name in (backup.FILE, backup.PREVIOUS):
        flip(half / name)
    before = {path.name: path.read_bytes() for path in half.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match="no intact backup"):
        run(half, resume=True)
    assert {path.name: path.read_bytes() for path in half.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("names", [(backup.NEW, backup.FILE, backup.PREVIOUS), (backup.NEW, backup.PREVIOUS)])
def test_killed_between_the_renames_of_a_backup(names, half, whole):
    """The new backup is complete before the last one becomes the previous."""
    (half / backup.FILE).replace(half / backup.NEW)
    if backup.FILE in names:
        (half / backup.PREVIOUS).replace(half / backup.FILE)
        shutil.copy(half / backup.FILE, half / backup.PREVIOUS)
    assert state(half)["step"] == 6
    run(half, resume=True)
    assert equal(half, whole)
    assert not (half / backup.NEW).exists()


def test_killed_anywhere_in_a_backup_leaves_an_intact_one(half, monkeypatch):
    """Even with the newest damaged, no instant of the next backup is without an intact file."""
    flip(half / backup.FILE)
    model, data = make()
    seen = []

    def replace(self, target):
        seen.append(backup.read_state(half)[1])
        os.replace(self, target)
        seen.append(backup.read_state(half)[1])

    monkeypatch.setattr(pathlib.Path, "replace", replace)
    run(half, (model, data), resume=True)
    assert len(seen) >= 4 and all(seen)


def test_disk_full_while_saving(half, whole):
    before = (half / backup.FILE).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match=r"backup\.new\.safetensors, which needs [\d,]+ bytes"):
            run(half, resume=True, callbacks=[
                Stop(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard)), 2, 1)])  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (half / backup.FILE).read_bytes() == before
    assert not list(half.glob(".*.partial"))
    run(half, resume=True)
    assert equal(half, whole)


# Another run


@pytest.mark.parametrize(
    ("made", "choices", "words"),
    [
        ({"hidden_dims": (17,)}, {}, r"model\.overrides\.hidden_dims was \[16\], now \[17\]"),
        ({"dtype": "mixed_bfloat16"}, {}, r"model\.dtype was 'float32', now 'mixed_bfloat16'"),
        ({"seed": 1}, {"seed": 1}, r"data\.seed was 0, now 1; recipe\.seed was 0, now 1"),
        ({"num_examples": 100}, {}, r"data\.num_examples was 200, now 100"),
        ({"batch_size": 8}, {"batch_size": 8}, r"data\.batch_size was 16, now 8; recipe\.batch_size was 16, now 8"),
        ({}, {"optimizer": "sgd"}, r"recipe\.optimizer was 'adamw', now 'sgd'"),
    ],
)
def test_resuming_another_run_is_refused_even_by_force(made, choices, words, half):
    before = (half / backup.FILE).read_bytes()
    for force in (False, True):
        with pytest.raises(ValueError, match=f"cannot be resumed like this: .*{words}.*; start another run"):
            run(half, make(**made), resume=True, force=force, **choices)
    assert (half / backup.FILE).read_bytes() == before


def test_forcible_differences_need_force(half):
    with pytest.raises(ValueError, match=r"recipe\.epochs was 3, now 4; pass force=True"):
        run(half, resume=True, epochs=4)  # under cosine, which ends with the last epoch
    result = run(half, resume=True, epochs=4, force=True)
    assert len(result.history) == 4


def test_more_epochs_under_a_constant_schedule_continue(tmp_path):
    choices = {"schedule": "constant", "warmup_steps": 0}
    run(tmp_path / "long", epochs=3, **choices)
    assert run(tmp_path / "run", epochs=2, **choices).message.startswith("trained 2 epochs")
    run(tmp_path / "run", resume=True, epochs=3, **choices)
    assert equal(tmp_path / "run", tmp_path / "long")


def test_a_forced_learning_rate_is_used(tmp_path):
    choices = {"schedule": "constant", "warmup_steps": 0}
    stopped(tmp_path / "run", 2, 5, **choices)
    with pytest.raises(ValueError, match=r"recipe\.learning_rate was 0\.001, now 0\.0005"):
        run(tmp_path / "run", resume=True, learning_rate=5e-4, **choices)
    history = run(tmp_path / "run", resume=True, learning_rate=5e-4, force=True, **choices).history
    assert [row["learning_rate"] for row in history] == pytest.approx([1e-3, 5e-4, 5e-4])


def test_a_finished_run_is_left_alone(whole, tmp_path):
    folder = pathlib.Path(shutil.copytree(whole, tmp_path / "run"))

    def files():
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}

    before = files()
    model, data = make(seed=0)
    result = run(folder, (model, data), resume=True)
    assert result.message == "already complete (epoch 3/3); nothing was trained"
    assert files() == before
    fresh = kzoo.build("mlp", hidden_dims=(16,), weights=folder)
    for ours, theirs in zip(model.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_resume_without_a_run(tmp_path):
    with pytest.raises(ValueError, match="resume=True needs the run_folder"):
        run(None, resume=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no training run"):
        run(tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".run.json.1.partial").touch()  # killed in its first moment
    assert run(tmp_path / "empty", resume=True, epochs=1).message.startswith("trained 1 epochs")


# Another backend

ON_JAX = """
choices = {"epochs": 2}
small_runs.run(folder / "whole", **choices)
try:
    small_runs.run(folder / "run", callbacks=[small_runs.Stop(small_runs.fail, 2, 5)], **choices)
except RuntimeError:
    small_runs.run(folder / "run", resume=True, **choices)
try:
    small_runs.run(folder / "nan", optimizer="sgd", weight_decay=0.0, learning_rate=1e30, **choices)
except ArithmeticError as error:
    print(error)
"""


def test_jax_resumes_exactly(tmp_path):
    printed = small_runs.on_jax(ON_JAX, tmp_path)
    assert equal(tmp_path / "run", tmp_path / "whole")
    assert "the last good state (epoch 0, step" in printed
    assert json.loads((tmp_path / "run" / "run.json").read_text())["backend"] == "jax"


def test_compiled_runs_resume_bit_for_bit_and_as_compiled_runs_only(tmp_path):
    choices = {"deterministic": False, "jit_compile": True, "epochs": 2}
    assert run(tmp_path / "whole", **choices).execution.startswith("XLA on (as asked)")
    stopped(tmp_path / "run", 2, 5, **choices)
    with pytest.raises(ValueError, match="jit_compile was True, now False; pass force=True"):
        run(tmp_path / "run", resume=True, **{**choices, "jit_compile": False})
    run(tmp_path / "run", resume=True, **choices)
    assert equal(tmp_path / "run", tmp_path / "whole")


def test_runs_that_recorded_no_compilation_resume(tmp_path, monkeypatch, whole):
    identity = fitting.identity
    with monkeypatch.context() as patch:
        old = {"jit_compile"}
        patch.setattr(fitting, "identity", lambda *all: {k: v for k, v in identity(*all).items() if k not in old})
        stopped(tmp_path / "run", 2, 5)
    run(tmp_path / "run", resume=True)
    assert equal(tmp_path / "run", whole)

"""The benchmarks: what they refuse, what they write, and the statistics they report."""

import csv
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import harness  # noqa: E402
import throughput  # noqa: E402
import throughput_row  # noqa: E402
import timing  # noqa: E402

ROW_KEYS = {
    "model", "mode", "batch_size", "backend", "device", "path", "samples_per_sec", "step_time_ms", "first_call_seconds",
    "peak_memory_bytes", "gpu_peak_bytes", "param_count", "macs_per_example", "macs_per_second", "share_of_matmul",
}  # fmt: skip


def run(script, *arguments, **environment):
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=300)


def result_of(output):
    """The document that the last line of a benchmark's output points to."""
    said = json.loads(output.splitlines()[-1])
    document = json.loads(pathlib.Path(said["result"]).read_text())
    assert len(output.splitlines()[-1]) < 400
    assert said["rows"] == len(document.get("rows", document.get("repetitions"))) and said["failed"] == 0
    assert said["interrupted"] == document["interrupted"]
    return document


def test_statistics_of_hand_values():
    found = timing.summarize([4.0, 1.0, 2.0, 3.0, 10.0])
    assert found == {"median": 3.0, "min": 1.0, "spread": 2.0, "num_samples": 5}
    assert timing.summarize([1.0, 2.0])["spread"] == 0.5
    assert timing.summarize([7.0]) == {"median": 7.0, "min": 7.0, "spread": 0.0, "num_samples": 1}
    with pytest.raises(ValueError, match="at least one"):
        timing.summarize([])


class Device:
    """A clock and a device with a queue: `step` costs nothing until somebody waits for it."""

    def __init__(self, seconds_per_step, first):
        self.now, self.pending, self.seconds, self.first, self.steps = 0.0, 0.0, seconds_per_step, first, 0

    def step(self):
        self.pending += self.first if self.steps == 0 else self.seconds
        self.steps += 1

    def wait(self, _):
        self.now, self.pending = self.now + self.pending, 0.0

    def clock(self):
        return self.now


def test_rounds_wait_for_the_device_and_leave_the_first_call_out():
    device = Device(seconds_per_step=0.01, first=50.0)
    samples, steps_per_round = timing.time_rounds(device.step, device.wait, 2.0, clock=device.clock)
    assert steps_per_round in (9, 10)  # a twentieth of two seconds
    assert samples == pytest.approx([0.01] * len(samples))
    assert len(samples) * steps_per_round * 0.01 == pytest.approx(2.0, rel=0.06)


def test_slow_steps_are_still_measured_three_times():
    device = Device(seconds_per_step=30.0, first=30.0)
    assert timing.time_rounds(device.step, device.wait, 2.0, clock=device.clock) == ([30.0] * 3, 1)


def test_peak_memory_is_a_high_water_mark():
    before = timing.peak_memory_bytes()
    block = bytearray(before)  # touched, hence resident
    del block
    assert timing.peak_memory_bytes() >= 1.8 * before


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("throughput.py", ["--models", "mnist_cn"], "did you mean mnist_cnn"),
        ("throughput.py", ["--models", "zzz*"], "unknown model 'zzz*'"),
        ("throughput.py", ["--devices", "gpus"], "did you mean gpu"),
        ("throughput.py", ["--mode", "inference"], "unknown mode 'inference'"),
        ("throughput.py", ["--backend", "mxnet"], "unknown backend 'mxnet'"),
        ("throughput.py", ["--batch-size", "0"], "--batch-size: must be a positive int, got '0'"),
        ("throughput.py", ["--seconds", "nan"], "--seconds: must be a positive float, got 'nan'"),
        ("throughput.py", ["--colour"], "unrecognized arguments: --colour"),
        ("throughput.py", ["--output", __file__], "cannot write to"),
        ("fit_versus_document.py", ["--epochs", "-1"], "--epochs: must be a positive int, got '-1'"),
        ("fit_versus_document.py", ["--output", __file__], "cannot write to"),
    ],
)
def test_bad_arguments_exit_2_with_one_line(script, arguments, said, tmp_path):
    done = run(script, "--output", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_patterns_name_models_once_and_the_default_is_one_of_each_architecture():
    assert throughput.expand(["rnn", "rnn_*"]) == ["rnn_lstm", "rnn_gru", "rnn_simple"]
    default = throughput.expand(None)
    assert {"mnist_cnn", "rnn_lstm"} <= set(default)
    assert "rnn_gru" not in default


def test_the_comparison_pairs_gpu_with_cpu_and_skips_failures():
    common = {"model": "cnn", "mode": "infer", "backend": "jax"}
    rows = [
        {**common, "batch_size": 8, "device": "cpu", "samples_per_sec": 50.0},
        {**common, "batch_size": 8, "device": "gpu", "samples_per_sec": 200.0},
        {**common, "batch_size": 1, "device": "cpu", "error": "killed"},
        {**common, "batch_size": 1, "device": "gpu", "samples_per_sec": 10.0},
    ]
    found = throughput.compare(rows)
    assert found == [{"model": "cnn", "mode": "infer", "batch_size": 8, "backend": "jax", "gpu_over_cpu": 4.0}]


def test_a_model_without_a_task_is_trained_with_a_head():
    job = {"mode": "train", "batch_size": 2, "seconds": 0.1, "sequence_length": 8, "device": "cpu"}
    assert throughput_row.time_model("bert_tiny", **job)["samples_per_sec"] > 0


def test_a_tiny_run_writes_csv_chart_and_json(tmp_path):
    done = run(
        "throughput.py", "--models", "mnist_cnn", "--devices", "cpu", "--mode", "infer", "--batch-size", 4,
        "--seconds", 0.2, "--output", tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = result_of(done.stdout)
    assert {"machine", "versions", "command", "rows", "matmul_rates", "left_out"} <= document.keys()
    assert document["machine"]["cpu_model"]
    assert document["versions"]["keras"]
    (row,) = document["rows"]
    assert row.keys() >= ROW_KEYS
    assert (row["param_count"], row["macs_per_example"]) == (93_322, 2_794_240)
    assert row["samples_per_sec"] == pytest.approx(4000 / row["step_time_ms"]["median"])
    assert 0 < row["step_time_ms"]["min"] <= row["step_time_ms"]["median"] < 1000 * row["first_call_seconds"]
    rate = document["matmul_rates"][0]["macs_per_second"]
    assert row["share_of_matmul"] == pytest.approx(row["macs_per_second"] / rate)
    assert row["peak_memory_bytes"] > 100e6

    with open(tmp_path / "throughput.csv", newline="") as stream:
        (line,) = csv.DictReader(stream)
    timm = ("model", "infer_samples_per_sec", "infer_step_time", "infer_batch_size", "infer_img_size", "infer_gmacs",
            "param_count")  # fmt: skip
    assert tuple(line)[: len(timm)] == timm
    assert (line["model"], line["infer_img_size"], line["infer_batch_size"]) == ("mnist_cnn", "28", "4")
    assert float(line["param_count"]) == pytest.approx(0.093322)
    assert float(line["infer_step_time"]) == pytest.approx(row["step_time_ms"]["median"], rel=1e-2)
    assert (tmp_path / "throughput.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((tmp_path / "throughput.json").read_text()) == document
    assert sorted(path.name for path in tmp_path.iterdir()) == ["throughput.csv", "throughput.json", "throughput.png"]


def test_an_absent_gpu_is_said_plainly(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(harness, "run_child", lambda script, job, *rest: throughput_row.JOBS[job["kind"]](**job))
    if throughput_row.gpu_names():
        pytest.skip("this machine has a GPU")
    status = throughput.main(["--models", "perceptron", "--devices", "gpu", "--output", str(tmp_path)])
    assert status == 1  # nothing was measured
    said = capsys.readouterr()
    assert "gpu: none found on this machine (tensorflow), its rows are left out" in said.err
    assert result_of(said.out)["rows"] == []


def test_jax_rows_need_no_tensorflow(tmp_path):
    pytest.importorskip("jax", reason="jax is not installed")
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise ImportError('not on this machine')\n")
    out = tmp_path / "out"
    done = run("throughput.py", "--models", "perceptron", "--devices", "cpu", "--backend", "jax", "--batch-size", 2,
               "--seconds", 0.1, "--output", out, PYTHONPATH=str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = result_of(done.stdout)["rows"]
    assert [(row["mode"], row["backend"]) for row in rows] == [("infer", "jax"), ("train", "jax")]


def test_a_row_that_dies_or_hangs_is_an_error_and_not_the_end(tmp_path):
    dies = tmp_path / "dies.py"
    dies.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    raises = tmp_path / "raises.py"
    raises.write_text("raise SystemExit('no memory')")
    hangs = tmp_path / "hangs.py"
    hangs.write_text("import time; time.sleep(60)")
    assert "SIGKILL" in harness.run_child(dies, {}, "tensorflow", "cpu", 30)["error"]
    assert harness.run_child(raises, {}, "tensorflow", "cpu", 30)["error"] == "exit status 1: no memory"
    assert "more than 0.5 s" in harness.run_child(hangs, {}, "tensorflow", "cpu", 0.5)["error"]


def test_a_child_answers_until_it_ends(tmp_path):
    echoes = tmp_path / "echoes.py"
    echoes.write_text("import json, sys\nprint(sys.argv[1], flush=True)\n"
                      "print(input(), flush=True)\nraise SystemExit('no memory')")  # fmt: skip
    with harness.Child(echoes, {"first": 1}, 30) as child:
        assert child.answer() == {"first": 1} and child.ask({"next": 2}) == {"next": 2}
        ended = {"error": "exit status 1: no memory"}
        assert child.answer() == ended and child.ask({"again": 3}) == ended and child.answer() == ended


def test_a_failed_row_fails_the_run_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    answers = {"matmul": {"error": "no memory"}, "train": {"error": "RuntimeError: [red] is not markup"}}
    good = {
        "samples_per_sec": 8.0, "step_time_ms": {"median": 1.0, "min": 1.0, "spread": 0.0}, "first_call_seconds": 1.0,
        "peak_memory_bytes": 1, "gpu_peak_bytes": None, "param_count": 10, "macs_per_example": 5, "img_size": None,
    }  # fmt: skip
    monkeypatch.setattr(
        harness, "run_child", lambda script, job, *rest: answers.get(job.get("mode") or job["kind"], good)
    )
    status = throughput.main(["--models", "perceptron", "--devices", "cpu", "--output", str(tmp_path)])
    printed = capsys.readouterr()
    rows = json.loads((tmp_path / "throughput.json").read_text())["rows"]
    assert json.loads(printed.out.splitlines()[-1])["failed"] == 1
    assert status == 1
    assert ["error" in row for row in rows] == [False, True]
    assert "[red] is not markup" in printed.err
    (line,) = csv.DictReader((tmp_path / "throughput.csv").read_text().splitlines())
    assert line["infer_samples_per_sec"] == "8.0"
    assert line["train_error"] == "RuntimeError: [red] is not markup"


def test_ctrl_c_ends_in_one_line_and_keeps_what_was_finished(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "throughput.py"), "--models", "perceptron", "--devices", "cpu"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([*command, "--seconds", "60", "--output", str(tmp_path)], **options) as process:
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None and not children.read_text():
            time.sleep(0.1)
        time.sleep(1)  # inside the first row's process
        os.killpg(process.pid, signal.SIGINT)
        output, noise = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in noise
    assert "Traceback" not in noise
    assert result_of(output)["interrupted"] is True


@pytest.mark.slow  # four processes that each import TensorFlow
def test_both_sides_of_the_fit_benchmark_train_on_the_same_images(tmp_path):
    done = run("fit_versus_document.py", "--images", 256, "--epochs", 2, "--repetitions", 1, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    document = result_of(done.stdout)
    assert document["data"]["images"] == 256
    assert [repetition["side"] for repetition in document["repetitions"]] == ["document", "kzoo"]
    sides = document["sides"]
    ratio = sides["document"]["fit_seconds"]["median"] / sides["kzoo"]["fit_seconds"]["median"]
    assert document["ratio"] == pytest.approx(ratio)
    assert all(len(repetition["epoch_seconds"]) == 2 for repetition in document["repetitions"])
    assert json.loads((tmp_path / "fit_versus_document.json").read_text()) == document


@pytest.mark.slow  # TensorFlow is profiled in a process of its own
def test_a_step_profile_names_the_operations(tmp_path):
    path = tmp_path / "profile.json"
    done = run("step_profile.py", "--work", "tiny_cnn", "--steps", 1, "--output", path)
    assert done.returncode == 0, done.stderr
    row = json.loads(path.read_text())["rows"][0]
    groups = row["groups_ms"]
    assert row["side"] == "kzoo" and row["step_ms"] > 0 and min(groups.values()) >= 0
    assert {"optimiser", "convolution", "convolution, kernel gradients", "matrix products"} <= set(groups)
    assert groups.get("other", 0) < sum(groups.values()) / 2
    assert result_of(done.stdout) == json.loads(path.read_text())

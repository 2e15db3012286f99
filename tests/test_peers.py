"""The comparison with peers, the input pipeline's figure, and the page that shows every result."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import harness  # noqa: E402
import input_pipeline  # noqa: E402
import input_pipeline_side  # noqa: E402
import peer_models  # noqa: E402
import peers  # noqa: E402
import report  # noqa: E402


def run(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300)


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("peers.py", ["--works", "resnet5"], "did you mean resnet50"),
        ("peers.py", ["--sides", "keras_hob"], "did you mean keras_hub"),
        ("peers.py", ["--modes", "fly"], "(all: infer, train)"),
        ("peers.py", ["--rounds", "0"], "must be a positive int, got '0'"),
        ("peers.py", ["--output", __file__], "cannot write to"),
        ("loading.py", ["--models", "resnet5"], "did you mean resnet56"),
        ("input_pipeline.py", ["--images", "none"], "must be a positive int, got 'none'"),
        ("report.py", ["--results", "nowhere"], "no folder at nowhere"),
    ],
)
def test_bad_arguments_exit_2_with_one_line(script, arguments, said, tmp_path):
    done = run(script, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_rivals_run_with_the_kernels_that_tensorflow_chooses(monkeypatch):
    monkeypatch.setenv(harness.ONEDNN, "1")
    monkeypatch.setattr(harness, "CHOSEN_ONEDNN", None)
    assert harness.ONEDNN not in harness.child_environment("tensorflow", "cpu", is_rival=True)
    assert harness.child_environment("tensorflow", "cpu")[harness.ONEDNN] == "1"
    monkeypatch.setattr(harness, "CHOSEN_ONEDNN", "1")
    assert harness.child_environment("tensorflow", "cpu", is_rival=True)[harness.ONEDNN] == "1"
    with_it = {side for side in peer_models.SIDES if peer_models.has_onednn(side)}
    assert {"kzoo", "kzoo_fast", "keras_hub_onednn"} <= with_it and not with_it & {"keras", "keras_hub", "torch"}


@pytest.mark.slow
def test_loading_is_timed_in_fresh_processes(tmp_path):
    path = tmp_path / "loading.json"
    done = run("loading.py", "--models", "mlp", "--repetitions", 1, "--output", path)
    assert done.returncode == 0, done.stderr
    assert "mlp: kzoo: " in done.stderr
    row = json.loads(path.read_text())["rows"][0]
    assert (row["side"], row["num_samples"]) == ("kzoo", 1) and 0 < row["min"] < 30


def test_a_tiny_comparison_names_absent_sides_and_compares_first(tmp_path):
    sides = ["kzoo", "keras", "keras_applications", "torch"]
    done = run("peers.py", "--works", "tiny_lstm", "--sides", *sides, "--modes", "infer", "--rounds", 2,
               "--output", tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(pathlib.Path(json.loads(done.stdout.splitlines()[-1])["result"]).read_text())
    rows, absent = ({row["side"]: row for row in document[key]} for key in ("rows", "absent"))
    assert rows.keys() | absent.keys() == set(sides) and {"kzoo", "keras"} <= rows.keys()
    assert absent["keras_applications"]["reason"].startswith("has no such model")
    if "torch" in absent:
        assert absent["torch"]["reason"].startswith("not installed: torch")
    for row in rows.values():
        assert row["reference"] == "keras" and row["max_difference"] < 1e-5
        assert row["ratio"] == rows["keras"]["step_time_ms"]["min"] / row["step_time_ms"]["min"]
        assert 0 < row["step_time_ms"]["min"] < 1000 * row["first_call_seconds"]
        assert row["peak_memory_bytes"] > 100e6 and row["num_calls"] >= 2
        macs = 12 * 4 * 8 * (10 + 8 + 8 + 8) + 8 * 2  # two layers of four gates over twelve steps, then a Dense layer
        assert row["macs_per_second"] == pytest.approx(2 * macs / row["step_time_ms"]["min"] * 1000)
        assert "share_of_matmul" not in row  # the rate of products was not asked for
    assert json.loads((tmp_path / "peers.json").read_text()) == document
    lines = list(csv.DictReader((tmp_path / "peers.csv").read_text().splitlines()))
    assert {line["side"]: float(line["ratio"]) for line in lines} == {k: row["ratio"] for k, row in rows.items()}
    assert (tmp_path / "peers.png").read_bytes()[:4] == b"\x89PNG"


class FakeSide:
    """Answers as a side does: what `answers` says of it, then a turn of one call."""

    answers = {}

    def __init__(self, script, request, timeout, is_rival=False):
        self.side = request["side"]
        self.turns = 0

    def answer(self):
        return self.answers[self.side]

    def ask(self, question):
        self.turns += 1
        return (
            {"error": "died"} if self.side == "keras" and self.turns > 1 else {"seconds": [0.5], "peak_memory_bytes": 1}
        )

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_one_failure_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    ready = {"max_difference": 0.0, "note": "", "first_call_seconds": 1.0}
    differs = {"error": "ValueError: outputs differ from kzoo's by 0.3 of their largest; not timed"}
    answers = {
        "prepare": {"shape": [2], "macs": 1000},
        "kzoo": ready,
        "keras": ready,
        "torch": differs,
        "kzoo_fast": {"absent": "no"},
    }
    monkeypatch.setattr(FakeSide, "answers", answers)
    monkeypatch.setattr(peers.harness, "Child", FakeSide)
    monkeypatch.setattr(peers.harness, "installed", lambda package: "1")
    sides = ["kzoo", "kzoo_fast", "keras", "torch"]
    arguments = ["--works", "tiny_lstm", "--sides", *sides, "--modes", "train", "--rounds", "3"]
    assert peers.main([*arguments, "--output", str(tmp_path)]) == 1
    document = json.loads(pathlib.Path(json.loads(capsys.readouterr().out.splitlines()[-1])["result"]).read_text())
    rows = {row["side"]: row for row in document["rows"]}
    assert rows["torch"]["error"] == differs["error"] and rows["keras"]["error"] == "died"
    assert (rows["kzoo"]["reference"], rows["kzoo"]["ratio"], rows["kzoo"]["num_calls"]) == ("kzoo", 1.0, 3)
    assert rows["kzoo"]["macs_per_second"] == 3 * 1000 * 4 / 0.5  # four examples in half a second, and their gradients
    assert [away["side"] for away in document["absent"]] == ["kzoo_fast"]


def test_shares_are_of_the_best_product_in_the_same_precision():
    def row(work, side, rate, **rest):
        return {"work": work, "side": side, "mode": "infer", "macs_per_second": rate, **rest}

    rows = [
        row("matrix_product", "kzoo_fast", 200.0),
        row("matrix_product", "torch", 250.0),
        {"work": "matrix_product", "side": "kzoo", "error": "died"},
        row("matrix_product", "kzoo_fast_openvino_int8", 1000.0),
        row("resnet50", "kzoo_fast", 125.0),
        row("resnet50", "kzoo_fast_openvino_int8", 900.0),
        {"work": "resnet50", "side": "keras", "error": "died"},
    ]
    peers.relate_to_matmul(rows)
    assert [each.get("share_of_matmul") for each in rows] == [0.8, 1.0, None, 1.0, 0.5, 0.9, None]


def test_a_side_with_other_outputs_is_refused(tmp_path):
    import numpy as np
    import peer_side

    request = {"work": "tiny_lstm", "folder": str(tmp_path), "batch_size": 2}
    np.save(tmp_path / "outputs.npy", np.ones((2, 2), "float32"))
    with pytest.raises(ValueError, match="differ from kzoo's by 0.5 of their largest; not timed"):
        peer_side.compare(peer_models.Peer(lambda inputs: np.full((2, 2), 0.5)), request)
    assert peer_side.compare(peer_models.Peer(lambda inputs: np.full((2, 2), 0.5), is_exact=False), request) == 0.5
    assert peer_side.compare(peer_models.Peer(lambda inputs: np.zeros((2, 9)), same_weights=False), request) is None
    with pytest.raises(ValueError, match=r"shape \(2, 9\), kzoo's \(2, 2\)"):
        peer_side.compare(peer_models.Peer(lambda inputs: np.zeros((2, 9))), request)


def test_a_side_that_cannot_train_says_so_before_it_computes(monkeypatch):
    import peer_side

    monkeypatch.setitem(peer_models.SIDES, "torch", (lambda work, folder: peer_models.Peer(None), (), set()))
    with pytest.raises(peer_models.Unable, match="inference only"):
        peer_side.serve({"side": "torch", "work": "tiny_lstm", "folder": "", "mode": "train"}, print, [])


def test_the_extra_pins_what_the_sides_need():
    pins = (BENCHMARKS.parent / "setup.cfg").read_text().partition("peers =")[2].partition("\ntest =")[0]
    needed = {package for _, packages, _ in peer_models.SIDES.values() for package in packages} - {"nncf"}
    assert all(f"    {package}==" in pins for package in needed)


def test_the_input_pipeline_reads_jpegs_and_says_what_binds(tmp_path):
    assert input_pipeline_side.make_photos(tmp_path / "photos", 12)["bytes"] > 12 * 5000
    for in_memory in (False, True):
        row = input_pipeline_side.kzoo_input(tmp_path / "photos", 4, 1, in_memory=in_memory)
        assert row["images_per_second"] > 0
    image, label = input_pipeline_side.Photos(tmp_path / "photos")[5]
    assert image.shape == (96, 96, 3) and label in range(4) and abs(image).max() < 3

    def rows(made, trained, fed):
        names = (input_pipeline.FILES, input_pipeline.TRAINING, input_pipeline.FED)
        rates = zip(names, (made, trained, fed), strict=True)
        return [{"name": name, "images_per_second": rate} for name, rate in rates]

    assert input_pipeline.judge(rows(100, 200, 90)).startswith("Training is input-bound")
    assert input_pipeline.judge(rows(1000, 200, 150)).startswith("Training is not input-bound")
    assert "unknown" in input_pipeline.judge([{"name": input_pipeline.FILES, "error": "killed"}])


def test_the_page_shows_every_result_and_fetches_nothing(tmp_path):
    for name in ("throughput", "fit_versus_document", "recipes"):
        (tmp_path / f"{name}.json").write_text((BENCHMARKS / "results" / f"{name}.json").read_text())
    (tmp_path / "fast.json").write_text(json.dumps({"rows": [{"model": "<b>&", "ms": 1.5}], "command": "x"}))
    (tmp_path / "exports.json").write_text("{")
    (tmp_path / "fast.avx512.json").write_text(json.dumps({"rows": [{"model": "mlp", "ms": 2.5}], "command": "y"}))
    (tmp_path / "extra.json").write_text(json.dumps({"a": {"b": 7}}))
    (tmp_path / "peers.json").write_text(json.dumps(PEERS))
    done = run("report.py", "--results", tmp_path)
    assert done.returncode == 0 and "7 results" in done.stdout
    page = (tmp_path / "report.html").read_text()
    assert 'name="viewport"' in page and not any(word in page for word in ("http:", "https:", "src=", "<link", "<b>&"))
    assert "2.00 × · 5.00 ms · 50% of the matrix rate" in page and "keras_hub: not installed: keras-hub" in page
    assert "AMD EPYC" in page and "GPU columns are empty: none found on this machine" in page
    assert "exports.json cannot be shown" in page and "there is no generation.json" in page
    assert 'id="fast.avx512">The fast path, avx512<' in page
    assert "&lt;b&gt;&amp;" in page and "a.b" in page
    assert len(page) < 300_000


def test_a_gpu_fills_its_columns():
    row = {"model": "cnn", "mode": "infer", "batch_size": 8, "backend": "jax", "samples_per_sec": 50.0}
    document = {
        "rows": [{**row, "device": "cpu"}, {**row, "device": "gpu", "samples_per_sec": 200.0}],
        "devices": [{"device": "gpu", "name": "a card"}],
    }
    page = report.show_throughput(document)
    assert "<td>200</td><td>4</td>" in page and "GPU: a card." in page


def test_no_result_at_all_is_exit_1(tmp_path):
    assert run("report.py", "--results", tmp_path).returncode == 1


PEERS = {
    "machine": {"cpu_model": "AMD EPYC", "num_cpu_cores": 2, "memory_bytes": 2**34, "system": "Linux"},
    "versions": {"keras": "3.15.1", "torch": None},
    "command": ["python", "peers.py"],
    "absent": [{"work": "bert_base", "mode": "infer", "side": "keras_hub", "reason": "not installed: keras-hub"}],
    "rows": [
        {
            "work": "bert_base", "mode": "infer", "batch_size": 1, "side": "kzoo", "reference": "torch", "ratio": 2.0,
            "share_of_matmul": 0.5,
            "step_time_ms": {"min": 5.0, "median": 6.0, "spread": 1.0}, "max_difference": 1e-6, "note": "",
            "first_call_seconds": 2.0, "peak_memory_bytes": 10**9,
        },
        {"work": "bert_base", "mode": "infer", "batch_size": 1, "side": "torch", "error": "died"},
    ],
}  # fmt: skip

"""The script of the export matrix: cells that hang or crash, and runs that were cut off."""

import json
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "benchmarks"))

import exports  # noqa: E402

CHILD = """
import json, os, signal, sys, time
job = json.loads(sys.argv[1])
for format, precision in job["cells"]:
    if precision == "int8":
        time.sleep(60)
    if precision == "int8_weights":
        os.kill(os.getpid(), signal.SIGSEGV)
    print(json.dumps({"model": job["model"], "format": format, "precision": precision, "max_difference": 0.1,
                      "scale": 2.0, "int8_coverage": None}), flush=True)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    path = tmp_path / "child.py"
    path.write_text(CHILD)
    monkeypatch.setattr(exports, "__file__", str(path))


def test_a_cell_that_hangs_or_crashes_costs_itself_alone(child):
    cells = [("litert", precision) for precision in ("float32", "int8", "int8_weights", "float32")]
    rows = list(exports.measure("mlp", cells, 2.0))
    assert [row["precision"] for row in rows] == [precision for _, precision in cells]
    reasons = [row.get("reason") for row in rows]
    assert reasons[0] is None and reasons[3] is None
    assert "more than 2 s" in reasons[1] and "SIGSEGV" in reasons[2]


def test_a_run_that_was_cut_off_goes_on_where_it_stopped(child, tmp_path, capsys):
    def run(*more):
        exports.main(["--model", "mlp", "--format", "saved_model", "--output", str(tmp_path / "out"), *more])
        return capsys.readouterr().err.count("mlp saved_model float32: 0.1 of 2")

    assert run() == 1 and run() == 0 and run("--again") == 1
    stored = json.loads((tmp_path / "out" / "exports.json").read_text())
    assert [row["model"] for row in stored["rows"]] == ["mlp"]
    assert "| `mlp` | 5.0e-02 | not run |" in (tmp_path / "out" / "exports.md").read_text()
    stored["versions"]["keras"] = "another"
    (tmp_path / "out" / "exports.json").write_text(json.dumps(stored))
    assert run() == 1, "other versions, other numbers"

"""The house keeps its own rules: which room may import which, and what no room contains."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
HOUSE = ROOT / "kzoo"
FILES = sorted(HOUSE.rglob("*.py"))

# room -> the rooms of kzoo it may import; `suggest`, `atomic`, `version` and `onednn` serve all
SERVICES = {"suggest", "atomic", "version", "preprocessing", "onednn"}
ALLOWED = {
    "__init__": {"version", "onednn"},
    "__main__": {"cli", "cli_rewrites", "cli_text"},
    "cli_text": {"cli", "data", "generation", "heatmaps", "runtimes"},
    "cli_lora": {"rewrites"},
    "cli_pruning": {"checkpoint"},
    "cli_rewrites": {"cli", "checkpoint", "rewrites"},
    "cli": {
        "cli_lora",
        "cli_pruning",
        "training",
        "inference",
        "predictions",
        "detections",
        "exporting",
        "measure",
        "cli_info",
        "catalog",
        "tasks",
        "data",
        "checkpoint",
    },
    "cli_info": set(),
    "predictions": {"inference", "tasks", "data", "detections"},
    "training": {"graph", "checkpoint", "tasks", "data", "tensors"},
    "inference": {"tasks", "data", "detection"},
    "detections": {"inference", "data", "detection"},
    "exporting": {"tasks", "data", "detection", "generation", "runtimes"},
    "runtimes": {"rewrites", "graph", "data", "layers", "generation"},
    "heatmaps": {"graph", "layers", "data", "generation"},
    "generation": {"graph", "layers", "data"},
    "measure": {"catalog", "graph", "generation"},
    "checkpoint": {"catalog", "tensors", "layouts", "hub"},
    "layouts": {"layers"},
    "hub": set(),
    "catalog": {"checkpoint", "blank", "models", "rewrites"},  # when building
    "blank": set(),
    "tasks": {"detection"},
    "detection": {"catalog"},
    "rewrites": {"graph", "layers", "layouts", "tensors", "catalog", "measure"},
    "graph": set(),  # serves measure and the public features
    "tensors": set(),
    "data": {"detection", "graph"},
    "models": {"layers", "graph"},  # graph for taps
    "layers": set(),
    **{name: set() for name in SERVICES},
}


def room(path):
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def imports(path):
    """Every module that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            if node.module == "kzoo":
                yield from (f"kzoo.{alias.name}" for alias in node.names)


def test_every_room_has_a_rule():
    assert {room(path) for path in FILES} == set(ALLOWED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_directions(path):
    others = {name.split(".")[1] for name in imports(path) if name.startswith("kzoo.")} - {room(path)} - SERVICES
    assert others <= ALLOWED[room(path)]


@pytest.mark.parametrize(
    "path", [path for path in FILES if room(path) in ("models", "layers")], ids=lambda path: path.stem
)
def test_models_and_layers_use_keras_ops_only(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"tensorflow", "torch", "jax"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_forbidden_words(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), "user errors are ValueError or TypeError"
    code = ast.unparse(tree)
    assert not re.search(r"\bLambda\(|safe_mode\s*=\s*False|allow_pickle\s*=\s*True|\bimport pickle\b", code)
    assert path.name != "utils.py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_public_things_say_what_they_are(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or path.name == "__init__.py"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_keras_floor_is_not_lowered():
    floor = re.search(r"keras>=([\d.]+)", (ROOT / "setup.cfg").read_text())[1]
    assert tuple(int(part) for part in floor.split(".")) >= (3, 15, 1), "earlier releases have known safe-mode bypasses"


def test_the_house_stays_small():
    rooms = [path for path in FILES if room(path) != "models"]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in rooms) < 15000
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path

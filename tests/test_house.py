"""The house keeps its own rules: which room may import which, and what no room contains."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
HOUSE = ROOT / "kzoo"
FILES = sorted(HOUSE.rglob("*.py"))

# A room imports rooms below itself only.
ROOMS = [
    "__main__", "cli", "exporting", "explaining", "runtimes", "training", "tasks", "building", "rewrites", "measure",
    "generation", "weights", "data", "catalog", "models", "graph", "layers", "support", "version",
]  # fmt: skip
# where one looks up: names that `kzoo.data` offers although the task decides what they do
FACADES = {"__init__": set(ROOMS)}
NOT_NAMES = ("__init__", "__main__")
# lines a room may have; one that grows past it has become two rooms
BUDGET = 2500


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


def test_every_room_has_its_place():
    assert {room(path) for path in FILES} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_down(path):
    mine = room(path)
    others = {name.split(".")[1] for name in imports(path) if name.startswith("kzoo.")} - {mine}
    allowed = FACADES.get(mine) or set(ROOMS[ROOMS.index(mine) + 1 :])
    assert others & {*ROOMS} <= allowed


def test_rooms_do_not_import_in_circles():
    """Within a room, at the top of its files."""
    edges = {}
    for path in FILES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {
            name for node in tree.body if isinstance(node, ast.ImportFrom) and node.module.startswith("kzoo")
            for name in [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        }  # fmt: skip
        edges[module] = found - {module}
    seen = {}

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in seen:
            seen[module] = True
            # A package stands for the files that it offers names of.
            for other in sorted(edges.get(module, ())):
                if other in edges and not module.startswith(f"{other}."):
                    visit(other, [*trail, module])

    for module in edges:
        visit(module, [])


def test_no_two_things_of_one_name():
    """Neither two rooms or modules, nor a module and a public function of the same room."""
    stems = [path.stem for path in FILES if path.stem not in NOT_NAMES and room(path) not in ("models", "tasks")]
    folders = [path.parent.name for path in FILES if path.stem == "__init__" and path.parent != HOUSE]
    names = [*stems, *folders]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    for path in FILES:
        beside = {one.stem for one in path.parent.glob("*.py")} - {path.stem}
        functions = {n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef)}
        assert not functions & beside, f"{path}: {functions & beside} are modules too"


def task_names():
    files = [*HOUSE.glob("tasks/*.py"), *HOUSE.glob("tasks/*/__init__.py")]
    return {n for path in files for n in re.findall(r'^    name = "(\w+)"', path.read_text(), re.MULTILINE)}


def test_every_task_is_one_file_and_every_model_has_one():
    from kzoo import catalog, tasks

    assert task_names() == set(tasks.names())
    used = {task for entry in catalog.entries().values() for task in entry.tasks.values()}
    assert used <= set(tasks.names())


@pytest.mark.parametrize(
    "path", [path for path in FILES if room(path) not in ("tasks", "models")], ids=lambda p: str(p.relative_to(HOUSE))
)
def test_no_other_room_compares_a_tasks_name(path):
    strings = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
    assert not strings & task_names()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_room_feels_for_luggage_or_guesses_from_a_name(path):
    code = path.read_text(encoding="utf-8")
    assert path.name == "card.py" or not re.search(r"getattr\([^)]*\"(kzoo|preprocessing|tokenizer)\"", code)
    assert not re.search(
        r'"(mask|segment|image|audio|token)\w*" in \w*\.?name\b|name\.startswith\("(image|token)', code
    )


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


def test_rooms_and_files_stay_small():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    rooms = {path: "/".join(path.relative_to(HOUSE).parts[:-1]) for path in lines}
    # Models are a file each, which no other reads.
    for name in {*rooms.values()} - {"models"}:
        assert sum(count for path, count in lines.items() if rooms[path] == name) <= BUDGET, name
    assert max(lines.values()) <= 420, max(lines, key=lines.get)


def test_the_top_of_the_repository_is_fixed():
    import subprocess

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    known = {
        ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "README.zh.md", "benchmarks", "docs", "kzoo",
        "pyproject.toml", "scripts", "setup.cfg", "tests",
    }  # fmt: skip
    assert {name.split("/")[0] for name in listed} <= known


def test_modules_of_the_first_release_say_where_they_are_now():
    import importlib

    import kzoo

    for old, new in kzoo.MOVED.items():
        with pytest.raises(AttributeError, match=f"kzoo.{old} is now kzoo.{new}"):
            getattr(kzoo, old)
        importlib.import_module(f"kzoo.{new}")


def test_public_functions_say_what_they_return():
    def unsaid(body, path):
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from unsaid(node.body, path)
            decorated = [ast.unparse(each) for each in getattr(node, "decorator_list", ())]
            told = any("command" in each or "option" in each or each.endswith("setter") for each in decorated)
            if isinstance(node, ast.FunctionDef) and node.name[0] != "_" and node.returns is None and not told:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"

    missing = [
        row for path in sorted((ROOT / "kzoo").rglob("*.py")) for row in unsaid(ast.parse(path.read_text()).body, path)
    ]
    assert not missing

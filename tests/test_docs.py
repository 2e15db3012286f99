"""The pages: every block of Python and shell runs in order within its page, or says why it does not.

A comment just before a block says how the tests treat it:

    <!-- not run: it downloads weights -->       never run
    <!-- slow: it converts a network -->         run with --slow only
    <!-- before: images = ... -->                Python that runs first, for what the reader is supposed to have
"""

import configparser
import contextlib
import importlib.util
import inspect
import os
import pathlib
import pkgutil
import re
import shlex
import subprocess
import sys

import pytest

import kzoo

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CHINESE = ROOT / "README.zh.md"
BLOCK = re.compile(r"(?:^<!-- (?P<note>(?:(?!-->).)*?) ?-->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
NOTE = re.compile(r"(not run|slow|before): *(.*)", re.S)
FOLDERS = ("benchmarks/", "docs/", "kzoo/", "scripts/", "tests/")


def blocks(page):
    """`[(language, code, kind of its note, the note)]` of a page."""
    found = []
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        note = NOTE.fullmatch(match["note"] or "")
        found.append((match["language"], match["code"], *(note.groups() if note else (None, ""))))
    return found


def runs(language, kind, slow):
    return language in ("python", "sh") and kind != "not run" and (slow or kind != "slow")


def commands(code):
    """The commands of a shell block: no comments, continued lines joined."""
    lines = code.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def run_shell(code, monkeypatch):
    """kzoo's own commands run in this process, since a process each would import TensorFlow each."""
    from kzoo.__main__ import main

    for command in commands(code):
        words = shlex.split(command, comments=True)
        if words[0] == "kzoo":
            monkeypatch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code, command
        else:
            subprocess.run(["bash", "-euc", command], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def run_page(page, slow, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {"__name__": "__main__"}
    for language, code, kind, note in blocks(page):
        if not runs(language, kind, slow):
            continue
        if kind == "before":
            exec(compile(note, f"{page.name}, before", "exec"), names)
        if language == "sh":
            run_shell(code, monkeypatch)
        else:
            exec(compile(code, f"{page.name}: {code[:60]!r}", "exec"), names)


@pytest.fixture
def quiet(monkeypatch):
    """A folder of its own for every page, with kzoo's repository as it is beside it."""
    import keras

    keras.utils.set_random_seed(0)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with contextlib.redirect_stdout(open(os.devnull, "w", encoding="utf-8")) as sink:
        yield sink
    sink.close()


def pages_with(slow):
    """Pages that have something to run: all of it, or what is slow."""
    wanted = [page for page in PAGES if any(runs(row[0], row[2], slow) for row in blocks(page))]
    return [page for page in wanted if not slow or any(row[2] == "slow" for row in blocks(page))]


@pytest.mark.parametrize("page", pages_with(slow=False), ids=lambda page: page.name)
def test_blocks_run(page, tmp_path, monkeypatch, quiet):
    run_page(page, False, tmp_path, monkeypatch)


@pytest.mark.slow  # conversions to other runtimes and several trainings take minutes together
@pytest.mark.parametrize("page", pages_with(slow=True), ids=lambda page: page.name)
def test_slow_blocks_run(page, tmp_path, monkeypatch, quiet):
    run_page(page, True, tmp_path, monkeypatch)


def test_most_blocks_run(record_property):
    """Blocks that never run are counted, give a reason, and stay the exception."""
    rows = [(page.name, *row) for page in PAGES for row in blocks(page)]
    ours = [row for row in rows if row[1] in ("python", "sh")]
    left_out = [row for row in ours if row[3] == "not run"]
    record_property("blocks_run", len(ours) - len(left_out))
    record_property("blocks_not_run", len(left_out))
    assert {row[1] for row in rows} <= {"python", "sh", "text", "json"}, "a language that no test runs"
    assert all(len(row[4].split()) >= 3 for row in ours if row[3]), "a note says why in a few words"
    assert len(left_out) * 4 <= len(ours)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("```") == 2 * len(blocks(page)), page
        kinds = re.findall(r"^<!-- (not run|slow|before):", text, re.M)
        assert len(kinds) == sum(row[2] is not None for row in blocks(page)), (
            f"{page}: a note that stands before no block"
        )


def load_script(name):
    specification = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", [ROOT / "README.md", CHINESE], ids=lambda page: page.name)
def test_tables_are_those_of_the_catalogue(page):
    made = load_script("make_readme").with_tables(page.read_text(encoding="utf-8"), page.name)
    assert page.read_text(encoding="utf-8") == made, "run python scripts/make_readme.py"


def test_front_page_is_short_and_chinese_has_the_same_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 130

    def bare(page):
        return [
            [re.sub(r"\s*#.*", "", line) for line in code.splitlines()]
            for language, code, *_ in blocks(page)
            if language in ("python", "sh")
        ]

    assert bare(CHINESE) == bare(ROOT / "README.md")


@pytest.mark.parametrize("page", [ROOT / "README.md", CHINESE], ids=lambda page: page.name)
def test_front_page_lists_every_extra(page):
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", page.read_text(encoding="utf-8").partition("```python")[0], re.M)
    assert set(parser["options.extras_require"]) == set(re.findall(r"`(\w+)`", " ".join(rows)))


@pytest.mark.parametrize("page", [*PAGES, CHINESE], ids=lambda page: page.name)
def test_links_and_paths_exist(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for path in re.findall(r"`([\w./-]+)`", text):
        if path.startswith(FOLDERS):
            assert (ROOT / path).exists(), path


def test_every_page_is_in_the_navigation():
    listed = re.findall(r"([\w-]+\.md)$", (ROOT / "scripts/site/mkdocs.yml").read_text(), re.M)
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        assert page.name in listed or page.name == "ledger.md"
        assert page.name == "index.md" or f"]({page.name})" in index


def test_adding_a_model_lists_every_literal():
    """What the house reads from model files, and what model files say to it, both stand on the page."""
    page = (ROOT / "docs/adding-a-model.md").read_text(encoding="utf-8")
    asked = re.compile(r"""(?:literals|literals_of\(\w+\)|values)(?:\.get\(|\[)"([A-Z_]+)\"""")
    for path in (ROOT / "kzoo").rglob("*.py"):
        for name in asked.findall(path.read_text(encoding="utf-8")):
            assert name == "DOC" or f"`{name}`" in page, f"{path} reads {name}"


def public():
    for module in (kzoo, kzoo.data, kzoo.layers):
        for name in module.__all__:
            if callable(getattr(module, name)):
                yield pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("thing", list(public()))
def test_documented_arguments_are_those_of_the_signature(thing):
    documented = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(thing), re.M | re.S)
    parameters = inspect.signature(thing).parameters
    for line in re.findall(r"^ {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*): ", documented[1] if documented else "", re.M):
        for name in line.replace("*", "").split(", "):
            assert name in parameters, f"{name} is documented and not taken"
    for name in re.findall(r"`(kzoo(?:\.\w+)+)", inspect.getdoc(thing)):
        assert pkgutil.resolve_name(name) is not None


def test_site_builds_strictly(tmp_path):
    """A broken link, or a name that kzoo does not have, is a warning, and a warning fails the build."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    options = ["--config-file", ROOT / "scripts/site/mkdocs.yml", "--site-dir", tmp_path / "site"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    for module in (kzoo, kzoo.data, kzoo.layers):
        page = (tmp_path / "site/reference" / f"{module.__name__.rpartition('.')[2]}.html").read_text(encoding="utf-8")
        names = set(module.__all__) - {"data", "layers", "__version__"}
        assert {name for name in names if f'id="{module.__name__}.{name}"' not in page} == set()

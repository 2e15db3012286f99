"""Makes small wrong changes to the code, one at a time in a copy, and says which of them the nearest tests notice.

    python scripts/mutate.py kzoo/layers/attention.py kzoo/data --count 20

Of each file `--count` changes are drawn by `--seed`: a comparison or an operator becomes another, a number one more or
less, `and` becomes `or`, a `not`, a keyword argument or a statement goes. Words for people are left alone. What no test
notices is printed; the last line is one JSON document. Changes that are known to change nothing that anyone would see
are listed in EQUIVALENT and not drawn.
"""

import argparse
import ast
import difflib
import importlib
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).parents[1]
COPIED = ("kzoo", "tests", "scripts", "benchmarks", "docs", "setup.cfg", "pyproject.toml", "README.md")
# The test modules of a file, and which of their tests; nothing is drawn of files that are not here.
NEAREST = {
    "kzoo/layers/attention.py": "attention",
    "kzoo/layers/positions.py": "positions",
    "kzoo/tasks/losses.py": "exact_means training image_data -k fewer or tokens or smooth or share",
    "kzoo/tasks/compiling.py": "exact_means training -k tokens or run or googlenet or penalties or heads",
    "kzoo/training/recipe.py": "training -k recipe or schedule or smooth or decay or bad or clip",
    "kzoo/data/language.py": "language_data -k not command_line and not predictions",
    "kzoo/data/augmentation.py": "image_data data -k augment or image and not (folder or learns or sheet)",
    "kzoo/data/effects.py": "image_data -k not (folder or learns or sheet)",
    "kzoo/generation/beams.py": "generation",
    "kzoo/generation/decoder.py": "generation memories",
    "kzoo/generation/loop.py": "generation",
    "kzoo/generation/memories.py": "memories generation",
    "kzoo/generation/sampling.py": "generation -k sample or penalty or draws",
    "kzoo/generation/serving.py": "exporting -k generate or tokens or transformer",
    "kzoo/generation/writing.py": "generation",
    "kzoo/rewrites/adapters.py": "lora",
    "kzoo/rewrites/channels.py": "filters",
    "kzoo/rewrites/filters.py": "filters",
    "kzoo/rewrites/flattening.py": "flattening",
    "kzoo/rewrites/folding.py": "folding",
    "kzoo/rewrites/fusible.py": "fusible",
    "kzoo/rewrites/low_rank_updates.py": "lora",
    "kzoo/rewrites/masking.py": "pruning runtimes -k mask",
    "kzoo/rewrites/unrolling.py": "runtimes -k unroll or directions",
    "kzoo/exporting/exports.py": "exporting -k not stranger and not int8",
    "kzoo/exporting/other_formats.py": "exporting -k formats or runtime or onnx or pixels or int8",
    "kzoo/exporting/saved_model.py": "exporting -k not stranger and not int8",
    "kzoo/support/atomic.py": "atomic",
    "kzoo/layers/spectra.py": "spectra",
    "kzoo/data/sounds/sound_augmentation.py": "sounds -k change or bands or amounts",
    "kzoo/tasks/speech_recognition/ctc.py": "ctc",
    "kzoo/tasks/speech_recognition/greedy.py": "ctc -k greedy or words",
    "kzoo/tasks/speech_recognition/prefix_beams.py": "prefix_beams",
}  # fmt: skip
# Parts of the lines of changes that change nothing that anyone would see, and why.
EQUIVALENT = {
    "kzoo/data/augmentation.py": dict.fromkeys(("uniform(10 - slot", "uniform(0, 4)"), "another stream of numbers"),
    "kzoo/generation/sampling.py": dict.fromkeys(("axis=1), last)", "axis=1) - prob"), "the last of two axes"),
    "kzoo/tasks/losses.py": {"+ pass - if not self.label_smoothing": "a short cut"},
}

OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def changes_of(node):
    """Functions that each make one change within a node, in place or by giving what stands in its stead."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            if type(operator) in OTHER:
                yield lambda i=index: node.ops.__setitem__(i, OTHER[type(node.ops[i])]())
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OTHER:
        yield lambda: setattr(node, "op", OTHER[type(node.op)]())
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda: setattr(node, "value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield lambda: setattr(node, "value", node.value + 1)
        yield lambda: setattr(node, "value", node.value - 1)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield lambda: node.operand
    if isinstance(node, ast.IfExp):
        yield lambda: node.body
        yield lambda: node.orelse
    if isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg:
                yield lambda i=index: node.keywords.pop(i) and None
    is_plain = isinstance(node, ast.If) and not node.orelse
    if isinstance(node, ast.AugAssign) or is_plain or isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield lambda: ast.Pass()


def places(node):
    """Every node in which a change is of interest, with its parent, the field and the place there."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list") or isinstance(node, ast.Raise | ast.JoinedStr):
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and "os.kill" not in ast.unparse(child).partition("\n")[0]:
                yield child, node, field, index if isinstance(value, list) else None
                yield from places(child)


def mutants(source):
    """(changed source, the lines that differ) of every change."""
    number, before = 0, ast.unparse(ast.parse(source)).splitlines()
    while True:
        tree, left = ast.parse(source), number
        for node, parent, field, index in places(tree):
            changes = list(changes_of(node))
            if left < len(changes):
                instead = changes[left]()
                if instead is not None and index is None:
                    setattr(parent, field, instead)
                elif instead is not None:
                    getattr(parent, field)[index] = instead
                break
            left -= len(changes)
        else:
            return
        after = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
        lines = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
        yield "\n".join(after) + "\n", " ".join(" ".join(line.split()) for line in lines)
        number += 1


def notices(copy, tests, seconds):
    """Whether pytest fails, or takes longer than that, in a process that shares what is imported here."""
    names, _, words = tests.partition(" -k ")
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(copy)
        for name in [name for name in sys.modules if name.split(".")[0] == "kzoo"]:
            del sys.modules[name]
        sys.path.insert(0, str(copy))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        files = [f"tests/test_{name}.py" for name in names.split()]
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *files, *(["-k", words] if words else [])]))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def score(copy, file, count, seed, limit):
    """How many drawn changes of a file the tests notice; prints those that they do not."""
    source, tests = (ROOT / file).read_text(encoding="utf-8"), NEAREST[file]
    begin = time.monotonic()
    if notices(copy, tests, 1200):
        raise SystemExit(f"{file}: its tests fail as it is: {tests}")
    seconds = limit or 10 + 3 * (time.monotonic() - begin)
    drawn = [one for one in mutants(source) if not any(part in one[1] for part in EQUIVALENT.get(file, ()))]
    drawn = random.Random(f"{file} {seed}").sample(drawn, min(count, len(drawn)))
    unseen = []
    for changed, lines in drawn:
        (copy / file).write_text(changed, encoding="utf-8")
        if not notices(copy, tests, seconds):
            unseen.append(lines)
            print(f"{file}: {lines}", flush=True)
    (copy / file).write_text(source, encoding="utf-8")
    return {"changes": len(drawn), "noticed": len(drawn) - len(unseen), "not_noticed": unseen}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", help="files or folders of the repository")
    parser.add_argument("--count", type=int, default=20, help="changes to draw of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, help="seconds for the tests of one change; three times what they take")
    given = parser.parse_args()
    for name in ("kzoo", "tensorflow", "keras", "tensorflow_datasets"):  # once, for all processes that run tests
        importlib.import_module(name)
    files = [file for file in NEAREST for path in given.paths if f"{file}/".startswith(f"{path.rstrip('/')}/")]
    with tempfile.TemporaryDirectory(prefix="kzoo-mutants-") as folder:
        copy = pathlib.Path(folder)
        for name in COPIED:
            copy_of = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy_of(ROOT / name, copy / name)
        rows = {file: score(copy, file, given.count, given.seed, given.limit) for file in dict.fromkeys(files)}
    total, noticed = (sum(row[key] for row in rows.values()) for key in ("changes", "noticed"))
    print(json.dumps({"changes": total, "noticed": noticed, "files": rows}))


if __name__ == "__main__":
    main()

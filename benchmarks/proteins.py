"""AlphaFold's parts on this machine's CPU, one protein: kzoo on TensorFlow and JAX beside DeepMind's code on JAX.

    python benchmarks/proteins.py --python VENV/bin/python   # with DeepMind's alphafold, see scripts/golden/deepmind.py

One block of the Evoformer at every length and with 1 and 128 sequences, and the whole structure module, of the sizes of
`alphafold_1`. Every side has a process of its own and takes turns with the others: `tensorflow` and `jax` are kzoo's
layers compiled with their weights as variables, `frozen` has them as constants, as kzoo.fast does. Milliseconds, memory
and ratios to DeepMind's; the last line on stdout is one JSON document, also stored. Exit status: 0, 1 if a side failed,
2 for bad arguments.
"""

import contextlib
import pathlib
import sys

import harness
from timing import summarize

SIDE = pathlib.Path(__file__).with_name("proteins_side.py")
RESULT = pathlib.Path(__file__).parent / "results" / "proteins.json"
SIDES = ("tensorflow", "frozen", "jax", "deepmind")
WORKS = (("block", 1), ("block", 128), ("structure", 1))


def run(options):
    """The whole comparison as a document."""
    rows = {}
    document = harness.begin("proteins", ("jax",), rounds=options.rounds, lengths=options.lengths, rows=rows)
    for length in options.lengths:
        for work, sequences in WORKS:
            name = f"{work} {length}" + (f" {sequences}" if work == "block" else "")
            with contextlib.ExitStack() as stack:
                children = {}
                for side in options.sides:
                    job = {"side": side, "work": work, "length": length, "sequences": sequences,
                           "chunk": options.chunk}  # fmt: skip
                    python = options.python if side == "deepmind" else sys.executable
                    child = harness.Child(SIDE, job, options.timeout, side == "deepmind", python)
                    children[side] = stack.enter_context(child)
                    rows[f"{name} {side}"] = {"turns": [], **renamed(child.answer())}
                for _ in range(options.rounds):
                    for side, child in children.items():
                        row = rows[f"{name} {side}"]
                        if "error" not in row:
                            answer = child.ask("go")
                            row.update({"error": answer["error"]} if "error" in answer else {})
                            row["turns"] += [answer] if "error" not in answer else []
            finish(rows, name)
            show({key: row for key, row in rows.items() if key.startswith(f"{name} ")})
    return document


def renamed(answer):
    """The first answer of a side, or what went wrong."""
    return answer if "error" in answer else {"first_call_seconds": answer["seconds"]}


def finish(rows, name):
    """Adds times, memory, and how many times as fast as DeepMind's each side is."""
    mine = {key: row for key, row in rows.items() if key.rpartition(" ")[0] == name}
    for row in mine.values():
        turns = row.pop("turns")
        if turns:
            row["milliseconds"] = summarize([1000 * turn["seconds"] for turn in turns])
            row["peak_bytes"] = max(turn["peak_bytes"] for turn in turns)
    theirs = mine.get(f"{name} deepmind", {}).get("milliseconds")
    for row in mine.values():
        if theirs and "milliseconds" in row:
            row["times"] = {key: theirs[key] / row["milliseconds"][key] for key in ("min", "median")}


def show(rows):
    """The rows as lines for people, on stderr."""
    for name, row in rows.items():
        if "error" in row:
            harness.say(f"{name:28} failed: {row['error']}")
            continue
        time, ratio = row["milliseconds"], row.get("times")
        told = f"  {ratio['min']:.2f} (median {ratio['median']:.2f}) times DeepMind's" if ratio else ""
        harness.say(f"{name:28} {time['min']:9.1f} ms, {row['peak_bytes'] / 1e6:6.0f} MB{told}")


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--rounds", type=harness.positive(int), default=5, help="turns of every side (5)")
    parser.add_argument("--lengths", type=harness.positive(int), nargs="+", default=[64, 256], help="residues (64 256)")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, help="which sides (all)")
    parser.add_argument("--chunk", type=harness.positive(int), help="rows at once on kzoo's sides (all)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of DeepMind's side")
    parser.add_argument("--timeout", type=harness.positive(float), default=600.0, help="seconds for one answer (600)")
    parser.add_argument("--output", type=pathlib.Path, default=RESULT, help="JSON file to store the result in")
    options = parser.parse(None)
    document = run(options)
    return int(harness.store_and_tell(document, options.output, document["rows"].values()) > 0)


if __name__ == "__main__":
    sys.exit(main())

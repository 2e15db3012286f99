"""GPT-2 writing greedily, batch 1, on this machine's CPU: kzoo beside keras-hub and transformers.

    python benchmarks/generation.py                       # the peers that are installed; the others are named absent
    pip install -e .[peers] && python benchmarks/generation.py     # benchmarks/results/generation.json

The same random weights of GPT-2 small (124M) in every writer, each in a process of its own, which takes turns with the
others: one continuation of 64 tokens after a prompt of 32 each round. Whether a writer's tokens are those of kzoo is
reported, or the first place where they differ; weights of 8 bits may choose others among the nearly even odds of random
weights. Tokens a second over the whole call, prompt included. The table goes to stderr; the last line on stdout is
JSON document, also stored. Exit status: 0, 1 if a writer failed, 2 for bad arguments.
"""

import contextlib
import functools
import os
import pathlib
import sys
import tempfile
import time

import harness
from timing import summarize

SIDE = pathlib.Path(__file__).with_name("generation_side.py")
RESULT = pathlib.Path(__file__).parent / "results" / "generation.json"
PACKAGES = ("transformers", "openvino", "nncf", "ai-edge-litert")
NUM_BYTES = 4 * 124_439_808  # of the weights, which every token reads

SIZES = {"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "vocabulary_size": 50257, "max_length": 1024}
NEEDS = {
    "kzoo": (),
    "kzoo_openvino": ("openvino", "nncf"),
    "kzoo_openvino_int8": ("openvino", "nncf"),
    "kzoo_litert_int8": ("ai-edge-litert",),
    "keras_hub": ("keras-hub",),
    "transformers": ("torch", "transformers"),
    "transformers_static": ("torch", "transformers"),
}


def bandwidth(num_bytes=1 << 30, rounds=8):
    """Bytes a second that one pass over memory reads: the best of a search for the largest and a matrix times a vector.

    The latter is what decoding does. Neither is sure to reach what the memory can give.
    """
    import concurrent.futures

    import numpy as np

    matrix = np.ones((num_bytes // 4096, 1024), "float32")
    vector, parts = np.ones(1024, "float32"), np.array_split(matrix, os.cpu_count())
    best = float("inf")
    with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
        for read in (lambda: list(pool.map(np.max, parts)), lambda: matrix @ vector):
            for _ in range(rounds):
                begin = time.perf_counter()
                read()
                best = min(best, time.perf_counter() - begin)
    return matrix.nbytes / best


def run(arguments):
    """The result of the whole comparison as a dict."""
    request = {"sizes": SIZES, "prompt_length": arguments.prompt_length, "new_tokens": arguments.new_tokens}
    rows = {}
    document = harness.begin("generation", PACKAGES, **request, rounds=arguments.rounds, sides=rows)
    with contextlib.ExitStack() as stack:
        request["folder"] = stack.enter_context(tempfile.TemporaryDirectory())
        with harness.Child(SIDE, {**request, "side": "weights"}, arguments.timeout) as weights:
            written = weights.answer()
        if "error" in written:
            raise RuntimeError(f"no weights could be written: {written['error']}")
        children = {}
        for side, needs in NEEDS.items():
            missing = [package for package in needs if not harness.installed(package)]
            if missing:
                rows[side] = {"absent": f"not installed: {', '.join(missing)}"}
                continue
            is_rival = not side.startswith("kzoo")
            child = stack.enter_context(harness.Child(SIDE, {**request, "side": side}, arguments.timeout, is_rival))
            first = child.answer()
            rows[side] = (
                first
                if "error" in first
                else {"first_call_seconds": first["seconds"], "ids": first["ids"], "seconds": []}
            )
            children[side] = child
        for _ in range(arguments.rounds):
            for side in running(children, rows):
                answer = children[side].ask("go")
                if "error" in answer:
                    rows[side]["error"] = answer["error"]
                else:
                    rows[side]["seconds"].append(answer["seconds"])
        for side in running(children, rows):
            rows[side].update(children[side].ask("facts"))
    finish(document)
    return document


def running(children, rows):
    """The sides that have not failed."""
    return [side for side in children if "error" not in rows[side]]


def finish(document):
    """Adds what is computed from the measured seconds: speeds, ratios, agreement, and the bound that memory sets."""
    rows, new_tokens = document["sides"], document["new_tokens"]
    measured = {side: row for side, row in rows.items() if "absent" not in row and "error" not in row}
    wanted = rows["kzoo"].get("ids")
    for row in measured.values():
        times = summarize(row["seconds"])
        row["tokens_per_second"] = {"best": new_tokens / times["min"], "median": new_tokens / times["median"]}
        row["agrees"] = agreement(row["ids"], wanted) if wanted else "kzoo wrote nothing"
    for row in rows.values():
        row.pop("ids", None)
    reference = rows["keras_hub"].get("tokens_per_second")
    for row in measured.values():
        speed = row["tokens_per_second"]
        row["times_keras_hub"] = {k: speed[k] / reference[k] for k in speed} if reference else None
    read = bandwidth()
    document["memory_gigabytes_per_second"] = read / 1e9
    document["bound_tokens_per_second"] = read / NUM_BYTES


def agreement(ids, wanted):
    """ "yes", or the first place where two sequences differ."""
    for place, (mine, theirs) in enumerate(zip(ids, wanted, strict=False)):
        if mine != theirs:
            return f"differs from token {place} on"
    return "yes" if len(ids) == len(wanted) else f"has {len(ids)} tokens, not {len(wanted)}"


def show(document):
    """The result as lines for people, on stderr."""
    say = functools.partial(print, file=sys.stderr)
    for side, row in document["sides"].items():
        if "absent" in row or "error" in row:
            say(f"{side:20} {row.get('absent') or 'failed: ' + row['error']}")
            continue
        speed, ratio = row["tokens_per_second"], row["times_keras_hub"]
        ratio = f"{ratio['best']:.2f} x keras-hub" if ratio else ""
        say(f"{side:20} {speed['best']:6.1f} tokens/s (median {speed['median']:.1f})  {ratio}  agrees: {row['agrees']}")
    kzoo = document["sides"]["kzoo"]
    say(
        f"memory reads {document['memory_gigabytes_per_second']:.1f} GB/s: at most "
        f"{document['bound_tokens_per_second']:.0f} tokens/s in float32"
    )
    if "error" in kzoo:
        return
    share = kzoo["tokens_per_second"]["best"] / document["bound_tokens_per_second"]
    places = ", ".join(f"{place}: {1e3 * seconds:.1f}" for place, seconds in kzoo["seconds_a_token_from_place"].items())
    say(
        f"kzoo reaches {share:.0%} of that; programs compiled after {1 + document['rounds']} calls: "
        f"{kzoo['programs_after_all_calls']}; milliseconds a token from place {places}"
    )


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--rounds", type=harness.positive(int), default=5, help="turns of every writer (5)")
    parser.add_argument("--prompt-length", type=harness.positive(int), default=32, help="tokens of the prompt (32)")
    parser.add_argument("--new-tokens", type=harness.positive(int), default=64, help="tokens to write (64)")
    parser.add_argument("--timeout", type=harness.positive(float), default=300.0, help="seconds for one answer (300)")
    parser.add_argument("--output", type=pathlib.Path, default=RESULT, help="JSON file to store the result in")
    options = parser.parse(None)
    document = run(options)
    show(document)
    return int(harness.store_and_tell(document, options.output, document["sides"].values()) > 0)


if __name__ == "__main__":
    sys.exit(main())

"""GPT-2 writing greedily, batch 1, on this machine's CPU: kzoo beside keras-hub and transformers.

    python benchmarks/generation.py                       # the peers that are installed; the others are named absent
    pip install -e .[peers] && python benchmarks/generation.py --output benchmarks/results/generation.json

The same random weights of GPT-2 small (124M) in every writer, each in a process of its own, which takes turns with the
others: one continuation of 64 tokens after a prompt of 32 each round. Whether a writer's tokens are those of kzoo is
reported, or the first place where they differ; weights of 8 bits may choose others among the nearly even odds of random
weights. Tokens a second over the whole call, prompt included. The last line of standard output is one JSON document.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

from timing import summarize

SIZES = {"num_layers": 12, "hidden_dim": 768, "num_heads": 12, "vocabulary_size": 50257, "max_length": 1024}
NEEDS = {
    "kzoo": (), "kzoo_openvino": ("openvino", "nncf"), "kzoo_openvino_int8": ("openvino", "nncf"),
    "keras_hub": ("keras-hub",), "transformers": ("torch", "transformers"),
    "transformers_static": ("torch", "transformers"),
}  # fmt: skip


def installed(package):
    """The version of an installed package, None if it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def start(side, request):
    """The process of one side, and its first answer."""
    command = [sys.executable, str(pathlib.Path(__file__).with_name("generation_side.py"))]
    process = subprocess.Popen(
        [*command, json.dumps({**request, "side": side})], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    line = process.stdout.readline()
    return process, json.loads(line) if line else None


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
    sides, rows, processes, wanted = [], {}, {}, None
    for side in NEEDS:
        missing = [package for package in NEEDS[side] if not installed(package)]
        if missing:
            rows[side] = {"absent": f"not installed: {', '.join(missing)}"}
        else:
            sides.append(side)
    with tempfile.TemporaryDirectory() as folder:
        request["folder"] = folder
        start("weights", request)[0].wait()
        for side in sides:
            process, first = start(side, request)
            if first is None:
                rows[side] = {"absent": "failed to start or to write"}
                continue
            wanted = wanted or first["ids"]
            rows[side] = {
                "first_call_seconds": first["seconds"],
                "seconds": [],
                "agrees": agreement(first["ids"], wanted),
            }
            processes[side] = process
        for _ in range(arguments.rounds):
            for side, process in processes.items():
                process.stdin.write("go\n")
                process.stdin.flush()
                rows[side]["seconds"].append(json.loads(process.stdout.readline())["seconds"])
        for side, process in processes.items():
            process.stdin.write("facts\n")
            process.stdin.flush()
            rows[side].update(json.loads(process.stdout.readline()))
        for process in processes.values():
            process.stdin.close()
            process.wait()
    for side in processes:
        times = summarize(rows[side]["seconds"])
        rows[side]["tokens_per_second"] = {
            "best": arguments.new_tokens / times["min"], "median": arguments.new_tokens / times["median"]
        }  # fmt: skip
    reference = rows.get("keras_hub", {}).get("tokens_per_second")
    for side in processes:
        mine = rows[side]["tokens_per_second"]
        rows[side]["times_keras_hub"] = {k: mine[k] / reference[k] for k in mine} if reference else None
    read = bandwidth()
    num_bytes = 4 * 124_439_808
    return {
        "command": " ".join(sys.argv), "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
        "load": os.getloadavg()[0], "prompt_length": arguments.prompt_length, "new_tokens": arguments.new_tokens,
        "rounds": arguments.rounds, "sides": rows,
        "memory_gigabytes_per_second": read / 1e9,
        "bound_tokens_per_second": read / num_bytes,
        "versions": {
            package: installed(package)
            for package in ("keras", "tensorflow", "keras-hub", "torch", "transformers", "openvino", "nncf")
        },
    }  # fmt: skip


def agreement(ids, wanted):
    """ "yes", or the first place where two sequences differ."""
    for place, (mine, theirs) in enumerate(zip(ids, wanted, strict=False)):
        if mine != theirs:
            return f"differs from token {place} on"
    return "yes" if len(ids) == len(wanted) else f"has {len(ids)} tokens, not {len(wanted)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of every writer (5)")
    parser.add_argument("--prompt-length", type=int, default=32, help="tokens of the prompt (32)")
    parser.add_argument("--new-tokens", type=int, default=64, help="tokens to write (64)")
    parser.add_argument("--output", type=pathlib.Path, help="JSON file to store the result in")
    arguments = parser.parse_args()
    result = run(arguments)
    for side, row in result["sides"].items():
        if "absent" in row:
            print(f"{side:20} {row['absent']}")
            continue
        speed, ratio = row["tokens_per_second"], row["times_keras_hub"]
        ratio = f"{ratio['best']:.2f} x keras-hub" if ratio else ""
        print(
            f"{side:20} {speed['best']:6.1f} tokens/s (median {speed['median']:.1f})  {ratio}  agrees: {row['agrees']}"
        )
    share = result["sides"]["kzoo"]["tokens_per_second"]["best"] / result["bound_tokens_per_second"]
    print(f"memory reads {result['memory_gigabytes_per_second']:.1f} GB/s: at most "
          f"{result['bound_tokens_per_second']:.0f} tokens/s in float32; kzoo reaches {share:.0%}")  # fmt: skip
    places = result["sides"]["kzoo"]["seconds_a_token_from_place"]
    print(f"programs compiled by kzoo after {1 + arguments.rounds} calls: "
          f"{result['sides']['kzoo']['programs_after_all_calls']}; milliseconds a token from place "
          + ", ".join(f"{place}: {1e3 * seconds:.1f}" for place, seconds in places.items()))  # fmt: skip
    if arguments.output:
        from kzoo import atomic

        with atomic.file(arguments.output) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

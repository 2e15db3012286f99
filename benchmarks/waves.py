"""WaveNet writing sound on this machine's CPU, one clip: queues, the whole network for each sample, r9y9's torch loop.

    python benchmarks/waves.py --python VENV/bin/python   # one with torch, and wavenet_vocoder on its PYTHONPATH

Every writer has a process of its own and takes turns with the others. Two networks: `wavenet_mulaw`, a vocoder of 4.7
million parameters, and `wavenet_small`, of spoken digits at 8 kHz. Without queues a sample costs a pass over all that
was written, so that side runs a few samples at the end of the clip, and half of what one of those costs counts as the
mean of a clip that grows. Samples a second, memory and ratios; the last line on stdout is one JSON document, also
stored. Exit status: 0, 1 if a writer failed, 2 for bad arguments.
"""

import contextlib
import pathlib
import sys

import harness
from timing import summarize

SIDE = pathlib.Path(__file__).with_name("waves_side.py")
RESULT = pathlib.Path(__file__).parent / "results" / "waves.json"
SIZES = {
    "wavenet_mulaw": {
        "variant": "wavenet_mulaw", "kzoo": {}, "sample_rate": 22050,
        "r9y9": {
            "out_channels": 256, "layers": 30, "stacks": 3, "residual_channels": 128, "gate_channels": 256,
            "skip_out_channels": 128, "kernel_size": 3, "cin_channels": 80, "upsample_conditional_features": True,
            "upsample_params": {"upsample_scales": [4, 4, 4, 4], "cin_channels": 80, "cin_pad": 2},
        },
    },
    "wavenet_small": {
        "variant": "wavenet_small", "kzoo": {}, "sample_rate": 8000, "speakers": 10,
        "r9y9": {
            "out_channels": 256, "layers": 16, "stacks": 2, "residual_channels": 32, "gate_channels": 64,
            "skip_out_channels": 64, "kernel_size": 2, "gin_channels": 16, "n_speakers": 10,
            "use_speaker_embedding": True,
        },
    },
}  # fmt: skip
SIDES = ("queues", "naive", "r9y9")


def run(options):
    """The whole comparison as a document."""
    rows = {}
    document = harness.begin("waves", ("torch",), rounds=options.rounds, seconds=options.seconds, rows=rows)
    with contextlib.ExitStack() as stack:
        children = {}
        for name, sizes in SIZES.items():
            for side in SIDES:
                # torch's loop takes as long for each sample, however many there are.
                seconds = options.seconds / 64 if side == "r9y9" else options.seconds
                job = {"side": side, "sizes": sizes, "count": int(seconds * sizes["sample_rate"])}
                python = options.python if side == "r9y9" else sys.executable
                child = harness.Child(SIDE, job, options.timeout, side == "r9y9", python)
                children[name, side] = stack.enter_context(child)
                rows[f"{name} {side}"] = {"turns": [], **renamed(child.answer())}
        for _ in range(options.rounds):
            for (name, side), child in children.items():
                row = rows[f"{name} {side}"]
                if "error" not in row:
                    answer = child.ask("go")
                    row.update({"error": answer["error"]} if "error" in answer else {})
                    row["turns"] += [answer] if "error" not in answer else []
    finish(rows)
    return document


def renamed(answer):
    """The first answer of a side, or what went wrong."""
    return answer if "error" in answer else {"first_call_seconds": answer["seconds"]}


def finish(rows):
    """Adds speeds, memory, and how many times as fast the queues are."""
    for row in rows.values():
        turns = row.pop("turns")
        if turns:
            times = summarize([turn["seconds"] / turn["count"] for turn in turns])
            row["samples_per_second"] = {"best": 1 / times["min"], "median": 1 / times["median"]}
            row["peak_bytes"] = max(turn["peak_bytes"] for turn in turns)
    for name in SIZES:
        mine = rows[f"{name} queues"].get("samples_per_second")
        for side in SIDES[1:]:
            row = rows[f"{name} {side}"]
            if mine and "samples_per_second" in row:
                row["queues_times"] = {key: mine[key] / row["samples_per_second"][key] for key in mine}


def show(rows):
    """The rows as lines for people, on stderr."""
    for name, row in rows.items():
        if "error" in row:
            harness.say(f"{name:24} failed: {row['error']}")
            continue
        speed, ratio = row["samples_per_second"], row.get("queues_times")
        told = f"  queues are {ratio['best']:.1f} (median {ratio['median']:.1f}) times as fast" if ratio else ""
        told = f"{name:24} {speed['best']:10.1f} samples/s, {row['peak_bytes'] / 1e6:6.0f} MB{told}"
        harness.say(told)


def main():
    parser = harness.OneLineParser(__doc__)
    parser.add_argument("--rounds", type=harness.positive(int), default=5, help="turns of every writer (5)")
    parser.add_argument("--seconds", type=harness.positive(float), default=1.0, help="of sound in each turn (1)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of r9y9's side")
    parser.add_argument("--timeout", type=harness.positive(float), default=600.0, help="seconds for one answer (600)")
    parser.add_argument("--output", type=pathlib.Path, default=RESULT, help="JSON file to store the result in")
    options = parser.parse(None)
    document = run(options)
    show(document["rows"])
    return int(harness.store_and_tell(document, options.output, document["rows"].values()) > 0)


if __name__ == "__main__":
    sys.exit(main())

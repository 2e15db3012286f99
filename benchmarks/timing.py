"""Timing a step: rounds under one clock each, and what to say of them. Standard library only."""

import pathlib
import resource
import statistics
import sys
import time

MIN_ROUNDS = 3
ROUNDS_PER_BUDGET = 20
# a training step does the forward product, the gradient of its input and the gradient of its weights
MACS_PER_FORWARD_MAC = {"infer": 1, "train": 3}


def summarize(samples):
    """Median, smallest and quartile spread (75 % minus 25 %, linear between samples) of positive times.

    Returns a dict `median`, `min`, `spread`, `num_samples` in the samples' unit; ValueError without samples.
    """
    if not samples:
        raise ValueError("samples is empty; pass at least one time")
    lower, _, upper = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else samples * 3
    return {
        "median": statistics.median(samples),
        "min": min(samples),
        "spread": upper - lower,
        "num_samples": len(samples),
    }


def time_rounds(step, wait, seconds, clock=time.perf_counter):
    """Times `step` for about `seconds`, after two calls outside the clock.

    A round is as many calls as fill a twentieth of the budget, then one `wait(result)`: a device that works in the
    background is kept busy within a round and has finished when the clock stops.

    Returns (seconds per call of every round, calls per round); at least three rounds, however long they take.
    """
    wait(step())
    start = clock()
    wait(step())
    estimate = max(clock() - start, 1e-9)
    calls_per_round = max(1, int(seconds / ROUNDS_PER_BUDGET / estimate))
    samples, spent = [], 0.0
    while spent < seconds or len(samples) < MIN_ROUNDS:
        start = clock()
        for _ in range(calls_per_round):
            result = step()
        wait(result)
        elapsed = clock() - start
        samples.append(elapsed / calls_per_round)
        spent += elapsed
    return samples, calls_per_round


def peak_memory_bytes():
    """The largest resident memory this process has had.

    On Linux from /proc, because `ru_maxrss` there starts at what the parent had when it forked.
    """
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

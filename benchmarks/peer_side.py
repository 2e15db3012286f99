"""One side of `peers.py`, in this process: builds its model, shows its outputs, then runs once for every line it reads.

The argument is a JSON request. Every answer is one JSON line; what goes wrong is an answer `{"error": ...}` too.
"""

import json
import os
import pathlib
import sys
import time

import failures
import timing

TURN_SECONDS = 0.3  # a turn of a quick model has many calls, of a slow one a single call


def prepare(request):
    """Weights, kzoo's own outputs, which the others must give, and its multiply-accumulates an example."""
    import numpy as np
    import peer_models

    peer_models.write_weights(request["work"], request["folder"])
    peer = peer_models.kzoo_side(request["work"], request["folder"])
    outputs = peer.infer(peer_models.make_inputs(request["work"], request["batch_size"]))
    np.save(pathlib.Path(request["folder"]) / "outputs.npy", outputs)
    return {"shape": list(outputs.shape), "macs": peer_models.count_macs(request["work"])}


def compare(peer, request):
    """How far the first outputs are from kzoo's, as a share of their largest value; None with other weights."""
    import numpy as np
    import peer_models

    outputs = peer.infer(peer_models.make_inputs(request["work"], request["batch_size"]))
    wanted = np.load(pathlib.Path(request["folder"]) / "outputs.npy")
    if not peer.same_weights:
        return None
    if outputs.shape != wanted.shape:
        raise ValueError(f"outputs have shape {outputs.shape}, kzoo's {wanted.shape}")
    difference = float(np.abs(outputs.astype("float64") - wanted).max() / np.abs(wanted).max())
    if peer.is_exact and not difference <= peer_models.TOLERANCE:
        raise ValueError(f"outputs differ from kzoo's by {difference:.2g} of their largest; not timed")
    return difference


def turn(call, inputs):
    """Seconds of every call of one turn."""
    seconds, begin = [], time.perf_counter()
    while not seconds or time.perf_counter() - begin < TURN_SECONDS:
        start = time.perf_counter()
        call(inputs)
        seconds.append(time.perf_counter() - start)
    return seconds


def serve(request, answer, lines):
    """Builds, compares, and takes turns until the lines end."""
    import peer_models

    build, *_ = peer_models.SIDES[request["side"]]
    peer = build(request["work"], request["folder"])
    if request["mode"] == "train" and peer.train is None:
        raise peer_models.Unable("runs inference only")
    difference = compare(peer, request)
    call = peer.infer if request["mode"] == "infer" else peer.train
    inputs = {size: peer_models.make_inputs(request["work"], size) for size in request["batch_sizes"]}
    if request["mode"] == "train":
        call(inputs[request["batch_sizes"][0]])
    first = time.time() - request["started"]
    for batch in inputs.values():  # compiled for every batch size before any clock starts
        call(batch)
        call(batch)
    answer({"max_difference": difference, "note": peer.note, "first_call_seconds": first})
    for line in lines:
        batch_size = json.loads(line)["batch_size"]
        answer({"seconds": turn(call, inputs[batch_size]), "peak_memory_bytes": timing.peak_memory_bytes()})


def main():
    request = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(value):
        print(json.dumps(value), file=answers, flush=True)

    try:
        if request["side"] == "prepare":
            answer(prepare(request))
        else:
            serve(request, answer, sys.stdin)
    except Exception as error:  # every failure is a row of the table
        import peer_models

        if isinstance(error, peer_models.Unable):
            answer({"absent": str(error)})
        else:
            answer({"error": failures.in_one_line(error)})


if __name__ == "__main__":
    main()

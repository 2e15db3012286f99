"""One writer of `waves.py`, in this process: builds its network, then writes once for every line "go".

Answers each line with one JSON line on standard output: seconds, how many samples, and the most memory that the process
has held. The first answer comes unasked: seconds until ready, the first (compiling) call included.
"""

import json
import resource
import sys
import time

FRAMES = 4  # of context, at both ends together


def kzoo_model(sizes):
    import keras

    import kzoo

    keras.utils.set_random_seed(0)
    return kzoo.build(sizes["variant"], **sizes["kzoo"])


def kzoo_conditions(sizes, count):
    import numpy as np

    if "speakers" in sizes:
        return {"speaker": np.array([3], "int32")}
    frames = -(-count // 256) + FRAMES
    return {"mel": np.random.default_rng(0).standard_normal((1, frames, 80)).astype("float32")}


def kzoo_writer(sizes, count):
    import kzoo

    model, given = kzoo_model(sizes), kzoo_conditions(sizes, count)
    if "mel" in given:
        return lambda: len(kzoo.generate(model, mel=given["mel"][0]))
    return lambda: len(kzoo.generate(model, seconds=count / sizes["sample_rate"], speaker=3))


def naive_writer(sizes, count, steps=2):
    """The whole network over all `count` samples, for each of the last few: what every sample of a clip costs without
    queues once the clip is that long. The mean over a clip that grows from nothing is about half of it."""
    import keras
    import numpy as np
    import tensorflow as tf

    model, given = kzoo_model(sizes), kzoo_conditions(sizes, count)
    last = tf.function(lambda x: keras.ops.softmax(model(x, training=False)[:, -1]))
    x = {"waveform": np.zeros((1, count), "float32"), **given}
    x = {name: tf.constant(value) for name, value in x.items()}

    def write():
        for _ in range(steps):
            last(x).numpy()
        return 2 * steps

    return write


def r9y9_writer(sizes, count):
    """r9y9's `incremental_forward`, weight norm removed."""
    import torch
    from wavenet_vocoder.wavenet import WaveNet

    torch.manual_seed(0)
    model = WaveNet(dropout=0.0, **sizes["r9y9"]).eval()
    model.make_generation_fast_()
    c = torch.randn(1, 80, -(-count // 256) + FRAMES) if "speakers" not in sizes else None
    g = torch.tensor([[3]]) if "speakers" in sizes else None
    length = count if c is None else (c.shape[-1] - FRAMES) * 256

    @torch.no_grad()
    def write():
        return model.incremental_forward(c=c, g=g, T=length).shape[-1]

    return write


WRITERS = {"queues": kzoo_writer, "naive": naive_writer, "r9y9": r9y9_writer}


def main():
    job = json.loads(sys.argv[1])
    begin = time.perf_counter()
    write = WRITERS[job["side"]](job["sizes"], job["count"])
    write()
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds}), flush=True)
    for _ in sys.stdin:
        begin = time.perf_counter()
        count = write()
        seconds = time.perf_counter() - begin
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": seconds, "count": count, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main()

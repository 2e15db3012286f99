"""One side of `speech.py`, in this process: builds its model, shows its logits, then runs once for every line it reads.

The argument is a JSON request. Every answer is one JSON line; what goes wrong is an answer `{"error": ...}` too.
"""

import json
import os
import pathlib
import sys
import time

import failures
import numpy as np
import peer_models
import timing

RATE, MATRIX = 16000, 2048
TURN_SECONDS = 0.3
TOLERANCE = 1e-3  # of the largest logit


def make_inputs(batch_size, num_samples):
    """Noise whose loudness and colour change over a clip; a batch begins with the clips of a smaller one."""
    clips = []
    for index in range(batch_size):
        random = np.random.default_rng(index)
        noise = np.convolve(random.standard_normal(num_samples), random.random(8) / 8, "same")
        clips.append(noise * (0.2 + 0.2 * np.sin(np.arange(num_samples) / random.uniform(1000, 4000))))
    return {"waveform": np.float32(clips).clip(-1, 1), "num_samples": np.full(batch_size, num_samples, "int32")}


def prepare(request):
    """Weights, kzoo's logits of the largest batch, and the tables of the front end."""
    import keras

    import kzoo
    from kzoo.layers import spectra

    folder, work = pathlib.Path(request["folder"]), request["work"]
    keras.utils.set_random_seed(0)
    model = kzoo.build(work)
    peer_models.stir(model)
    kzoo.save_weights(model, folder / peer_models.WEIGHTS)
    filters, cosines = spectra.mel_filterbank(40, 512, RATE), spectra.cosine_basis(40, 26)
    np.savez(folder / "tables.npz", filters=np.float32(filters), cosines=np.float32(cosines))
    inputs = make_inputs(max(request["batch_sizes"]), request["num_samples"])
    np.save(folder / "logits.npy", np.asarray(model.predict_on_batch(inputs)))
    return {"macs": kzoo.info(model, length=request["num_samples"])["macs"]}


def kzoo_caller(request):
    """`predict_on_batch`, or `kzoo.fast` with one program for every batch size."""
    import kzoo

    model = kzoo.build(request["work"], pathlib.Path(request["folder"]) / peer_models.WEIGHTS)
    if request["runtime"] is None:
        return lambda inputs: np.asarray(model.predict_on_batch(inputs))
    is_int8, programs = request["precision"] == "int8", {}
    for batch_size in request["batch_sizes"]:
        programs[batch_size] = kzoo.fast(
            model, batch_size, request["precision"], request["runtime"], length=request["num_samples"],
            calibration=make_inputs(8, request["num_samples"]) if is_int8 else None,
        )  # fmt: skip
    return lambda inputs: programs[len(inputs["waveform"])](inputs)


def log_probabilities(logits):
    logits = logits.astype("float64")
    return logits - np.logaddexp.reduce(logits, -1, keepdims=True)


def compare(found, request):
    """How far the logits of the largest batch are from kzoo's, and for how many frames the best label is another."""
    wanted = np.load(pathlib.Path(request["folder"]) / "logits.npy")
    if request["gives_probabilities"]:
        wanted = log_probabilities(wanted)
    if found.shape != wanted.shape:
        raise ValueError(f"logits have shape {found.shape}, kzoo's {wanted.shape}")
    difference = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if request["precision"] == "float32" and not difference <= TOLERANCE:
        raise ValueError(f"logits differ from kzoo's by {difference:.2g} of their largest; not timed")
    changed = float((found.argmax(-1) != wanted.argmax(-1)).mean())
    return {"max_difference": difference, "share_of_labels_changed": changed}


def turn(call):
    """Seconds of the clock and of the processor of every call of one turn."""
    seconds, processor, begin = [], [], time.perf_counter()
    while not seconds or time.perf_counter() - begin < TURN_SECONDS:
        start, busy = time.perf_counter(), time.process_time()
        call()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    return {"seconds": seconds, "processor_seconds": processor}


def product_of(side):
    """One product of square matrices of float32."""
    if side.startswith("torch"):
        import speech_torch

        return speech_torch.product(MATRIX)
    import tensorflow as tf

    x = tf.random.normal((MATRIX, MATRIX))
    multiply = tf.function(lambda: tf.matmul(x, x))
    return lambda: multiply().numpy()


def calls_of(request):
    """{batch size: a function that runs once}, and what the comparison found."""
    if request["work"] == "matrix_product":
        return {1: product_of(request["side"])}, {}
    if request["side"].startswith("torch"):
        import speech_torch

        call = speech_torch.caller(request["work"], request["folder"], request["side"] == "torch_compiled")
    else:
        call = kzoo_caller(request)
    batches = {size: make_inputs(size, request["num_samples"]) for size in request["batch_sizes"]}
    found = compare(call(batches[max(batches)]), request)
    return {size: lambda batch=batch: call(batch) for size, batch in batches.items()}, found


def serve(request, answer, lines):
    calls, found = calls_of(request)
    for call in calls.values():  # compiled for every batch size before any clock starts
        call()
        call()
    answer({**found, "ready_seconds": time.time() - request["started"]})
    for line in lines:
        answer({**turn(calls[json.loads(line)["batch_size"]]), "peak_memory_bytes": timing.peak_memory_bytes()})


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
        answer({"error": failures.in_one_line(error)})


if __name__ == "__main__":
    main()

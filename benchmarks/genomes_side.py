"""One side of `genomes.py`, in this process: reads the same nucleotides once for every line "go".

Answers each line with one JSON line on standard output. The first answer comes unasked, when all is ready.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "scripts" / "golden"))
REACH = 5000
SITES = {"IE": (1, 30), "EI": (2, 29)}  # of a junction in the middle of 60: the class of its site, and where that is


def authors(file):
    """The authors' graph, from ids (batch, length) to probabilities as their package gives them."""
    import keras
    import numpy as np

    model = keras.models.load_model(file, compile=False)

    def run(ids):
        around = np.eye(5, dtype="float32")[np.pad(ids, ((0, 0), (REACH, REACH)))][..., 1:]
        return model.predict(around, verbose=0)

    return run


def ours(file):
    """SpliceAI with the weights of the file."""
    import tempfile

    import safetensors.numpy
    import spliceai_files

    import kzoo

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "weights.safetensors"
        safetensors.numpy.save_file(spliceai_files.tensors(file), path)
        return kzoo.build("spliceai", path)


def of_side(job):
    """A function from ids to outputs."""
    import numpy as np

    import kzoo

    if job["side"] == "authors":
        return authors(job["file"]), {}
    model = ours(job["file"])
    if job["side"] == "keras":
        return model.predict_on_batch, {}
    runtime, _, precision = job["side"].partition(" ")
    how = {"precision": precision or "float32"}
    if precision:
        how["calibration"] = np.random.default_rng(1).integers(1, 5, (4, job["length"])).astype("int32")
    fast = kzoo.fast(model, batch_size=1, runtime=runtime, length=job["length"], **how)
    return fast, {key: float(fast.report[key]) for key in ("max_difference", "scale")}


def marked(job):
    """Where both say that the sites of junctions are, and what `splice_junctions` says."""
    import numpy as np
    import tensorflow_datasets as tfds

    import kzoo
    from kzoo.data.genomes import alphabet

    theirs, model, rows = authors(job["file"]), ours(job["file"]), []
    builder = tfds.builder("splice_junctions")
    names = builder.info.features["label"].names
    for split in ("validation", "test"):
        for row in builder.as_dataset(split=split).as_numpy_iterator():
            ids = alphabet.encode("", row["sequence"].decode(), "ACGT")[0][None].astype("int32")
            rows.append((names[row["label"]], ids, theirs(ids)[0], kzoo.predict(model, ids)[0]))
    found = {"num_sequences": len(rows), "largest_difference": float(max(np.abs(a - b).max() for *_, a, b in rows))}
    for side, place in (("authors", 2), ("kzoo", 3)):
        for name, (which, at) in SITES.items():
            best = [row[place][:, which].argmax() == at for row in rows if row[0] == name]
            found[f"{side}_{name}_at_the_site"] = [int(sum(best)), len(best)]
    chances = {name: np.array([row[3][at, which] for row in rows]) for name, (which, at) in SITES.items()}
    truth = np.array([row[0] for row in rows])

    def right(threshold, part):
        best = np.where(chances["IE"] > chances["EI"], "IE", "EI")
        best = np.where(np.maximum(chances["IE"], chances["EI"]) > threshold, best, "N")
        return float((best == truth)[part].mean())

    # the threshold that is best on validation, 297 of the sequences, is used on test
    split = slice(0, 297), slice(297, None)
    threshold = max(np.geomspace(1e-4, 0.9, 60), key=lambda one: right(one, split[0]))
    return {**found, "threshold": float(threshold), "test_accuracy_percent": 100 * right(threshold, split[1])}


def main():
    job = json.loads(sys.argv[1])
    if job["side"] == "sites":
        print(json.dumps(marked(job)), flush=True)
        return
    import numpy as np

    run, facts = of_side(job)
    ids = np.random.default_rng(0).integers(1, 5, (1, job["length"])).astype("int32")
    run(ids)
    print(json.dumps(facts), flush=True)
    for _ in sys.stdin:
        begin, busy = time.perf_counter(), time.process_time()
        run(ids)
        seconds = {"seconds": time.perf_counter() - begin, "processor_seconds": time.process_time() - busy}
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()

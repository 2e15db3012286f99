"""One repetition of one side of `fit_versus_document.py`, in this process; the last line on stdout is its JSON."""

import json
import os
import pathlib
import sys
import time

import failures
import numpy as np


def prepare(folder, images, **_):
    """Writes uint8 images and labels as .npy: MNIST where TFDS has it prepared, else the embedded digits, repeated."""
    data_dir = pathlib.Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    if (data_dir / "mnist").is_dir():
        import tensorflow_datasets as tfds

        x, y = tfds.as_numpy(
            tfds.load("mnist", split="train", data_dir=data_dir, download=False, batch_size=-1, as_supervised=True)
        )
        source = "MNIST's training images"
    else:
        from kzoo.data.sources.digits import read_digits

        x, y = read_digits()
        order = np.random.default_rng(0).permutation(len(x))  # the table is sorted by class
        x, y, source = x[order], y[order], "the 5,000 embedded digits (no prepared MNIST in TFDS_DATA_DIR)"
    if images > len(x):
        source += ", repeated"
    rows = np.arange(images) % len(x)
    np.save(pathlib.Path(folder) / "x.npy", x[rows])
    np.save(pathlib.Path(folder) / "y.npy", y[rows].astype("int32"))
    return {"source": source, "images": images}


class Clock:
    """Time since it was made: on the wall, and of the processor over all threads of this process."""

    def __init__(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self):
        return {"fit_seconds": time.perf_counter() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


def time_document(x, y, epochs, **_):
    """The script as the document has it; only a clock hangs on the ends of epochs."""
    import keras
    from keras import layers, models

    train_images, train_labels = x.astype("float32") / 255, y
    model = models.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    ends = []
    note_end = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    start, clock = time.perf_counter(), Clock()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(train_images, train_labels, epochs=epochs, batch_size=64, callbacks=[note_end])
    clock = clock.read()
    last = {key: values[-1] for key, values in history.history.items()}
    return clock, np.diff([start, *ends]).tolist(), last


def time_kzoo(x, y, epochs, folder):
    """The same images through `kzoo.fit` with a run folder, so that backups are part of the price."""
    import shutil

    import kzoo

    model = kzoo.build("mnist_cnn")
    data = kzoo.data.from_arrays(x, y, model, batch_size=64, validation_fraction=0)
    run_folder = pathlib.Path(folder) / "run"
    clock = Clock()
    run = kzoo.fit(model, data, run_folder, epochs=epochs, batch_size=64)
    clock = clock.read()
    shutil.rmtree(run_folder)
    return clock, [row["seconds"] for row in run.history], run.history[-1]


SIDES = {"document": time_document, "kzoo": time_kzoo}


def measure(side, folder, epochs):
    x, y = (np.load(pathlib.Path(folder) / f"{name}.npy") for name in "xy")
    clock, epoch_seconds, last = SIDES[side](x, y, epochs, folder=folder)
    result = {**clock, "epoch_seconds": epoch_seconds}
    return result | {key: float(last[key]) for key in ("loss", "accuracy")}


def main():
    job = json.loads(sys.argv[1])
    try:
        result = prepare(**job) if job["side"] == "prepare" else measure(**job)
    except Exception as error:  # the parent reports it and goes on with the next repetition
        result = {"error": failures.in_one_line(error)}
    print(f"\n{json.dumps(result)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

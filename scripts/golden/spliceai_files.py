"""The authors' Keras files as tensors under kzoo's names; kzoo ships none of them (their licence is CC BY-NC 4.0)."""

import importlib.util
import pathlib

import h5py
import numpy as np

NAMES = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var",
}  # fmt: skip


def tensors(path):
    """{name: array} of an .h5 file of Keras 2, convolutions turned from (size, inputs, outputs) to torch's order."""
    found = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            layer, variable = name.split("/")[-2:]
            kind, array = variable.partition(":")[0], item[()]
            array = array.transpose(2, 1, 0) if kind == "kernel" else array
            found[f"{layer}.{NAMES[kind]}"] = np.ascontiguousarray(array)

    with h5py.File(path) as file:
        file["model_weights"].visititems(take)
    return found


def installed():
    """The five files of the package `spliceai`, where it is installed; it is not imported."""
    spec = importlib.util.find_spec("spliceai")
    folders = spec.submodule_search_locations if spec else []
    return sorted(file for folder in folders for file in pathlib.Path(folder).glob("models/*.h5"))

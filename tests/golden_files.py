"""Golden files of models with several inputs: weights, `input.<name>` and `output.<reference>[.<name>]`."""

import pathlib

import keras
import safetensors.numpy

GOLDEN = pathlib.Path(__file__).with_name("golden")


def golden(file):
    """The reference's tensors, the inputs by name and the outputs by reference and name."""
    tensors = safetensors.numpy.load_file(GOLDEN / f"{file}.safetensors")
    inputs = {name.removeprefix("input."): tensors.pop(name) for name in list(tensors) if name.startswith("input.")}
    outputs = {name.removeprefix("output."): tensors.pop(name) for name in list(tensors) if name.startswith("output.")}
    return tensors, inputs, outputs


def write(tensors, folder):
    """The tensors as a checkpoint; its path."""
    safetensors.numpy.save_file(tensors, folder / "reference.safetensors")
    return folder / "reference.safetensors"


def run(model, inputs):
    """Outputs as arrays; inputs that the model does not take are left out."""
    taken = {tensor.name: inputs[tensor.name] for tensor in model.inputs}
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(taken, training=False))

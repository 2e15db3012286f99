"""Golden files and what is compared with them.

Those of models with several inputs hold weights, `input.<name>` and `output.<reference>[.<name>]`; those of image
networks hold outputs by image size alone, since both sides draw weights and images alike.
"""

import pathlib

import keras
import numpy as np
import safetensors.numpy
from backends import outputs_of
from seeded_weights import draw_images, draw_weights, load_drawn_weights, reference_shapes

import kzoo

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
    taken = taken if len(taken) > 1 else next(iter(taken.values()))
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(taken, training=False))


def outputs(model, x):
    """Outputs as one array; those of auxiliary heads are stacked behind the classifier's."""
    found = outputs_of(model, x)
    return np.stack(found) if isinstance(found, list) else found


def assert_close(got, wanted, tolerance=1e-5):
    """Every difference is within a share of the largest wanted value."""
    got = keras.ops.convert_to_numpy(got)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def compare_drawn(folder, file, name, overrides, scale=1):
    """(ours, the reference's) at every image size of a golden file that holds outputs alone; weights are drawn."""
    weights = None
    for size, wanted in safetensors.numpy.load_file(GOLDEN / f"torchvision_{file}.safetensors").items():
        height, width = map(int, size.split("x"))
        model = kzoo.build(name, input_shape=(height, width, 3), **overrides)
        if weights is None:
            weights = load_drawn_weights(model, folder).get_weights()
        model.set_weights(weights)
        yield outputs(model, draw_images(height, width) * np.float32(scale)), wanted


def assert_writes_what_it_read(model, folder):
    """Weights drawn by the reference's names go out under these names as they came in."""
    load_drawn_weights(model, folder)
    kzoo.save_weights(model, folder / "written.safetensors")
    drawn, written = draw_weights(reference_shapes(model)), safetensors.numpy.load_file(folder / "written.safetensors")
    assert written.keys() == drawn.keys()
    for key, value in drawn.items():
        np.testing.assert_array_equal(written[key], value, err_msg=key)


def assert_open_size_is_every_size(name, folder, least, overrides):
    """One graph for all image sizes gives what a graph of that size gives."""
    open_size = load_drawn_weights(kzoo.build(name, input_shape=(None, None, 3), **overrides), folder)
    for height, width in ((least, least + 3), (least + 38, least + 14)):
        fixed = kzoo.build(name, input_shape=(height, width, 3), **overrides)
        fixed.set_weights(open_size.get_weights())
        x = draw_images(height, width)
        assert_close(outputs(open_size, x), outputs(fixed, x))

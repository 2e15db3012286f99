"""Every layer class of the table of layouts against torch, both ways (scripts/golden/layouts.py)."""

import pathlib

import keras
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from keras import layers

import kzoo
from kzoo.weights import files, layouts

GOLDEN = safetensors.numpy.load_file(pathlib.Path(__file__).with_name("golden") / "layouts.safetensors")


def both_ways(cell):
    return [layers.Bidirectional(cell(4, return_sequences=True), name=f"rnn.l{index}") for index in range(2)]


LAYERS = {
    "linear": [layers.Dense(4, name="layer")],
    "conv1d": [layers.Conv1D(4, 3, strides=2, name="layer")],
    "conv2d": [layers.Conv2D(6, (3, 2), groups=2, name="layer")],
    "conv3d": [layers.Conv3D(3, (3, 2, 1), name="layer")],
    "conv1d_transpose": [layers.Conv1DTranspose(4, 4, strides=2, name="layer")],
    "conv2d_transpose": [layers.Conv2DTranspose(4, (3, 4), strides=(2, 1), name="layer")],
    "conv3d_transpose": [layers.Conv3DTranspose(3, (3, 2, 2), strides=2, name="layer")],
    "depthwise_conv1d": [layers.DepthwiseConv1D(3, depth_multiplier=2, name="layer")],
    "depthwise_conv2d": [layers.DepthwiseConv2D((3, 2), depth_multiplier=2, name="layer")],
    "separable_conv1d": [layers.SeparableConv1D(4, 3, depth_multiplier=2, name="layer")],
    "separable_conv2d": [layers.SeparableConv2D(4, 3, depth_multiplier=2, name="layer")],
    "layer_norm": [layers.LayerNormalization(epsilon=1e-5, name="layer")],
    "rms_norm": [layers.RMSNormalization(epsilon=1e-6, name="layer")],
    "group_norm": [layers.GroupNormalization(2, epsilon=1e-5, name="layer")],
    "batch_norm": [layers.BatchNormalization(epsilon=1e-5, name="layer")],
    "embedding": [layers.Embedding(7, 3, name="layer")],
    "lstm_without_bias": [layers.LSTM(4, use_bias=False, return_sequences=True, name="rnn.l0")],
    "lstm_both_ways": both_ways(layers.LSTM),
    "gru_both_ways": both_ways(layers.GRU),
    "simple_both_ways": both_ways(layers.SimpleRNN),
}


def of(case):
    """The torch module's tensors, its input and its output."""
    tensors = {key.partition("/")[2]: value for key, value in GOLDEN.items() if key.startswith(f"{case}/")}
    return tensors, tensors.pop("input"), tensors.pop("output")


def model_of(case):
    _, x, _ = of(case)
    inputs = outputs = keras.Input(x.shape[1:], dtype=x.dtype.name)
    for layer in LAYERS[case]:
        outputs = type(layer).from_config(layer.get_config())(outputs)
    return keras.Model(inputs, outputs, name=case)


@pytest.mark.parametrize("case", LAYERS)
def test_reads_what_torch_wrote_and_computes_the_same(case, tmp_path):
    tensors, x, wanted = of(case)
    safetensors.numpy.save_file(tensors, tmp_path / "torch.safetensors")
    model = model_of(case)
    kzoo.load_weights(model, tmp_path / "torch.safetensors")
    got = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("case", LAYERS)
def test_writes_back_what_it_read(case, tmp_path):
    """Byte by byte, but for two biases of torch's that are one in Keras: their sum and zeros."""
    tensors, _, _ = of(case)
    safetensors.numpy.save_file(tensors, tmp_path / "torch.safetensors")
    model = model_of(case)
    kzoo.load_weights(model, tmp_path / "torch.safetensors")
    kzoo.save_weights(model, tmp_path / "ours.safetensors")
    ours = safetensors.numpy.load_file(tmp_path / "ours.safetensors")
    assert ours.keys() == tensors.keys()
    for name, value in ours.items():
        wanted = tensors[name]
        if "bias" in name and case in ("lstm_both_ways", "simple_both_ways"):
            total = wanted + tensors[name.replace("bias_ih", "bias_hh")]
            wanted = total if "bias_ih" in name else np.zeros_like(value)
        assert value.tobytes() == wanted.tobytes() and value.shape == wanted.shape, name


def test_every_class_of_the_table_is_compared():
    compared = {type(getattr(layer, "forward_layer", layer)) for row in LAYERS.values() for layer in row}
    assert compared | {layers.LSTM} == set(layouts.TENSORS)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_two_biases_of_16_bits_are_added_in_the_precision_of_the_variable(dtype, tmp_path):
    tensors, _, _ = of("lstm_both_ways")
    short = {key: value.astype(np.dtype(dtype)) for key, value in tensors.items()}
    files.write(tmp_path / "short.safetensors", short, {})
    model = model_of("lstm_both_ways")
    kzoo.load_weights(model, tmp_path / "short.safetensors")
    first, second = (short[f"rnn.bias_{part}_l0"].astype("float32") for part in ("ih", "hh"))
    got = keras.ops.convert_to_numpy(model.get_layer("rnn.l0").forward_layer.cell.bias)
    np.testing.assert_array_equal(got, first + second)
    assert np.any(got != (first + second).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype))


def test_a_layer_in_half_precision_takes_a_file_in_full(tmp_path):
    tensors, _, _ = of("lstm_both_ways")
    tensors = {key: value for key, value in tensors.items() if key.endswith("_l0")}
    safetensors.numpy.save_file(tensors, tmp_path / "full.safetensors")
    x = keras.Input((6, 3))
    lstm = layers.LSTM(4, dtype="float16", name="rnn.l0")
    kzoo.load_weights(keras.Model(x, lstm(x)), tmp_path / "full.safetensors")
    first, second = (tensors[f"rnn.bias_{part}_l0"].astype("float16") for part in ("ih", "hh"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(lstm.cell.bias), first + second)


def slots_of(layer, shape):
    x = keras.Input(shape)
    return layouts.find_slots(keras.Model(x, layer(x), name="own"))


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (layers.EinsumDense("abc,cd->abd", (None, 4), name="mix"), (5, 3), "layer mix is of class EinsumDense.*kernel"),
        (layers.GRU(4, reset_after=False, name="rnn.l0"), (5, 3), "layer rnn.l0 is of class GRU"),
        (layers.PReLU(name="slope"), (5, 3), r".*alpha. Give the class TENSORS = \{'alpha': \('weight', 'same'\)\}"),
        (layers.TimeDistributed(layers.Dense(2), name="each"), (5, 3), "layer each is of class TimeDistributed"),
    ],
)
def test_a_class_that_no_table_knows_is_an_error_that_names_it(layer, shape, words):
    with pytest.raises(ValueError, match=f"own: {words}"):
        slots_of(layer, shape)


def test_a_weight_beyond_those_of_its_class_is_an_error():
    dense = layers.Dense(4, name="dense")
    x = keras.Input((3,))
    model = keras.Model(x, dense(x), name="own")
    dense.enable_lora(2)
    with pytest.raises(ValueError, match="hold its _kernel, lora_kernel_a, lora_kernel_b"):
        layouts.find_slots(model)


def test_a_class_of_ones_own_says_what_its_tensors_are():
    class Scale(layers.Layer):
        TENSORS = {"factors": ("gain", "row")}

        def build(self, input_shape):
            self.factors = self.add_weight((input_shape[-1],), name="factors")

        def call(self, inputs):
            return inputs * self.factors

    (slot,) = slots_of(Scale(name="scale"), (5, 3))
    assert (slot.names, slot.shapes) == (["scale.gain"], [(1, 3)])


def test_exceptions_of_a_model_file_change_the_variables_that_they_name():
    gpt = {"kernel": ("{}_matrix", "same")}
    layer = layers.Dense(4, name="h.0.c_fc")
    assert layouts.tensors_of(layer, {"c_fc": gpt}) == {**gpt, "bias": ("bias", "same")}
    assert layouts.tensors_of(layer, {"fc": gpt}) == layouts.KERNEL

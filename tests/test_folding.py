import keras
import numpy as np
import pytest
from keras import layers

import kzoo
from kzoo.catalog import update_card
from kzoo.rewrites.folding import fold_batch_norm

RANDOM = np.random.default_rng(0)


def randomise(model):
    """Statistics, factors and offsets as training leaves them, so that folding them wrongly shows."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for variable in layer.variables:
                drawn = RANDOM.uniform(0.5, 1.5, variable.shape)
                variable.assign(drawn if variable.path.endswith(("gamma", "variance")) else drawn - 1.0)
        elif getattr(layer, "bias", None) is not None:
            layer.bias.assign(RANDOM.uniform(-0.5, 0.5, layer.bias.shape))
    return model


def largest_difference(model, other, shape, batch_size=2):
    x = RANDOM.standard_normal((batch_size, *shape)).astype("float32")
    ours, theirs = (keras.tree.flatten(m(x, training=False)) for m in (model, other))
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(a)).max())
        for a, b in zip(ours, theirs, strict=True)
    )


def count(model, kind):
    return sum(type(layer) is kind for layer in model.layers)


# name -> keywords, layers removed, batch norms that stay, paddings that stay
ZOO = {
    "resnet18": ({"input_shape": (64, 64, 3)}, 20, 0, 5),
    "resnet20": ({"input_shape": (32, 32, 3)}, 19, 0, 4),
    "vgg16_bn": ({"input_shape": (32, 32, 3), "hidden_dim": 16, "filters": (4, 8, 8, 8, 8)}, 13, 0, 0),
    "densenet121": ({"input_shape": (32, 32, 3)}, 59, 62, 2),
    "googlenet": ({"input_shape": (64, 64, 3), "auxiliary": True, "width_multiplier": 0.25}, 59, 0, 4),
}


@pytest.mark.parametrize("name", ZOO)
def test_models_of_the_catalogue(name):
    overrides, num_removed, num_norms, num_pads = ZOO[name]
    model = randomise(kzoo.build(name, **overrides))
    before = [value.copy() for value in model.get_weights()]
    folded = fold_batch_norm(model)
    assert len(model.layers) - len(folded.layers) == num_removed
    assert (count(folded, layers.BatchNormalization), count(folded, layers.ZeroPadding2D)) == (num_norms, num_pads)
    assert largest_difference(model, folded, overrides["input_shape"]) < 1e-5
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)), "the original changed"
    assert {layer.name for layer in folded.layers} <= {layer.name for layer in model.layers}


KINDS = {
    "Conv1D": ((9, 3), lambda: layers.Conv1D(4, 3, 2)),
    "Conv2D, groups, no bias": ((7, 8, 6), lambda: layers.Conv2D(4, 3, groups=2, use_bias=False)),
    "Conv3D": ((5, 6, 7, 2), lambda: layers.Conv3D(3, 3)),
    "DepthwiseConv2D": ((8, 8, 3), lambda: layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "DepthwiseConv1D": ((8, 3), lambda: layers.DepthwiseConv1D(3, depth_multiplier=2)),
    "SeparableConv2D": ((8, 8, 3), lambda: layers.SeparableConv2D(5, 3)),
    "Conv2DTranspose": ((4, 4, 3), lambda: layers.Conv2DTranspose(5, 3, 2)),
    "Dense": ((5, 3), lambda: layers.Dense(4)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [{}, {"center": False}, {"scale": False, "epsilon": 0.1}], ids=str)
def test_every_layer_that_takes_a_norm(kind, how):
    shape, make = KINDS[kind]
    x = keras.Input(shape)
    model = randomise(keras.Model(x, layers.ReLU()(layers.BatchNormalization(**how)(make()(x)))))
    folded = fold_batch_norm(model)
    assert count(folded, layers.BatchNormalization) == 0
    assert largest_difference(model, folded, shape) < 1e-5


def test_what_may_not_be_folded():
    shape = (8, 8, 3)
    x = keras.Input(shape)
    shared, norm = layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()
    conv = layers.Conv2D(3, 3)(x)
    graphs = {
        "an activation lies between": layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(x)),
        "another layer reads the convolution": layers.Add()([conv, layers.BatchNormalization()(conv)]),
        "it is an output too": [conv, layers.BatchNormalization()(conv)],
        "the convolution is shared": layers.BatchNormalization()(shared(shared(x))),
        "the norm is shared": norm(layers.Conv2D(3, 1)(norm(layers.Conv2D(3, 1)(x)))),
        "another axis": layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3)(x)),
        "it comes before": layers.Conv2D(4, 3)(layers.BatchNormalization()(x)),
    }
    for why, outputs in graphs.items():
        model = randomise(keras.Model(x, outputs))
        folded = fold_batch_norm(model)
        assert count(folded, layers.BatchNormalization) == count(model, layers.BatchNormalization), why
        assert largest_difference(model, folded, shape) == 0, why


@pytest.mark.parametrize("size", [7, 8])
def test_padding_is_merged_exactly_where_it_is_the_same(size):
    merged = {}
    for kernel in (2, 3, 5):
        for stride in (1, 2):
            for padding in (1, 2, ((0, 1), (0, 1))):
                x = keras.Input((size, size, 2))
                try:
                    y = layers.Conv2D(3, kernel, stride)(layers.ZeroPadding2D(padding)(x))
                except ValueError:
                    continue
                model = randomise(keras.Model(x, y))
                folded = fold_batch_norm(model)
                same = keras.Model(x, layers.Conv2D(3, kernel, stride, "same")(x))
                same.set_weights(model.get_weights())
                equal = same.output.shape == y.shape and largest_difference(model, same, (size, size, 2)) < 1e-5
                merged[kernel, stride, padding] = count(folded, layers.ZeroPadding2D) == 0
                assert merged[kernel, stride, padding] == equal, (kernel, stride, padding)
                assert folded.output.shape == y.shape and largest_difference(model, folded, (size, size, 2)) < 1e-5
    assert merged[3, 1, 1] and not merged[3, 1, 2] and merged[3, 2, 1] == (size % 2 == 1)


def test_an_open_size_merges_stride_1_only():
    x = keras.Input((None, None, 3))
    for stride, num_pads in ((1, 0), (2, 1)):
        model = keras.Model(x, layers.Conv2D(4, 3, stride)(layers.ZeroPadding2D(1)(x)))
        assert count(fold_batch_norm(model), layers.ZeroPadding2D) == num_pads


def test_preprocessing_goes_along_and_the_catalogue_mark_does_not(tmp_path):
    model = kzoo.build("resnet20")
    update_card(model, preprocessing=kzoo.Preprocessing(mean=0.5))
    folded = fold_batch_norm(model)
    assert folded.kzoo.preprocessing == model.kzoo.preprocessing
    assert folded.kzoo.architecture is None
    kzoo.save(folded, tmp_path)  # whole, since the catalogue cannot build it
    again = kzoo.load(tmp_path)
    assert again.kzoo.preprocessing == model.kzoo.preprocessing and again.kzoo.architecture is None


def test_half_precision_keeps_its_policy():
    model = randomise(kzoo.build("resnet20", dtype="mixed_bfloat16", depths=(1, 1, 1)))
    folded = fold_batch_norm(model)
    assert folded.get_layer("conv1").dtype_policy.name == "mixed_bfloat16"
    assert count(folded, layers.BatchNormalization) == 0 and largest_difference(model, folded, (32, 32, 3)) < 5e-2


def test_no_graph():
    with pytest.raises(ValueError, match="takes a functional keras.Model, got Dense"):
        fold_batch_norm(layers.Dense(3))

"""Structured pruning: what goes together, that nothing else changes, and what a smaller model can do."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers
from small_runs import make, run

import kzoo
from kzoo.rewrites import filters
from kzoo.rewrites.channels import DEPTHWISE, TRANSPOSED, Channels

SMALL = {"input_shape": (32, 32, 3), "num_classes": 5}


def toy(**outputs):
    """Depthwise, transposed and squeezing layers, a residual and a product."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, name="stem", padding="same")(image)
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Add()([x, layers.Conv2D(16, 1, name="pointwise", activation="relu")(x)])
    x = layers.Conv2DTranspose(12, 2, 2, name="up")(x)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    squeezed = layers.Dense(6, activation="relu", name="squeeze")(squeezed)
    x = layers.Multiply()([x, layers.Dense(12, activation="sigmoid", name="excite")(squeezed)])
    x = layers.Concatenate()([layers.Flatten()(x), layers.Flatten()(image)])
    return keras.Model(image, layers.Dense(5, activation="softmax", name="head")(x), name="toy")


MODELS = {
    "resnet20": lambda: kzoo.build("resnet20", filters=8, **SMALL),
    "bottlenecks": lambda: kzoo.build("resnet50", depths=(1, 1), filters=8, **SMALL),
    "vgg": lambda: kzoo.build("vgg11_bn", filters=(8,) * 5, hidden_dim=32, **SMALL),
    "densenet": lambda: kzoo.build("densenet121", depths=(2, 2), growth_rate=8, filters=16, **SMALL),
    "mnist_cnn": lambda: kzoo.build("mnist_cnn", filters=(8, 8, 8), hidden_dim=16),
    "toy": toy,
    "gpt2": lambda: kzoo.build(
        "gpt2", num_layers=1, hidden_dim=16, num_heads=4, vocabulary_size=37, max_length=21, dropout=0.0
    ),
}


def filled(model):
    """The model with weights of about equal size, statistics and offsets too."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        values = random.normal(size=variable.shape) / max(1, np.prod(variable.shape[:-1])) ** 0.5
        variable.assign(np.abs(values) + 0.5 if "variance" in variable.name else values)
    return model


def zeroed(model, fraction):
    """Makes all weights zero that belong to the filters which this share would remove."""
    found = Channels(model)
    removed = [root for share, root in filters._order(found, filters._chosen(model, None)) if share <= fraction]
    for role in found.roles.values():
        channels = role.makes if role.makes is not None else role.keeps
        if channels is None:
            continue
        gone, weights = np.isin(found.roots(channels), removed), role.layer.get_weights()
        if isinstance(role.layer, layers.BatchNormalization):
            weights[0][gone] = weights[1][gone] = 0
        else:
            along = -2 if isinstance(role.layer, (*TRANSPOSED, *DEPTHWISE)) else -1
            np.moveaxis(weights[0], along, 0)[gone] = 0
            for bias in weights[1:]:
                bias[np.repeat(gone, len(bias) // len(gone))] = 0
        role.layer.set_weights(weights)
    return model


def examples(model):
    random = np.random.default_rng(1)
    return {
        tensor.name: random.integers(1, 9, (3, 7)) if "int" in tensor.dtype
        else random.normal(size=(3, *tensor.shape[1:])).astype("float32")
        for tensor in model.inputs
    }  # fmt: skip


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x if isinstance(model.input, dict) else next(iter(x.values()))))


@pytest.mark.parametrize("name", MODELS)
def test_filters_of_zeros_leave_without_a_trace(name):
    model = filled(MODELS[name]())
    x = examples(model)
    whole = outputs(model, x)
    zeroed(model, 0.5)
    before, weights = outputs(model, x), model.get_weights()
    assert np.abs(before - whole).max() > 1e-3 * np.abs(whole).max(), "what becomes zero counts"
    pruned = kzoo.prune_filters(model, 0.5)
    np.testing.assert_allclose(outputs(pruned, x), before, rtol=0, atol=1e-6 * np.abs(before).max())
    assert pruned.count_params() < (0.95 if name == "gpt2" else 0.6) * model.count_params()
    assert [tensor.shape for tensor in pruned.outputs] == [tensor.shape for tensor in model.outputs]
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not {id(layer) for layer in pruned.layers if layer.weights} & {id(layer) for layer in model.layers}


def test_channels_that_meet_go_together():
    model = filled(MODELS["resnet20"]())
    pruned = kzoo.prune_filters(model, 0.25)
    widths = {row["name"]: row["pruned_filters"] for row in kzoo.prune_report(model, pruned)["layers"]}
    for stage, width in ((1, 6), (2, 12), (3, 24)):
        assert {widths[f"layer{stage}.{block}.{conv}"] for block in range(3) for conv in ("conv1", "conv2")} == {width}
    assert widths["conv1"] == 6 and widths["linear"] == 5
    padding = pruned.get_layer("layer2.0.zeros").padding[1]
    assert sum(padding) == 6, "the shortcut fills up the channels that its stage has left"


def test_the_filters_with_the_smallest_sums_go():
    model = filled(MODELS["mnist_cnn"]())
    sums = np.abs(model.get_layer("conv2d").kernel.numpy()).sum(axis=(0, 1, 2))
    kept = np.sort(np.argsort(sums)[2:])
    pruned = kzoo.prune_filters(model, 0.25, layers="conv2d")
    kernel, following = (model.get_layer(name).kernel.numpy() for name in ("conv2d", "conv2d_1"))
    np.testing.assert_array_equal(pruned.get_layer("conv2d").kernel.numpy(), kernel[..., kept])
    np.testing.assert_array_equal(pruned.get_layer("conv2d_1").kernel.numpy(), following[:, :, kept])
    assert pruned.get_layer("conv2d_1").filters == 8


def test_layers_that_it_does_not_know_keep_their_channels():
    class Mixing(layers.Layer):
        def call(self, inputs):
            return inputs[..., ::-1]

    image = keras.Input((8, 8, 3))
    first = layers.Conv2D(8, 3, name="first")
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    x = shared(shared(layers.ReLU()(first(image))))
    y = Mixing()(layers.Conv2D(8, 3, name="mixed")(image))
    grouped = layers.Conv2D(8, 3, groups=2, padding="same", name="grouped")(x)
    model = keras.Model(image, [layers.Concatenate()([x, y]), grouped])
    with pytest.raises(ValueError, match="no filter can be removed; each meets a model output or a layer"):
        kzoo.prune_filters(model, 0.5)
    z = layers.Conv2D(4, 1, name="last")(shared(shared(first(image))))
    tied = filled(keras.Model(image, layers.GlobalMaxPooling2D()(z), name="tied"))
    pruned = kzoo.prune_filters(tied, 0.5)
    assert [pruned.get_layer(name).filters for name in ("first", "shared", "last")] == [4, 4, 4]
    zeroed(tied, 0.5)
    x = examples(tied)
    np.testing.assert_allclose(outputs(kzoo.prune_filters(tied, 0.5), x), outputs(tied, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("macs", [0.75, 0.3, 60_000])
def test_a_number_of_multiply_accumulates(macs):
    model = filled(MODELS["mnist_cnn"]())
    report = kzoo.prune_report(model, kzoo.prune_filters(model, macs=macs))
    wanted = macs if macs > 1 else macs * report["macs"]
    assert 0.75 * wanted < report["pruned_macs"] <= wanted
    line = filters.report_line(report)
    assert f"{report['pruned_macs']:,} of {report['macs']:,} multiply-accumulates" in line and "dense_1" in line


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A pruned network that went on training, and the folder of its run."""
    folder = tmp_path_factory.mktemp("filters") / "run"
    model, data = make("resnet20", filters=4, depths=(1, 1, 1), input_shape=(28, 28, 1), augment=False, num_examples=96)
    pruned = kzoo.prune_filters(model, macs=0.5)
    run(folder, (pruned, data), epochs=1, prune=0.5, tensorboard=False, steps_per_execution=6)
    return pruned, data, folder


def test_a_smaller_model_trains_and_is_rebuilt_from_its_run(trained):
    pruned, data, folder = trained
    assert kzoo.sparsity(pruned)["sparsity"] == pytest.approx(0.5, abs=0.01)
    again = kzoo.load(folder)
    assert again.kzoo.rewrites == pruned.kzoo.rewrites and again.count_params() == pruned.count_params()
    x = examples(pruned)
    np.testing.assert_array_equal(outputs(again, x), outputs(pruned, x))
    message = run(
        folder, (again, data), epochs=1, prune=0.5, tensorboard=False, steps_per_execution=6, resume=True
    ).message
    assert message.startswith("already complete")
    twice = kzoo.prune_filters(again, 0.3)
    rebuilt = kzoo.build("resnet20", rewrites=twice.kzoo.rewrites, **twice.kzoo.overrides)
    assert [w.shape for w in rebuilt.weights] == [w.shape for w in twice.weights]


def test_a_smaller_model_is_exported(trained, tmp_path):
    report = kzoo.export(trained[0], tmp_path / "export")
    assert report["max_difference"] < 1e-5


def test_weights_of_another_width_are_refused(trained):
    with pytest.raises(ValueError, match="mis-shaped"):
        kzoo.build("resnet20", weights=trained[2], filters=4, depths=(1, 1, 1), input_shape=(28, 28, 1))
    with pytest.raises(ValueError, match="pruned in layers that it does not have: conv9"):
        kzoo.build("mnist_cnn", rewrites=({"rewrite": "prune_filters", "layers": {"conv9": {"filters": 3}}},))


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({}, TypeError, "either fraction or macs"),
    ({"fraction": 0.5, "macs": 0.5}, TypeError, "either fraction or macs"),
    ({"fraction": "half"}, TypeError, "fraction must be a number, got 'half'"),
    ({"fraction": 1.0}, ValueError, "fraction must be a share above 0 and below 1, got 1.0"),
    ({"fraction": 1e-3}, ValueError, "fraction 0.001 removes no filter of mnist_cnn, whose first goes at 0.0625"),
    ({"macs": 1.5}, ValueError, "macs must be a share above 0 and below 1 or their number, an int, got 1.5"),
    ({"macs": 10**12}, ValueError, "cannot be had: mnist_cnn has"),
    ({"macs": 10}, ValueError, "cannot be had: mnist_cnn has"),
    ({"fraction": 0.5, "layers": "conv2e"}, ValueError, "unknown layer with filters 'conv2e'; did you mean conv2d"),
    ({"fraction": 0.5, "layers": "dense_1"}, ValueError, "no filter can be removed"),
], ids=str)  # fmt: skip
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        kzoo.prune_filters(MODELS["mnist_cnn"](), **arguments)


def test_models_that_are_no_flat_graph():
    with pytest.raises(ValueError, match="prune_filters rewrites a flat functional graph"):
        kzoo.prune_filters(keras.Sequential([toy()]), 0.5)


def command(*arguments):
    import click

    from kzoo.cli.commands import cli

    with contextlib.suppress(click.exceptions.Exit):
        return cli.main([str(one) for one in arguments], standalone_mode=False)


def test_the_command_line(tmp_path, capsys):
    import click

    settings = ("--set", "filters=(4,4,4)", "--set", "hidden_dim=8")
    command("prune-filters", "mnist_cnn", tmp_path / "small", "--macs", "0.5", *settings)
    out = capsys.readouterr().out
    assert "  dense_1: 10 of 10" in out and "4 of 5 layers lost filters; whole: dense_1" in out
    small = kzoo.load(tmp_path / "small")
    command("train", "mnist_cnn", *settings, "--weights", tmp_path / "small", "--data", "digits", "--quiet",
            "--epochs", "1", "--run-folder", tmp_path / "run")  # fmt: skip
    assert kzoo.load(tmp_path / "run").count_params() == small.count_params()
    for options, message in (
        ([], "give either --fraction or --macs"), (["--macs", "half"], "--macs takes a share such as 0.5 or a number")
    ):  # fmt: skip
        with pytest.raises(click.UsageError, match=message):
            command("prune-filters", "mnist_cnn", tmp_path / "other", *options)
    assert not (tmp_path / "other").exists()

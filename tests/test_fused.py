"""Batch norm and Adam in one operation each: the numbers that they should give, and nothing left behind."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers
from small_runs import Stop, fail, make, run

import kzoo
from kzoo.training import execution, fused
from kzoo.training.recipe import make_recipe

tf = pytest.importorskip("tensorflow")
IMAGES = np.random.default_rng(0).normal(3.0, 2.0, (6, 5, 7, 4)).astype("float32")
FUSED = "FusedBatchNormV3"


def norm_model(dtype=None, input_shape=(5, 7, 4), **options):
    image = keras.Input(input_shape)
    return compiled(keras.Model(image, layers.BatchNormalization(dtype=dtype, **options)(image)))


def compiled(model, optimizer="sgd"):
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def operations(model, training=True):
    """The names of the operations of a freshly traced call."""
    function = tf.function(lambda x: model(x, training=training))
    spec = tf.TensorSpec((None, *model.input.shape[1:]), model.input.dtype)
    return {operation.type for operation in function.get_concrete_function(spec).graph.get_operations()}


def step(model, x, fuse):
    """Outputs, gradients of inputs and weights, and moved statistics of one training step."""
    x = tf.constant(x)
    with fused.fused_steps(model, model.optimizer) if fuse else contextlib.nullcontext(), tf.GradientTape() as tape:
        tape.watch(x)
        outputs = tf.cast(model(x, training=True), "float32")
        loss = tf.reduce_sum(tf.sin(outputs))
    gradients = tape.gradient(loss, [x, *(variable.value for variable in model.trainable_variables)])
    return [keras.ops.convert_to_numpy(value) for value in (outputs, *gradients, *model.non_trainable_variables)]


@pytest.mark.parametrize("batch_size", [1, 6])
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": False}, {"center": False}, {"scale": False, "center": False}, {"momentum": 0.9, "epsilon": 0.1}],
    ids=str,
)
def test_a_step_is_that_of_the_composed_layer(options, batch_size):
    theirs, ours = (step(norm_model(**options), IMAGES[:batch_size], fuse) for fuse in (False, True))
    assert len(theirs) == len(ours) >= 4
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


def test_half_precision_is_normalised_in_float32():
    theirs, ours = (step(norm_model("mixed_bfloat16"), IMAGES, fuse) for fuse in (False, True))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(ours[-1], theirs[-1], rtol=1e-5)  # statistics have no half precision


def test_one_value_a_channel_has_no_variance():
    model = norm_model(input_shape=(1, 1, 4))
    outputs, *rest = step(model, np.ones((1, 1, 1, 4), "float32"), fuse=True)
    assert (outputs == 0).all() and all(np.isfinite(value).all() for value in rest)


def test_only_training_steps_traced_inside_are_fused():
    model = compiled(kzoo.build("resnet18", input_shape=(32, 32, 3), num_classes=3))
    assert len(fused.fusible_norms(model)) == 20
    with fused.fused_steps(model, model.optimizer):
        assert FUSED in operations(model)
        assert FUSED not in operations(model, training=False)
        model.trainable = False  # Keras then normalises by the statistics that it has
        assert FUSED not in operations(model)
        model.trainable = True
    assert FUSED not in operations(model)
    assert not [layer.name for layer in model.layers if "call" in vars(layer)]


def test_a_model_saved_inside_is_a_plain_one(tmp_path):
    model = norm_model()
    with fused.fused_steps(model, model.optimizer):
        step(model, IMAGES, fuse=False)
        model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.layers[1]) is layers.BatchNormalization
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


class Own(layers.BatchNormalization):
    pass


def test_what_the_operation_cannot_do_stays_composed():
    image, row = keras.Input((5, 7, 4)), keras.Input((4,))
    others = {
        "another axis": layers.BatchNormalization(axis=1)(image),
        "renorm": layers.BatchNormalization(renorm=True)(image),
        "synchronized": layers.BatchNormalization(synchronized=True)(image),
        "a layer of the user's own": Own()(image),
        "float64": layers.BatchNormalization(dtype="float64")(image),
        "rows": layers.BatchNormalization()(row),
    }
    for why, output in others.items():
        model = compiled(keras.Model(row if why == "rows" else image, output))
        assert not fused.fusible_norms(model), why
        with fused.fused_steps(model, model.optimizer):
            assert FUSED not in operations(model), why


def train(optimizer, fuse, num_steps=5):
    """A model after some steps, and its optimizer's variables."""
    keras.utils.set_random_seed(0)
    row = keras.Input((6,))
    model = compiled(keras.Model(row, layers.Dense(3)(layers.Dense(8, activation="tanh")(row))), optimizer())
    random = np.random.default_rng(1)
    with fused.fused_steps(model, model.optimizer) if fuse else contextlib.nullcontext():
        for _ in range(num_steps):
            model.train_on_batch(random.normal(size=(4, 6)), random.normal(size=(4, 3)))
    return model


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "constants": lambda: keras.optimizers.Adam(0.02, beta_1=0.8, beta_2=0.98, epsilon=1e-3),
    "clipped": lambda: keras.optimizers.Adam(0.02, global_clipnorm=0.1),
    "averaged": lambda: keras.optimizers.Adam(0.02, use_ema=True),
    "accumulated": lambda: keras.optimizers.Adam(0.02, gradient_accumulation_steps=2),
    "schedule": lambda: keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 5), weight_decay=0.1),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_of_adam_is_that_of_keras(name):
    theirs, ours = (train(OPTIMIZERS[name], fuse) for fuse in (False, True))
    assert "update_step" not in vars(getattr(ours.optimizer, "inner_optimizer", ours.optimizer))
    pairs = zip(ours.variables + ours.optimizer.variables, theirs.variables + theirs.optimizer.variables, strict=True)
    for mine, other in pairs:
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (mine, other)), rtol=1e-4, atol=1e-5)


def test_what_is_not_adam_stays_composed():
    others = [keras.optimizers.SGD(), keras.optimizers.Adam(amsgrad=True), keras.optimizers.Adamax(), None]
    assert not any(map(fused.is_fusible, others))
    assert fused.is_fusible(keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW()))
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = train(OPTIMIZERS["adam"], fuse=True)
    assert np.isfinite(model.get_weights()[0]).all()


def test_it_is_chosen_where_it_was_measured(monkeypatch):
    vision, plain = kzoo.build("resnet18", input_shape=(32, 32, 3), num_classes=3), kzoo.build("mlp", hidden_dims=(8,))

    def chosen(model=vision, optimizer=None, **choices):
        optimizer = optimizer or keras.optimizers.SGD()
        return execution.choose(make_recipe({}, choices), model, optimizer, num_batches=50).fuse

    assert chosen() and not chosen(fuse=False)
    assert not chosen(plain) and not chosen(plain, fuse=True) and chosen(plain, keras.optimizers.Adam())
    assert not chosen(jit_compile=True, deterministic=False)
    assert chosen(jit_compile=True, deterministic=False, fuse=True)
    monkeypatch.setattr(execution, "_gpus", lambda: ["GPU:0"])
    assert not chosen() and chosen(fuse=True)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert not chosen()
    with pytest.raises(ValueError, match=r"fuse=True is for TensorFlow, and Keras runs on jax; leave it out"):
        chosen(fuse=True)


def make_vision(dtype=None):
    return make("resnet20", dtype=dtype, batch_size=32, num_examples=96, depths=(1, 1, 1))


CHOICES = {"epochs": 2, "batch_size": 32, "backup_steps": 1, "tensorboard": False}


def test_runs_with_it_resume_bit_for_bit_and_not_without_it(tmp_path):
    result = run(tmp_path / "whole", make_vision(), **CHOICES)
    assert result.execution.endswith(", batch norm and Adam in one operation")
    model, data = make_vision()
    with pytest.raises(RuntimeError):
        run(tmp_path / "run", (model, data), callbacks=[Stop(fail, 2, 2)], **CHOICES)
    assert not [layer.name for layer in model.layers if "call" in vars(layer)]
    with pytest.raises(ValueError, match="fuse was True, now False; pass force=True"):
        run(tmp_path / "run", make_vision(), resume=True, fuse=False, **CHOICES)
    run(tmp_path / "run", make_vision(), resume=True, **CHOICES)
    whole, resumed = (tmp_path / name / "weights.safetensors" for name in ("whole", "run"))
    assert whole.read_bytes() == resumed.read_bytes()


@pytest.mark.parametrize(
    "choices", [{}, pytest.param({"jit_compile": True, "deterministic": False}, marks=pytest.mark.slow)],
    ids=["plain", "xla"],
)  # fmt: skip
def test_a_run_with_it_learns_what_one_without_it_learns(choices):
    first, second = (
        run(None, make_vision(), fuse=fuse, **{**CHOICES, **choices, "backup_steps": None}) for fuse in (True, False)
    )
    for mine, theirs in zip(first.history, second.history, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)

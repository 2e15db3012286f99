"""Moving averages of weights: what a run keeps, and that it goes on exactly."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo.data import from_arrays
from kzoo.training import averaging

SMALL = {"hidden_dims": (6,), "input_shape": (4, 4, 1), "num_classes": 3}


def loaded(model):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (12, 4, 4, 1), np.uint8), random.integers(0, 3, 12)
    return from_arrays(x, y, model, batch_size=3, validation_fraction=0.25)


def test_averages_of_weights_are_what_a_run_keeps(tmp_path):
    keras.utils.set_random_seed(0)
    model = kzoo.build("mlp", **SMALL)
    how = {"epochs": 2, "batch_size": 3, "ema": 0.5, "warmup_steps": 1, "progress": False}
    weights = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append([keras.ops.convert_to_numpy(each) for each in self.model.trainable_variables])

    run = kzoo.fit(model, loaded(model), tmp_path / "run", callbacks=[Watch()], **how)
    kept = [keras.ops.convert_to_numpy(each) for each in model.trainable_variables]
    assert any((ours != last).any() for ours, last in zip(kept, weights[-1], strict=True))
    optimizer = model.optimizer
    assert not hasattr(optimizer, "__dict__") or "finalize_variable_values" not in vars(optimizer)
    for ours, average in zip(kept, optimizer._model_variables_moving_average, strict=True):
        np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(average))
    again = kzoo.load(tmp_path / "run")
    for ours, theirs in zip(kept, again.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(theirs))
    assert run.history[1]["loss"] > 0

    with averaging.averaged([(model, optimizer)]):
        pass
    for ours, theirs in zip(kept, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(theirs))


def test_a_run_with_averages_goes_on_as_if_it_had_never_stopped(tmp_path):
    how = {"batch_size": 3, "ema": 0.9, "warmup_steps": 0, "schedule": "constant", "progress": False}
    ends = []
    for name, stops in (("whole", ()), ("parts", (1,))):
        keras.utils.set_random_seed(0)
        model = kzoo.build("mlp", **SMALL)
        for epochs in (*stops, 2):
            again = {"resume": True, "force": True} if epochs == 2 and stops else {}
            kzoo.fit(model, loaded(model), tmp_path / name, epochs=epochs, **how, **again)
        ends.append([keras.ops.convert_to_numpy(each) for each in model.weights])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_averages_and_pruning_exclude_each_other():
    with pytest.raises(ValueError, match="ema=0.9 would average weights that prune=0.5 makes zero"):
        kzoo.training.Recipe(ema=0.9, prune=0.5)

"""Two networks with two optimizers train, stop, and resume to the same last bit through `kzoo.fit`."""

import sys
import types

import keras
import numpy as np
import pytest
import small_runs as runs
from keras import layers, ops

import kzoo
from kzoo import tasks
from kzoo.catalog import Card
from kzoo.tasks.base import Task
from kzoo.tasks.trainee import Trainee
from kzoo.training import NonFiniteError


class Pair:
    """A generator and a discriminator, as an assembly holds them."""

    def __init__(self, seed=0):
        keras.utils.set_random_seed(seed)
        self.name = "pair"
        self.kzoo = Card("pair", task="pair_for_tests")
        noise, image = keras.Input((4,), name="noise"), keras.Input((28, 28, 1), name="image")
        x = layers.Dense(16, activation="relu", name="fc")(noise)
        x = layers.Dense(784, activation="sigmoid", name="out")(x)
        self.generator = keras.Model(noise, layers.Reshape((28, 28, 1), name="image")(x), name="generator")
        x = layers.Dropout(0.2, name="drop")(layers.Flatten(name="flat")(image))
        self.discriminator = keras.Model(image, layers.Dense(1, name="score")(x), name="discriminator")
        self.inputs, self.outputs = self.discriminator.inputs, self.discriminator.outputs


class Runner(keras.Model):
    """One step of each network; it is never saved."""

    def __init__(self, pair):
        super().__init__()
        self.generator, self.discriminator = pair.generator, pair.discriminator
        self.seeds = keras.random.SeedGenerator(1)
        self.means = {name: keras.metrics.Mean(name) for name in ("generator_loss", "discriminator_loss")}

    def compile(self, generator_optimizer, **options):
        super().compile(**options)
        self.generator_optimizer = generator_optimizer

    @property
    def metrics(self):
        return list(self.means.values())

    def call(self, x):
        return self.discriminator(x)

    def train_step(self, batch):
        import tensorflow as tf

        x, noise = batch[0], keras.random.normal((ops.shape(batch[0])[0], 4), seed=self.seeds)
        with tf.GradientTape() as tape:
            fake = self.discriminator(self.generator(noise, training=True), training=True)
            loss = ops.mean(ops.softplus(-fake))
        own = self.generator.trainable_variables
        self.generator_optimizer.apply(tape.gradient(loss, own), own)
        with tf.GradientTape() as tape:
            real = self.discriminator(x, training=True)
            fake = self.discriminator(self.generator(noise, training=True), training=True)
            other = ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))
        own = self.discriminator.trainable_variables
        self.optimizer.apply(tape.gradient(other, own), own)
        self.means["generator_loss"].update_state(loss)
        self.means["discriminator_loss"].update_state(other)
        return {name: mean.result() for name, mean in self.means.items()}


class PairTrainee(Trainee):
    def __init__(self, model, task):
        super().__init__(model, task)
        self.runner = Runner(model)

    @property
    def parts(self):
        return [self.model.discriminator, self.model.generator]

    @property
    def networks(self):
        return list(zip(self.parts, [self.runner.optimizer, self.runner.generator_optimizer], strict=True))

    def compile(self, recipe, make_optimizer, choose):
        first, second = (make_optimizer(part) for part in self.parts)
        chosen = choose(self.parts[0], first)
        self.runner.compile(second, optimizer=first, **chosen.options)
        return chosen

    def build(self, batch):
        for part, optimizer in self.networks:
            optimizer.build(part.trainable_variables)
        self.runner.built = True

    def variables(self):
        optimizers = [variable for _, optimizer in self.networks for variable in optimizer.variables]
        own = [variable for part in self.parts for variable in part.variables]
        return {"model": own, "optimizer": optimizers, "metrics": self.runner.metrics_variables, "noise": [
            self.runner.seeds.state
        ]}  # fmt: skip

    @property
    def weights(self):
        return [weight for part in self.parts for weight in part.weights]

    def logs(self, logs):
        return logs

    def describe(self, folder):
        (folder / "parts.txt").write_text("discriminator generator\n")

    def save_weights(self, folder):
        for part in self.parts:
            kzoo.save_weights(part, folder / f"{part.name}.safetensors")

    def load_weights(self, folder):
        for part in self.parts:
            kzoo.load_weights(part, folder / f"{part.name}.safetensors")


class PairTask(Task):
    name = "pair_for_tests"

    def trainee(self, model):
        return PairTrainee(model, self)


@pytest.fixture(autouse=True)
def task(monkeypatch):
    monkeypatch.setitem(sys.modules, "kzoo.tasks.pair_for_tests", types.SimpleNamespace(TASK=PairTask()))
    monkeypatch.setattr(tasks, "names", lambda: ["pair_for_tests"])


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).random((100, 28, 28, 1), "float32")
    return kzoo.data.from_arrays(x, np.zeros(100, int), kzoo.build("mlp"), batch_size=8, validation_fraction=0)


def train(folder, data, **choices):
    pair = Pair()
    run = kzoo.fit(pair, data, folder, progress=False, **{"epochs": 2, "backup_steps": 3, **choices})
    return run, [keras.ops.convert_to_numpy(weight) for part in (pair.generator, pair.discriminator)
                 for weight in part.weights]  # fmt: skip


def test_it_resumes_bit_for_bit(tmp_path, data):
    whole, wanted = train(tmp_path / "whole", data)
    stop = runs.Stop(runs.fail, epoch=2, step=7)
    with pytest.raises(RuntimeError, match="the user's own words"):
        train(tmp_path / "run", data, callbacks=[stop], steps_per_execution=1)
    resumed, got = train(tmp_path / "run", data, resume=True)
    for ours, theirs in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert {"generator_loss", "discriminator_loss", "learning_rate"} <= set(resumed.history[-1])
    assert sorted(path.name for path in (tmp_path / "run").glob("*.safetensors")) == [
        "backup.previous.safetensors", "backup.safetensors", "discriminator.safetensors", "generator.safetensors",
    ]  # fmt: skip


def test_both_networks_learn(tmp_path, data):
    before = [keras.ops.convert_to_numpy(part.weights[0]) for part in (Pair().generator, Pair().discriminator)]
    _, after = train(None, data, epochs=1)
    assert not np.array_equal(before[0], after[0]) and not np.array_equal(before[1], after[4])


def test_a_loss_of_any_name_that_is_not_finite_stops_the_run(tmp_path, data):
    pair = Pair()
    spoil = runs.Stop(lambda: pair.discriminator.layers[-1].bias.assign([np.nan]), epoch=1, step=2)
    with pytest.raises(NonFiniteError, match="the (generator|discriminator) loss became nan in epoch 1"):
        kzoo.fit(pair, data, tmp_path / "run", progress=False, epochs=2, callbacks=[spoil], steps_per_execution=1)


def test_pruning_is_for_one_network(data):
    with pytest.raises(ValueError, match="prune=0.5 is for one network; pair trains 2"):
        train(None, data, prune=0.5)

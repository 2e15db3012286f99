"""What `kzoo.fit` trains: which networks, with which optimizers and losses, and what of them is saved."""

from typing import Any

import keras

from kzoo.building import Assembly
from kzoo.building.saving import read_weights, write_description, write_weights
from kzoo.data import check_data
from kzoo.tasks.compiling import compile_model, plain_names


class Trainee:
    """One network with its task's loss and one optimizer. A task of several networks has a subclass of its own.

    Attributes:
        model: what the user passed, with a card: a model or an assembly.
        runner: the Keras model whose `fit` runs the steps; it need not be one that can be saved.
    """

    def __init__(self, model, task):
        self.model, self.task, self.runner = model, task, model
        self.own = {}

    def use(self, loss, metrics) -> None:
        """Takes a loss in place of the task's, and metrics beside its own; ValueError where the task has none to give.

        A subclass with a `compile` of its own has losses of its own.
        """
        self.own = {name: value for name, value in {"loss": loss, "metrics": metrics}.items() if value is not None}
        if self.own and type(self).compile is not Trainee.compile:
            raise ValueError(f"{self.model.name} has losses and metrics of its own; leave out loss and metrics")

    @property
    def parts(self) -> list:
        """The flat models that are trained."""
        return [self.model]

    def check(self, data) -> None:
        """ValueError for a `Data` that was made for another model."""
        for part in self.parts:
            check_data(part, data)

    @property
    def networks(self) -> list:
        """Pairs of a flat model and the optimizer that trains it; the first stands for all in what a run reports."""
        return [(self.model, self.runner.optimizer)]

    def compile(self, recipe, make_optimizer, choose) -> Any:
        """Compiles the runner and returns how its steps run.

        Args:
            make_optimizer: `make_optimizer(network)` gives a fresh optimizer of the recipe.
            choose: `choose(network, optimizer)` gives the `Execution` of steps, whose `options` go to `compile`.
        """
        optimizer = make_optimizer(self.model)
        chosen = choose(self.model, optimizer)
        compile_model(self.model, optimizer, recipe.label_smoothing, **self.own, **chosen.options)
        return chosen

    def build(self, batch) -> None:
        """Makes all variables of optimizers and metrics now, so that a backup can be restored before the first step."""
        self.model.optimizer.build(self.model.trainable_variables)
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        outputs = self.model(x, training=False)
        self.model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weight)
        self.model.compute_metrics(x, y, outputs, sample_weight=weight)
        self.model.reset_metrics()

    def variables(self) -> dict:
        """All that a backup holds, lists of variables by the name of their group, always in the same order."""
        return {
            "model": self.model.variables,
            "optimizer": self.runner.optimizer.variables,
            "metrics": self.runner.metrics_variables,
        }

    @property
    def weights(self) -> list:
        """The weights that must stay finite, and that are kept where there is no folder."""
        return [weight for part in self.parts for weight in part.weights]

    def describe(self, folder) -> None:
        """Writes what is needed to use the weights in a folder without the run."""
        for part, place in self._places(folder):
            place.mkdir(exist_ok=True)
            write_description(part, place)
            if part not in self.parts:  # which no epoch changes
                write_weights(part, place)
        if isinstance(self.model, Assembly):
            self.model.write_index(folder)

    def save_weights(self, folder) -> None:
        """Writes the weights that the run keeps into its folder."""
        for part, place in self._places(folder):
            if part in self.parts:
                write_weights(part, place)

    def load_weights(self, folder) -> None:
        """Reads back what `save_weights` wrote."""
        for part, place in self._places(folder):
            read_weights(part, place)

    def _places(self, folder):
        """Pairs of a network and its folder: the run's own, or of several networks one for each."""
        if isinstance(self.model, Assembly):
            return [(part, folder / name) for name, part in self.model.items()]
        return [(self.model, folder)]

    def logs(self, logs) -> dict:
        """What Keras logs, by the names that people read."""
        return plain_names(self.model, logs)

    def epoch_done(self, folder, epoch) -> None:
        """Called after every epoch that is kept, with the run's folder or None: for pictures of the state."""


class ComposedTrainee(Trainee):
    """Networks that learn as parts of one graph, the runner, which is never saved; a subclass makes it."""

    @property
    def networks(self) -> list:
        return [(self.runner, self.runner.optimizer)]

    def compile(self, recipe, make_optimizer, choose) -> Any:
        optimizer = make_optimizer(self.runner)
        chosen = choose(self.runner, optimizer)
        self.runner.compile(optimizer, loss=self.task.loss(self.model, recipe.label_smoothing), **chosen.options)
        return chosen

    def build(self, batch) -> None:
        self.runner.optimizer.build(self.runner.trainable_variables)
        x, y = batch
        self.runner.compute_loss(x=x, y=y, y_pred=self.runner(x, training=False))
        self.runner.reset_metrics()

    def variables(self) -> dict:
        return {
            "model": self.runner.variables,
            "optimizer": self.runner.optimizer.variables,
            "metrics": self.runner.metrics_variables,
        }

    def logs(self, logs) -> dict:
        return dict(logs)

    def measured(self, split) -> dict:
        """The loss on a split."""
        self.runner.compile(loss=self.task.loss(self.model))
        found = self.runner.evaluate(split.dataset, verbose=0, return_dict=True)
        return {key: float(value) for key, value in found.items()}

"""What learns in diffusion: the denoiser, with the encoder of its texts where it has one; the autoencoder stays."""

from typing import Any

import keras

from kzoo.building import Assembly, saving
from kzoo.catalog import card_of, update_card
from kzoo.tasks.image_diffusion.networks import networks_of
from kzoo.tasks.trainee import Trainee


class DiffusionTrainee(Trainee):
    """Several networks, of which those that read texts and denoise are one graph while they learn."""

    def __init__(self, model, task):
        super().__init__(model, task)
        self.networks_of_model = networks_of(model)
        denoiser, _, text_encoder = self.networks_of_model
        self.runner = denoiser
        if text_encoder is not None:
            inputs = {name: keras.Input(denoiser.input[name].shape[1:], name=name) for name in ("sample", "timestep")}
            inputs["token_ids"] = keras.Input((None,), dtype="int32", name="token_ids")
            states = text_encoder(inputs["token_ids"])
            read = {"sample": inputs["sample"], "timestep": inputs["timestep"], "encoder_hidden_states": states}
            self.runner = keras.Model(inputs, denoiser(read), name=model.name)

    @property
    def parts(self) -> list:
        return [part for part in (self.networks_of_model.denoiser, self.networks_of_model.text_encoder) if part]

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

    @property
    def weights(self) -> list:
        return self.runner.weights

    def describe(self, folder) -> None:
        tokenizer = card_of(self.model).tokenizer
        if tokenizer is not None:
            update_card(self.networks_of_model.text_encoder, tokenizer=tokenizer)
        for name, part in self.model.items():
            (folder / name).mkdir(exist_ok=True)
            saving.write_description(part, folder / name)
            if part not in self.parts:  # which no epoch changes
                saving.write_weights(part, folder / name)
        self.model.write_index(folder)

    def save_weights(self, folder) -> None:
        for name, part in self.model.items():
            if part in self.parts:
                saving.write_weights(part, folder / name)

    def load_weights(self, folder) -> None:
        for name, part in self.model.items():
            saving.read_weights(part, folder / name)

    def logs(self, logs) -> dict:
        return dict(logs)


def trainee_of(model, task) -> Trainee:
    """The trainee of one network, or of several."""
    return DiffusionTrainee(model, task) if isinstance(model, Assembly) else Trainee(model, task)

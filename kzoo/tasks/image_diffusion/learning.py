"""What learns in diffusion: the denoiser, with the encoder of its texts where it has one; the autoencoder stays."""

import keras
import numpy as np
from keras import ops

from kzoo.catalog import card_of, update_card
from kzoo.generation import noise_schedules, samplers
from kzoo.support.suggest import did_you_mean
from kzoo.tasks.image_diffusion.networks import networks_of
from kzoo.tasks.trainee import ComposedTrainee

MOST_SIGNAL = 5.0  # gamma of Hang et al. 2023, section 3.4
LOSSES = ("min_snr",)


def min_snr(noise) -> np.ndarray:
    """The weight of each timestep that bounds how much signal to noise counts, float32 (num_train_timesteps,).

    Hang et al. 2023, https://arxiv.org/abs/2303.09556, equation 8, for what a network predicts.
    """
    settings = noise_schedules.settings_of(noise, samplers.SAMPLERS)
    left = noise_schedules.remaining(settings)
    ratio = left / np.maximum(1 - left, 1e-12)
    bounded = np.minimum(ratio, MOST_SIGNAL)
    divided_by = {"epsilon": np.maximum(ratio, 1e-12), "v_prediction": ratio + 1, "sample": 1.0}
    return (bounded / divided_by[settings["prediction_type"]]).astype(np.float32)


class Runner(keras.Model):
    """The graph of what learns, whose loss counts every timestep by its weight, or all of them alike."""

    step_weights = None

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> keras.KerasTensor:
        if self.step_weights is not None:
            steps = ops.cast(x["timestep"], "int32")
            sample_weight = ops.take(self.step_weights, steps)[:, None, None]
        return super().compute_loss(x, y, y_pred, sample_weight, training)


class DiffusionTrainee(ComposedTrainee):
    """One network or several, of which those that read texts and denoise are one graph while they learn."""

    def __init__(self, model, task):
        super().__init__(model, task)
        self.denoiser, _, self.text_encoder = networks_of(model)
        inputs = {name: keras.Input(self.denoiser.input[name].shape[1:], name=name) for name in ("sample", "timestep")}
        read = {**inputs}
        if self.text_encoder is not None:
            inputs["token_ids"] = keras.Input((None,), dtype="int32", name="token_ids")
            read["encoder_hidden_states"] = self.text_encoder(inputs["token_ids"])
        self.runner = Runner(inputs, self.denoiser(read), name=model.name)

    def use(self, loss, metrics) -> None:
        """Takes `min_snr` as the loss; there are no metrics beside it."""
        if metrics is not None:
            raise ValueError(f"metrics={metrics!r}: {self.model.name} has no metrics beside its loss; leave it out")
        if loss is None:
            return
        if loss not in LOSSES:
            raise ValueError(did_you_mean("loss", loss, LOSSES))
        self.own = {"loss": loss}
        self.runner.step_weights = min_snr(self.task.noise(self.model))

    @property
    def parts(self) -> list:
        return [part for part in (self.denoiser, self.text_encoder) if part is not None]

    def describe(self, folder) -> None:
        if card_of(self.model).tokenizer is not None:
            update_card(self.text_encoder, tokenizer=card_of(self.model).tokenizer)
        super().describe(folder)

"""How an autoencoder learns: both its halves, one after the other, as one network."""

from typing import Any

import keras
from keras import layers, ops

from kzoo.data import columns
from kzoo.generation import latents
from kzoo.layers.autoencoders import VectorQuantizer
from kzoo.tasks.trainee import ComposedTrainee

DIVERGENCE = 1e-6  # weight of the divergence from a normal distribution, Rombach et al. 2022, appendix G
COMMITMENT = 0.25  # weight of how far latents stay from their codes, van den Oord et al. 2017, equation 3


class Drawn(layers.Layer):
    """Latents (batch, ...) drawn from their moments (batch, ..., twice as many), and their divergence as a loss.

    Args:
        num_values: how many numbers a picture has, by which the divergence is divided as the error of pictures is.
    """

    def __init__(self, num_values, **kwargs):
        super().__init__(**kwargs)
        self.num_values, self.seed_generator = num_values, keras.random.SeedGenerator()

    def call(self, moments, training=False) -> Any:
        mean, log_variance = ops.split(moments, 2, axis=-1)
        log_variance = ops.clip(log_variance, latents.LEAST_LOG_VARIANCE, latents.MOST_LOG_VARIANCE)
        divergence = 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1 - log_variance)
        size = ops.cast(ops.shape(moments)[0] * self.num_values, "float32")
        self.add_loss(DIVERGENCE * ops.sum(divergence) / size)
        if not training:
            return mean
        return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=self.seed_generator)


class Committed(layers.Layer):
    """Latents as they are, with the distance to their codes as a loss of both.

    Args:
        quantizer: the `VectorQuantizer` that looks them up afterwards.
    """

    def __init__(self, quantizer, **kwargs):
        super().__init__(**kwargs)
        self.find = quantizer.codes
        self.table = quantizer.embeddings

    def call(self, encoded) -> Any:
        nearest = ops.take(ops.convert_to_tensor(self.table), self.find(encoded), axis=0)
        codebook = ops.mean(ops.square(nearest - ops.stop_gradient(encoded)))
        self.add_loss(codebook + COMMITMENT * ops.mean(ops.square(encoded - ops.stop_gradient(nearest))))
        return encoded


class AutoencodingTrainee(ComposedTrainee):
    """An autoencoder of two halves as one network from pictures to pictures."""

    def __init__(self, model, task):
        super().__init__(model, task)
        wanted = columns.inputs_of(model)
        if {*wanted} != {"image", "latents"}:
            raise ValueError(f"{model.name} has the inputs {', '.join(wanted)}; build it with half='both' to train it")
        encoder, decoder = latents.half(model, "image"), latents.half(model, "latents")
        image = keras.Input(encoder.input.shape[1:], name="image")
        if "moments" in model.output:
            between = Drawn(image.shape[1] * image.shape[2] * image.shape[3])
        else:
            between = Committed(next(layer for layer in decoder.layers if isinstance(layer, VectorQuantizer)))
        self.runner = keras.Model(image, decoder(between(encoder(image))), name=model.name)

"""A generator and a discriminator that train against each other, each with its own optimizer."""

from typing import Any

import keras
from keras import layers, ops

from kzoo.building import Assembly
from kzoo.catalog import card_of
from kzoo.tasks.adversarial_generation import games
from kzoo.tasks.generated_pictures import picture_files, pixels
from kzoo.tasks.trainee import Trainee

LOGS = ("discriminator_loss", "generator_loss", "real_score", "fake_score")
NUM_SHOWN = 64  # pictures of the grid of an epoch
FOLDER, FILM = "samples", "samples.gif"


def pair_of(model) -> tuple:
    """The generator and the discriminator of an `Assembly`; ValueError unless one makes what the other reads."""
    if not isinstance(model, Assembly):
        raise ValueError(
            f"{model.name} is one network, and two learn against each other: pass an Assembly of a generator and a "
            "discriminator, such as kzoo.build('dcgan')"
        )
    if set(model) != {"generator", "discriminator"}:
        raise ValueError(f"{model.name} has the parts {', '.join(model)}; wanted generator and discriminator")
    generator, discriminator = model["generator"], model["discriminator"]
    made, read = generator.outputs[0].shape[1:], discriminator.inputs[0].shape[1:]
    if made != read:
        raise ValueError(
            f"{model.name}: the generator makes pictures of {made} and the discriminator reads {read}; build both for "
            "the same size, generator={'image_shape': …} and discriminator={'input_shape': …}"
        )
    ranges = [(card_of(part).preprocessing.mean, card_of(part).preprocessing.std) for part in model.values()]
    if ranges[0] != ranges[1]:
        raise ValueError(
            f"{model.name}: the mean and std of pixels are {ranges[0]} for the generator and {ranges[1]} for the "
            "discriminator; build both of one family, dcgan_… or gan_…"
        )
    return generator, discriminator


class Runner(keras.Model):
    """The steps of both networks on TensorFlow, as `pytorch/examples` takes them; it is never saved.

    Noise is a pure function of the seed and the step, so that a run resumes exactly.
    """

    def __init__(self, generator, discriminator):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.latent_dim, self.seed, self.game = generator.inputs[0].shape[-1], 0, games.GAMES["non_saturating"]
        self.means = {name: keras.metrics.Mean(name) for name in LOGS}

    def compile(self, generator_optimizer, **options) -> None:
        super().compile(**options)
        self.generator_optimizer = generator_optimizer

    @property
    def metrics(self) -> list:
        return list(self.means.values())

    def call(self, images) -> Any:
        return self.discriminator(images)

    def draw(self, shape, step, kind="normal") -> Any:
        """Standard normal noise, or uniform numbers, of a step."""
        import tensorflow as tf

        purpose, draw = {"normal": (0, tf.random.stateless_normal), "uniform": (1, tf.random.stateless_uniform)}[kind]
        key = tf.random.fold_in(tf.constant([self.seed, purpose], tf.int64), step, alg="philox")
        return draw(shape, key, alg="philox")

    def train_step(self, batch) -> dict:
        """One step of the discriminator, and one of the generator against the discriminator that it made."""
        import tensorflow as tf

        real, step = batch[0], tf.identity(self.optimizer.iterations.value)  # as it is before this step
        size = ops.shape(real)[0]
        noise = self.draw((size, self.latent_dim), step)
        if self.game.critic_steps == 1:
            with tf.GradientTape() as tape:
                fake = self.generator(noise, training=True)
                with tape.stop_recording():
                    values = self._discriminate(real, fake, step)
                loss = self._deceive(fake)
            self._apply(tape, loss, self.generator, self.generator_optimizer)
            counted = size
        else:
            values = self._discriminate(real, self.generator(noise, training=True), step)
            is_due = (step + 1) % self.game.critic_steps == 0
            loss = tf.cond(is_due, lambda: self._generate(noise), lambda: 0.0)
            counted = ops.where(is_due, size, 0)
        return self._told({**values, "generator_loss": loss}, size, counted)

    def _generate(self, noise):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = self._deceive(self.generator(noise, training=True))
        self._apply(tape, loss, self.generator, self.generator_optimizer)
        return loss

    def _deceive(self, fake):
        return self.game.generator(self.discriminator(fake, training=True))

    def _discriminate(self, real, fake, step):
        """A step of the discriminator; what it thought before."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits = self.discriminator(real, training=True), self.discriminator(fake, training=True)
            loss = self.game.discriminator(*logits)
            if self.game.penalty:
                share = self.draw((ops.shape(real)[0], *[1] * (len(real.shape) - 1)), step, "uniform")
                loss += self.game.penalty * self._slope(share * real + (1 - share) * fake)
        self._apply(tape, loss, self.discriminator, self.optimizer)
        return {"discriminator_loss": loss, **self._scores(*logits)}

    def _scores(self, real, fake):
        return {"real_score": self.game.score(real), "fake_score": self.game.score(fake)}

    def _slope(self, images):
        """How far the length of the gradient of each picture is from 1, squared: Gulrajani et al. 2017, equation 3."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = self.discriminator(images, training=True)
        gradient = ops.reshape(tape.gradient(logits, images), (ops.shape(images)[0], -1))
        length = ops.sqrt(ops.sum(ops.square(gradient), axis=-1) + 1e-12)  # whose own gradient at 0 is infinite
        return ops.mean(ops.square(length - 1))

    def _apply(self, tape, loss, network, optimizer):
        optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    def test_step(self, batch) -> dict:
        """The losses in inference, without the penalty, of noise that is drawn anew for every batch."""
        real, place = batch[0], self.means["real_score"].count
        size = ops.shape(real)[0]
        fake = self.generator(self.draw((size, self.latent_dim), -1 - ops.cast(place, "int64")), training=False)
        logits = self.discriminator(real, training=False), self.discriminator(fake, training=False)
        losses = {
            "discriminator_loss": self.game.discriminator(*logits),
            "generator_loss": self.game.generator(logits[1]),
        }
        return self._told({**losses, **self._scores(*logits)}, size, size)

    def _told(self, values, size, counted):
        for name, mean in self.means.items():
            mean.update_state(values[name], sample_weight=counted if name == "generator_loss" else size)
        return {name: mean.result() for name, mean in self.means.items()}


class AdversarialTrainee(Trainee):
    """A pair of networks; every epoch of a run leaves a grid of pictures made of the same noise."""

    def __init__(self, model, task):
        super().__init__(model, task)
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"{model.name} trains two networks, for which kzoo needs KERAS_BACKEND=tensorflow; this process runs "
                f"{keras.backend.backend()}"
            )
        self.generator, self.discriminator = pair_of(model)
        if any(part.compute_dtype == "float16" for part in self.parts):
            raise ValueError(f"{model.name}: mixed_float16 would need its losses scaled; build with mixed_bfloat16")
        self.runner = Runner(self.generator, self.discriminator)

    def use(self, loss, metrics) -> None:
        """Takes the name of a game; there are no metrics beside its losses and scores."""
        if metrics is not None:
            raise ValueError(f"metrics={metrics!r}: {self.model.name} logs {', '.join(LOGS)}; leave it out")
        if loss is None:
            return
        self.runner.game, self.own = games.find(loss), {"loss": loss}
        norms = [layer.name for layer in self.discriminator.layers if isinstance(layer, layers.BatchNormalization)]
        if self.runner.game.penalty and norms:
            raise ValueError(
                f"loss={loss!r} penalises the gradient of each picture, and batch norm ({norms[0]}) makes it depend on "
                "the others; build the discriminator with with_batch_norm=False"
            )

    def check(self, data) -> None:
        """ValueError for data whose pixels are scaled otherwise than both networks have them."""
        found, wanted = data.preprocessing, card_of(self.discriminator).preprocessing
        if (found.mean, found.std) != (wanted.mean, wanted.std):
            raise ValueError(
                f"data {data.name} was loaded with mean {found.mean} and std {found.std}, and {self.model.name} has "
                f"{wanted.mean} and {wanted.std}; load it with this model"
            )

    @property
    def parts(self) -> list:
        return [self.discriminator, self.generator]

    @property
    def networks(self) -> list:
        return list(zip(self.parts, [self.runner.optimizer, self.runner.generator_optimizer], strict=True))

    def compile(self, recipe, make_optimizer, choose) -> Any:
        for name in ("early_stopping", "label_smoothing"):
            if getattr(recipe, name):
                raise ValueError(
                    f"{name}={getattr(recipe, name)!r}: the losses of two networks that learn against each other do "
                    "not say how good the pictures are; leave it out"
                )
        first, second = (make_optimizer(part) for part in self.parts)
        chosen = choose(self.discriminator, first)
        self.runner.seed = recipe.seed
        self.runner.compile(second, optimizer=first, **chosen.options)
        return chosen

    def build(self, batch) -> None:
        for part, optimizer in self.networks:
            optimizer.build(part.trainable_variables)
        self.runner.built = True

    def variables(self) -> dict:
        return {
            "model": [variable for part in self.parts for variable in part.variables],
            "optimizer": [variable for _, optimizer in self.networks for variable in optimizer.variables],
            "metrics": self.runner.metrics_variables,
        }

    def logs(self, logs) -> dict:
        return dict(logs)

    def epoch_done(self, folder, epoch) -> None:
        """Writes `samples/0001.png` and so on, and all of them as `samples.gif`."""
        if folder is None:
            return
        (folder / FOLDER).mkdir(exist_ok=True)
        picture_files.write_grid(folder / FOLDER / f"{epoch:04}.png", pixels.written(self.generator, NUM_SHOWN, seed=0))
        picture_files.write_film(folder / FILM, sorted((folder / FOLDER).glob("*.png"))[:epoch])

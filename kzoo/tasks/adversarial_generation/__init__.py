"""Adversarial generation: a generator of pictures and a discriminator that learn against each other."""

import copy
from typing import Any

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.tasks import base

# Radford, Metz, Chintala 2015, section 4, and the epochs of `pytorch/examples`
RECIPE = {
    "optimizer": "adam", "learning_rate": 2e-4, "beta_1": 0.5, "epsilon": 1e-8, "epochs": 25, "batch_size": 64,
}  # fmt: skip


class AdversarialGeneration(base.Task):
    """Pictures from noise. What reads pictures of the pair is the discriminator, what writes them the generator."""

    name = "adversarial_generation"
    default_data = "fashion_mnist"
    recipe = RECIPE
    needs_targets = False
    features = None

    def check_suits(self, model) -> None:
        raise ValueError(f"{self.words} is of two networks: pass kzoo.Assembly a generator and a discriminator")

    def fed(self, model) -> Any:
        from kzoo.tasks.adversarial_generation.pairs import pair_of

        return model if _reads_pictures(model) else pair_of(model)[1]

    def target(self, model) -> Any:
        return columns.Nothing()

    def loss(self, model, label_smoothing=0.0) -> Any:
        self.trainee(model)  # says what is wanted

    def trainee(self, model) -> Any:
        from kzoo.tasks.adversarial_generation.pairs import AdversarialTrainee

        return AdversarialTrainee(model, self)

    def width_of(self, name, model, how) -> None:
        return None

    def batches(self, name, model, how) -> Any:
        from kzoo.tasks.feeding import pictures_alone

        return pictures_alone.load(self, name, model, how)

    def scored_by(self, features, num_images=None) -> base.Task:
        from kzoo.tasks.generated_pictures.scoring import features_of

        task = copy.copy(self)
        task.features, task.num_images = features_of(features), num_images
        return task

    def measured(self, model, split) -> dict:
        """Losses, and what the discriminator says of pictures of a split and of generated ones."""
        runner = self.trainee(model).runner
        runner.compile(None)
        return {key: float(value) for key, value in runner.evaluate(split.dataset, verbose=0, return_dict=True).items()}

    def score(self, model, data, split, numbers) -> dict:
        """With the features of a classifier, how far generated pictures are from as many of the split."""
        if self.features is None:
            return {}
        from kzoo.tasks.adversarial_generation.pairs import pair_of
        from kzoo.tasks.generated_pictures import pixels, scoring

        generator, _ = pair_of(model)
        real = scoring.real_pixels(getattr(data, split), data.preprocessing, self.num_images)
        return scoring.scores(real, pixels.written(generator, len(real), seed=0), self.features)

    def generate(self, model, num_images=64, seed=0, **others) -> Any:
        from kzoo.tasks.generated_pictures import pixels

        if others:
            raise ValueError(f"{', '.join(others)}: {model.name} makes pictures of noise in one step; leave it out")
        return pixels.written(_writer(model), num_images, seed)

    def generate_file(self, model, path, progress=None, **settings) -> str:
        from kzoo.tasks.generated_pictures import picture_files

        picture_files.check(path)
        return picture_files.write(path, self.generate(model, **settings))

    def _refuse(self, model):
        raise ValueError(
            f"{model.name} writes pictures: kzoo.generate(model, num_images=64), or kzoo generate RUN grid.png on the "
            "command line; what its discriminator says of a picture, kzoo.predict gives of that part"
        )

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> list:
        return super().rows_of_files(model, paths, top, skip_bad) if _reads_pictures(model) else self._refuse(model)

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        self._refuse(model)

    def predict(self, model, x, batch_size=64) -> Any:
        return super().predict(model, x, batch_size) if _reads_pictures(model) else self._refuse(model)

    def num_results(self, model) -> int:
        return 2

    def rows(self, results, class_names, top=3) -> list:
        return super().rows(results, ["generated", "real"], top)

    def shown(self, target, class_names) -> dict:
        return {}

    def decide(self, results) -> None:
        raise ValueError("data: there is no accuracy of pictures from noise to compare; leave it out")

    def bare_output(self, model) -> tuple:
        if _reads_pictures(model):
            return super().bare_output(model)
        how = card_of(model).preprocessing
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (how.mean, how.std))
        return "image", f"pictures, which times {std} and plus {mean} are pixels in [0, 1]"

    def endpoints(self, model) -> dict:
        from kzoo.tasks.adversarial_generation import serving_pictures

        return super().endpoints(model) if _reads_pictures(model) else serving_pictures.endpoints(model)


def _reads_pictures(model):
    """Whether a model is the discriminator of a pair; an Assembly has no inputs of its own."""
    return hasattr(model, "inputs") and base.takes_images(model)


def _writer(model):
    from kzoo.tasks.adversarial_generation.pairs import pair_of

    if _reads_pictures(model):
        raise ValueError(f"{model.name} reads pictures and writes none; pass the generator, or both as an Assembly")
    return model if hasattr(model, "inputs") else pair_of(model)[0]


TASK = AdversarialGeneration()

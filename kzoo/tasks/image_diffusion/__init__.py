"""Image diffusion: the noise in a picture, found by a network that removes it step by step."""

import copy
from typing import Any

import keras
import numpy as np

from kzoo.catalog import card_of
from kzoo.data import columns
from kzoo.tasks import base

RECIPE = {
    "optimizer": "adam", "learning_rate": 3e-4, "schedule": "cosine", "warmup_steps": 200, "clip_norm": 1.0,
    "ema": 0.999, "epochs": 20, "batch_size": 64,
}  # fmt: skip
SCORED_AT_ONCE = 64  # pictures
SCORED = {"num_steps": 25, "sampler": "dpm_solver"}  # which in so few steps is near to its limit
NOISE = {"_class_name": "DDPMScheduler"}  # of Ho et al. 2020, where nothing else is said


class ImageDiffusion(base.Task):
    """What is noise in a picture at a random step of its diffusion; pictures are made from noise alone, or changed."""

    name = "image_diffusion"
    default_data = "fashion_mnist"
    recipe = RECIPE
    results = "prediction"
    needs_targets = False
    features = None

    def trainee(self, model) -> Any:
        from kzoo.tasks.image_diffusion.learning import DiffusionTrainee

        return DiffusionTrainee(model, self)

    def check_suits(self, model) -> None:
        sample = columns.inputs_of(model).get("sample")
        if sample is None or tuple(model.outputs[0].shape) != (None, *sample.shape):
            raise ValueError(f"{model.name} must answer an input `sample` with as many numbers; build it so")

    def target(self, model) -> Any:
        from kzoo.tasks.image_diffusion.noised import Denoised

        return Denoised(tuple(model.outputs[0].shape[1:]))

    def loss(self, model, label_smoothing=0.0) -> Any:
        """The plain squared error of Ho et al. 2020, equation 14."""
        if label_smoothing:
            raise ValueError(f"label_smoothing={label_smoothing}: noise is learned without it; leave it at 0")
        return keras.losses.MeanSquaredError(dtype="float32")

    def metrics(self, model) -> list:
        return []

    def width_of(self, name, model, how) -> None:
        return None

    def batches(self, name, model, how) -> Any:
        from kzoo.tasks.image_diffusion import noised

        return noised.load(self, name, model, how, self.noise(model))

    def synthetic(self, name, model, how) -> Any:
        from kzoo.tasks.image_diffusion import noised

        return noised.synthetic(name, model, base.SYNTHETIC_SIZES, how, self.noise(model))

    def arrays(self, name, parts, model, options, class_names=None) -> Any:
        from kzoo.tasks.image_diffusion import noised

        return noised.from_arrays(name, parts, model, options, self.noise(model))

    def random_targets(self, model, x, random, length) -> tuple:
        """As much noise as there is picture."""
        return random.standard_normal(x["sample"].shape, dtype="float32"), None

    def noise(self, model) -> dict:
        """The schedule of noise that a model is trained by, as `scheduler_config.json` holds it."""
        return card_of(model).noise or NOISE

    def read(self, model, outputs) -> Any:
        return outputs

    def num_results(self, model) -> int:
        return model.outputs[0].shape[-1]

    def bare_output(self, model) -> tuple:
        return "prediction", "what the network predicts, such as the noise in the sample"

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> None:
        self._refuse(model)

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> None:
        self._refuse(model)

    def _refuse(self, model):
        raise ValueError(f"{model.name} makes pictures: kzoo.generate(model), or kzoo generate RUN out.png")

    def decide(self, results) -> None:
        raise ValueError("data: what is noise in a picture is neither right nor wrong; leave it out")

    def scored_by(self, features, num_images=None) -> base.Task:
        from kzoo.tasks.generated_pictures.scoring import features_of

        task = copy.copy(self)
        task.features, task.num_images = features_of(features), num_images
        return task

    def measured(self, model, split) -> dict:
        return self.trainee(model).measured(split)

    def score(self, model, data, split, numbers) -> dict:
        """With the features of a classifier, how far generated pictures are from as many of the split."""
        if self.features is None:
            return {}
        from kzoo.tasks.generated_pictures import scoring
        from kzoo.tasks.image_diffusion import noised, requests
        from kzoo.tasks.image_diffusion.networks import networks_of

        real = noised.pixels(getattr(data, split), networks_of(model), self.num_images)
        made = [
            requests.generate(self, model, min(SCORED_AT_ONCE, len(real) - start), seed=start, **SCORED)
            for start in range(0, len(real), SCORED_AT_ONCE)
        ]
        return scoring.scores(real, np.concatenate(made), self.features)

    def generate(self, model, num_images=1, **settings) -> Any:
        from kzoo.tasks.image_diffusion import requests

        return requests.generate(self, model, num_images, **settings)

    def generate_file(self, model, path, **settings) -> str:
        from kzoo.tasks.image_diffusion import picture_requests

        return picture_requests.generate_file(self, model, path, **settings)

    def endpoints(self, model) -> dict:
        from kzoo.tasks.image_diffusion import serving_diffusion
        from kzoo.tasks.image_diffusion.networks import networks_of

        if "encoder_hidden_states" in columns.inputs_of(model) and isinstance(model, keras.Model):
            return {}  # a part of several networks, which generate together
        return serving_diffusion.endpoints(networks_of(model), self.noise(model))


TASK = ImageDiffusion()

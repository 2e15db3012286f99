"""Image autoencoding: pictures to small latents and back, for diffusion to work on."""

from typing import Any

import keras
import numpy as np

from kzoo.data import columns
from kzoo.tasks import base
from kzoo.tasks.feature_extraction import FeatureExtraction

RECIPE = {
    "optimizer": "adam", "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 100, "clip_norm": 1.0,
    "epochs": 20, "batch_size": 32,
}  # fmt: skip


class ImageAutoencoding(FeatureExtraction):
    """Pictures that are the same after both halves, and latents that are near to noise or to a codebook."""

    name = "image_autoencoding"
    default_data = "fashion_mnist"
    recipe = RECIPE
    needs_targets = False

    def check_trains(self, model_name) -> None:
        """Every autoencoder learns."""

    def target(self, model) -> Any:
        return columns.Nothing()

    def trainee(self, model) -> Any:
        from kzoo.tasks.image_autoencoding.learning_to_repeat import AutoencodingTrainee

        return AutoencodingTrainee(model, self)

    def loss(self, model, label_smoothing=0.0) -> Any:
        """The absolute error of Rombach et al. 2022, appendix G, without perceptual and adversarial terms."""
        if label_smoothing:
            raise ValueError(f"label_smoothing={label_smoothing}: pictures are learned without it; leave it at 0")
        return keras.losses.MeanAbsoluteError(dtype="float32")

    def metrics(self, model) -> list:
        return []

    def width_of(self, name, model, how) -> None:
        return None

    def batches(self, name, model, how) -> Any:
        from kzoo.tasks.image_autoencoding import repeated

        return repeated.load(self, name, model, how)

    def synthetic(self, name, model, how) -> Any:
        from kzoo.tasks.image_autoencoding import repeated

        return repeated.synthetic(name, model, base.SYNTHETIC_SIZES, how.options)

    def arrays(self, name, parts, model, options, class_names=None) -> Any:
        from kzoo.tasks.image_autoencoding import repeated

        return repeated.from_arrays(name, parts, model, options)

    def measured(self, model, split) -> dict:
        return self.trainee(model).measured(split)

    def score(self, model, data, split, numbers) -> dict:
        """`psnr`, the peak signal-to-noise ratio in decibels of pictures that go through both halves without noise."""
        from kzoo.generation import latents

        errors, count = 0.0, 0
        for x, _ in getattr(data, split).as_it_is().dataset:
            again = latents.decode(model, latents.encode(model, x.numpy()))
            errors += float(np.square(np.clip(again, -1, 1) - x.numpy()).sum())
            count += again.size
        return {"psnr": 10 * float(np.log10(4 / max(errors / count, 1e-12)))}


TASK = ImageAutoencoding()

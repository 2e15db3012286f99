"""Sound generation: the next sample of a waveform, learned from recordings and written one after another."""

from typing import Any

from kzoo.tasks import base
from kzoo.tasks.losses import MeanLoss
from kzoo.tasks.sound_generation.distributions import SampleLoss, distribution_of
from kzoo.tasks.wanted_outputs import require_outputs

RECIPE = {
    "optimizer": "adam", "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 200, "clip_norm": 1.0,
    "epochs": 20, "batch_size": 8,
}  # fmt: skip


class SoundGeneration(base.Task):
    """The distribution of every sample, given those before it; a spoken digit, a voice or mel frames as conditions."""

    name = "sound_generation"
    default_data = "spoken_digits"
    recipe = RECIPE
    results = "distribution"

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=3, least=2)

    def target(self, model) -> Any:
        from kzoo.tasks.sound_generation.crops import NextSamples

        return NextSamples(model.outputs[0].shape[-1])

    def loss(self, model, label_smoothing=0.0) -> Any:
        if label_smoothing:
            raise ValueError(f"label_smoothing={label_smoothing}: samples are learned without it; leave it at 0")
        return SampleLoss(distribution_of(model))

    def metrics(self, model) -> list:
        """Bits a sample."""
        return [MeanLoss(SampleLoss(distribution_of(model), in_bits=True), "bits_per_sample")]

    def width_of(self, name, model, how) -> None:
        return None

    def batches(self, name, model, how) -> Any:
        from kzoo.tasks.sound_generation import crops

        return crops.load(self, name, model, how)

    def synthetic(self, name, model, how) -> Any:
        from kzoo.tasks.sound_generation import crops

        return crops.synthetic(name, model, base.SYNTHETIC_SIZES, how)

    def arrays(self, name, parts, model, options, class_names=None) -> None:
        raise ValueError(
            f"from_arrays takes one label per example; {model.name} learns from recordings: name a data set, a folder "
            "with a folder of recordings for each voice, or a table of paths"
        )

    def random_targets(self, model, x, random, length) -> tuple:
        """The next sample at each place, and silence after the last."""
        from kzoo.tasks.sound_generation.crops import following

        return following(x["waveform"] if isinstance(x, dict) else x), None

    def read(self, model, outputs) -> Any:
        return outputs

    def num_results(self, model) -> int:
        return model.outputs[0].shape[-1]

    def _refuse(self, model):
        raise ValueError(
            f"{model.name} writes sound: kzoo.generate(model, seconds=1.0), or on the command line kzoo generate and "
            "kzoo vocode"
        )

    def rows_of_files(self, model, paths, top=3) -> None:
        self._refuse(model)

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> None:
        self._refuse(model)

    def decide(self, results) -> None:
        raise ValueError("data: the distribution of a sample is neither right nor wrong; leave it out")

    def generate(self, model, seconds=None, speaker=None, mel=None, **settings) -> Any:
        from kzoo.tasks.sound_generation import requests

        return requests.generate(model, seconds, speaker, mel, **settings)

    def generate_file(self, model, path, **settings) -> str:
        from kzoo.tasks.sound_generation import requests

        return requests.generate_file(self, model, path, **settings)

    def bare_output(self, model) -> tuple:
        what = {
            "MuLaw": "logits of the mu-law classes",
            "Logistics": "logits, means and log-scales of logistic components",
            "Gaussian": "mean and log-scale",
        }[type(distribution_of(model)).__name__]
        return "distribution", f"{what} of the next sample, at every sample"

    def endpoints(self, model) -> dict:
        from kzoo.tasks.sound_generation import serving_waves

        return serving_waves.endpoints(model)


TASK = SoundGeneration()

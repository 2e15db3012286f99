"""Feature extraction: numbers for other models to read, with no label to compare them with."""

import keras
import numpy as np

from kzoo.tasks.base import Task, in_batches


class FeatureExtraction(Task):
    """Neither trained nor scored; `predict` gives the outputs as they are, in their structure."""

    name = "feature_extraction"

    def check_trains(self, model_name) -> None:
        raise ValueError(
            f"{model_name} is for {self.words}, which has no loss here; build it with a head that has one, such as "
            "head='classification'"
        )

    def read(self, model, outputs):
        return outputs

    def bare_output(self, model) -> tuple:
        return "features", "features"

    def predict(self, model, x, batch_size=64):
        parts = [model.predict_on_batch(part) for part in in_batches(x, batch_size)]
        return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


TASK = FeatureExtraction()

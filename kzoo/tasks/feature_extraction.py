"""Feature extraction: numbers for other models to read, with no label to compare them with."""

from typing import Any

import keras
import numpy as np

from kzoo.tasks.base import Task, in_batches, takes_images


class FeatureExtraction(Task):
    """Neither trained nor scored; `predict` gives the outputs as they are, in their structure."""

    name = "feature_extraction"
    gives_features = True
    results = "features"

    def check_trains(self, model_name) -> None:
        raise ValueError(
            f"{model_name} is for {self.words}, which has no loss here; build it with a head that has one, such as "
            "head='classification'"
        )

    def check_suits(self, model) -> None:
        """Any outputs are features."""

    def read(self, model, outputs) -> Any:
        return outputs

    def bare_output(self, model) -> tuple:
        return "features", "features"

    def predict(self, model, x, batch_size=64) -> Any:
        parts = [model.predict_on_batch(part) for part in in_batches(x, batch_size)]
        return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *parts)

    def num_results(self, model) -> int:
        return model.outputs[0].shape[-1]

    def rows(self, results, class_names, top=3) -> list:
        from kzoo.tasks import reading

        return [{"values": reading.values(row, None)} for row in results]

    def shown(self, target, class_names) -> dict:
        return {}

    def decide(self, results) -> None:
        raise ValueError("data: features are neither right nor wrong, so there is no accuracy to compare; leave it out")

    def endpoints(self, model) -> dict:
        from kzoo.tasks import endpoints

        return endpoints.of_results(self, model) if takes_images(model) else {}


TASK = FeatureExtraction()

"""Nucleotide classification: a class for each letter of a sequence, such as the sites where introns begin and end."""

from typing import Any

import keras
import numpy as np

from kzoo.tasks.dna_classification import RECIPE
from kzoo.tasks.feeding.letter_input import LetterInput
from kzoo.tasks.wanted_outputs import require_outputs

LEAST = 0.1  # probability of a site that a row names


class NucleotideClassification(LetterInput):
    """One class per letter, the first of which is no site."""

    name = "nucleotide_classification"
    default_data = "synthetic"
    recipe = RECIPE

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=3, least=2)

    def rows(self, results, class_names, top=3) -> list:
        """The likeliest letters of each class but the first, their places counted from 1."""
        from kzoo.tasks import reading

        rows = []
        for found in results:
            sites = [
                {"class": reading.name_of(which, class_names), "place": int(place) + 1, "probability": float(chance)}
                for which in range(1, found.shape[-1])
                for place, chance in _likeliest(found[:, which], top)
            ]
            rows.append({"sites": sites})
        return rows

    def shown(self, target, class_names) -> dict:
        from kzoo.tasks import reading

        places = np.flatnonzero(target)
        return {"target": [{"class": reading.name_of(int(target[place]), class_names), "place": int(place) + 1}
                           for place in places]}  # fmt: skip

    def line(self, row) -> str:
        if "sites" not in row:
            return super().line(row)
        name = row.get("file", row.get("example", repr(row.get("text"))))
        name = f"{name}, {row['row']}" if "row" in row else name
        told = (
            ", ".join(f"{one['class']} {one['place']:,} ({one['probability']:.3f})" for one in row["sites"]) or "none"
        )
        wanted = ", ".join(f"{one['class']} {one['place']:,}" for one in row.get("target", ()))
        return f"{name}: {told}" + (f" (wanted {wanted or 'none'})" if "target" in row else "")

    def score(self, model, data, split, numbers) -> dict:
        """Of each class but the first, the area under the curve of precision and recall, and the top-k accuracy.

        Of as many letters as the class has, the likeliest, how many are of it (Jaganathan et al. 2019).
        """
        from sklearn import metrics

        from kzoo.tasks import reading
        from kzoo.tasks.inference import choose_split

        truth, found = [], []
        for batch in choose_split(data, split).as_it_is().dataset:
            x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
            counted = np.asarray(weight if weight is not None else np.ones(y.shape)) > 0
            probabilities = keras.ops.convert_to_numpy(self.read(model, model.predict_on_batch(x)))
            truth.append(np.asarray(y)[counted])
            found.append(probabilities[counted])
        truth, found, scores = np.concatenate(truth), np.concatenate(found), {}
        for which in range(1, found.shape[-1]):
            is_site, name = truth == which, reading.name_of(which, data.class_names)
            if not is_site.any():
                continue
            likeliest = np.argsort(-found[:, which], kind="stable")[: is_site.sum()]
            scores[f"{name}_average_precision"] = float(metrics.average_precision_score(is_site, found[:, which]))
            scores[f"{name}_top_k_accuracy"] = float(is_site[likeliest].mean())
        return scores

    def output_words(self, model) -> dict:
        return {name: f"{words}, for each letter" for name, words in super().output_words(model).items()}


def _likeliest(chances, top) -> Any:
    """(place, probability) of the likeliest letters, the best first."""
    order = np.argsort(-chances, kind="stable")[:top]
    return [(place, chances[place]) for place in order if chances[place] >= LEAST]


TASK = NucleotideClassification()

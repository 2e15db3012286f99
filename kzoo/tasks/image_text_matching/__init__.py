"""Image text matching: pictures and texts in one space, where a picture is near what describes it."""

import copy
from typing import Any

import keras
import numpy as np
from keras import ops

from kzoo.data import columns
from kzoo.tasks import base
from kzoo.tasks.image_text_matching.contrast import ContrastiveLoss, PairIds
from kzoo.tasks.trainee import Trainee
from kzoo.tasks.wanted_outputs import require_outputs

# Radford et al. 2021, table 18, with a higher rate and less decay for small models
RECIPE = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.1, "decay_vectors": False, "beta_2": 0.98,
    "epsilon": 1e-6, "schedule": "cosine", "warmup_steps": 200, "clip_norm": 1.0, "epochs": 30, "batch_size": 128,
}  # fmt: skip
PLAIN = ("{}",)  # a label as it is


class ImageTextMatching(base.Task):
    """Contrast of a batch's own pairs with all others in it (Radford et al. 2021, figure 3).

    Attributes:
        labels, templates: what pictures are told apart by, where `choosing_among` was asked.
    """

    name = "image_text_matching"
    default_data = "synthetic"
    recipe = RECIPE
    results = "similarity"
    labels = templates = None

    def check_suits(self, model) -> None:
        require_outputs(self, model, rank=3, least=1)
        if model.outputs[0].shape[1] != 2 or [*columns.inputs_of(model)] != ["image", "token_ids"]:
            raise ValueError(
                f"{model.name} takes {', '.join(columns.inputs_of(model))} and gives {tuple(model.outputs[0].shape)}; "
                f"{self.words} needs image and token_ids, and (batch, 2, dim)"
            )

    def target(self, model) -> Any:
        return PairIds()

    def loss(self, model, label_smoothing=0.0) -> Any:
        if label_smoothing:
            raise ValueError(f"label_smoothing={label_smoothing}: pairs are learned without it; leave it at 0")
        return ContrastiveLoss()

    def metrics(self, model) -> list:
        """None while it trains: `score` ranks a whole split."""
        return []

    def trainee(self, model) -> Any:
        return PairTrainee(model, self)

    def width_of(self, name, model, how) -> None:
        return None

    def takes(self, builder) -> bool:
        from kzoo.tasks.feeding import captioned

        return captioned.has_captions(builder)

    def batches(self, name, model, how) -> Any:
        from kzoo.tasks.image_text_matching import caption_batches

        return caption_batches.load(self, name, model, how)

    # What comes out

    def read(self, model, outputs) -> Any:
        """The cosine of every picture with its own text (batch,)."""
        image, text = outputs[:, 0], outputs[:, 1]
        return ops.sum(image * text, axis=-1) / ops.norm(text, axis=-1)

    def num_results(self, model) -> int:
        return 1

    def choosing_among(self, labels, templates=PLAIN) -> "ImageTextMatching":
        from kzoo.tasks.image_text_matching import zero_shot

        zero_shot.check(labels, templates)
        other = copy.copy(self)
        other.labels, other.templates = [*labels], [*templates]
        return other

    def predict(self, model, x, batch_size=64) -> Any:
        """Cosines of pairs; with labels, their probabilities for pictures (num_examples, num_labels)."""
        from kzoo.tasks.image_text_matching import zero_shot

        if self.labels is None:
            return super().predict(model, x, batch_size)
        return zero_shot.Classifier(model, self.labels, self.templates)(x, batch_size)

    def embed(self, model, x, batch_size=64) -> np.ndarray:
        """Vectors of length 1 of texts, or of pictures."""
        from kzoo.tasks.feeding import given
        from kzoo.tasks.image_text_matching import towers

        return (towers.of_texts if given.are_texts(x) else towers.of_images)(model, x, batch_size)

    def rows_of_files(self, model, paths, top=3, skip_bad=False) -> list:
        """One row per picture: the likeliest labels."""
        from kzoo.data import decoding
        from kzoo.tasks import reading
        from kzoo.tasks.image_text_matching import zero_shot

        if self.labels is None:
            raise ValueError(
                f"{model.kzoo.name} needs words to tell pictures apart by: --labels 'a cat' 'a dog' (or labels=)"
            )
        classify, rows = zero_shot.Classifier(model, self.labels, self.templates), []
        for path, pixels in reading.readable(decoding.read, paths, skip_bad):
            rows += [{"file": str(path), **row} for row in reading.classes(classify(pixels[None]), self.labels, top)]
        return rows

    def rows_of_data(self, model, data, split="test", limit=5, top=3) -> list:
        """One row per example: its own text, and the texts of those shown that it is most like."""
        from kzoo.tasks import reading
        from kzoo.tasks.image_text_matching import zero_shot

        x, _, _ = reading.first_batch(data, split, limit)
        pairs = np.asarray(model.predict_on_batch(x))
        if data.tokenizer is None:
            names = [str(place) for place in range(len(pairs))]
        else:
            names = data.tokenizer.decode(x["token_ids"])
        rows = reading.classes(zero_shot.shares(pairs[:, 0] @ pairs[:, 1].T), names, top)
        return [
            {"example": place, "label": name, **row} for place, (name, row) in enumerate(zip(names, rows, strict=True))
        ]

    def search(self, model, folder, files, texts, top=5, prefix=None, rebuild=False) -> list:
        from kzoo.tasks.image_text_matching import picture_index

        return picture_index.search(model, folder, files, texts, top, prefix, rebuild)

    def decide(self, results) -> None:
        raise ValueError("data: pairs are ranked by kzoo.evaluate, and have no accuracy; leave it out")

    def score(self, model, data, split, numbers) -> dict:
        """The recalls of both directions over the whole split, with those of chance beside them."""
        from kzoo.tasks.image_text_matching import contrast
        from kzoo.tasks.inference import choose_split

        pairs, ids = [], []
        for x, y in choose_split(data, split).as_it_is().dataset:
            pairs.append(np.asarray(model.predict_on_batch(keras.tree.map_structure(np.asarray, x))))
            ids.append(np.asarray(y))
        return contrast.recalls(np.concatenate(pairs), np.concatenate(ids))

    def bare_output(self, model) -> tuple:
        return "embeddings", "the picture's vector of length 1, and the text's; their product is the pair's logit"

    def endpoints(self, model) -> dict:
        from kzoo.tasks.image_text_matching import towers

        return towers.endpoints(model)


class PairTrainee(Trainee):
    """One network of two towers, which learns from no batch of one."""

    def build(self, batch) -> None:
        if len(batch[1]) < 2:
            raise ValueError(
                "batch_size=1: a pair is learned by contrast with the others of its batch; pass batch_size of 2 or "
                "more (--batch-size)"
            )
        super().build(batch)


TASK = ImageTextMatching()

"""Classes that nobody trained for: a picture is what the nearest text says."""

import numpy as np

from kzoo.tasks.image_text_matching import towers

PLACE = "{}"  # of a label in a template


def check(labels, templates) -> None:
    """TypeError or ValueError unless there are labels to choose among, and templates with a place for them."""
    for name, texts in {"labels": labels, "templates": templates}.items():
        if isinstance(texts, str) or not all(isinstance(text, str) and text.strip() for text in texts):
            raise TypeError(f"{name} must be a list of texts, got {texts!r}")
    if len({*labels}) < 2 or len({*labels}) < len(labels):
        raise ValueError(f"labels must be two or more, each once, got {[*labels]!r}: a picture is one of them")
    wrong = next((text for text in templates if text.count(PLACE) != 1), None)
    if wrong is not None or not templates:
        raise ValueError(f"templates need one {PLACE} for the label, as in 'a photo of a {PLACE}', got {wrong!r}")


def shares(logits) -> np.ndarray:
    """The softmax over the last axis, of any size."""
    found = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return found / found.sum(axis=-1, keepdims=True)


class Classifier:
    """Probabilities of labels by the cosine of a picture with the mean of each label's texts.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020, section 3.1.4: a label's vector is the mean of those of its
    templates, brought to length 1; the softmax has the model's own temperature.
    """

    def __init__(self, model, labels, templates):
        self.model, self.scale = model, float(np.exp(np.asarray(model.get_layer("logit_scale").scale)))
        texts = [template.replace(PLACE, label) for label in labels for template in templates]
        vectors = towers.of_texts(model, texts).reshape(len(labels), len(templates), -1).mean(axis=1)
        self.vectors = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def __call__(self, images, batch_size=64) -> np.ndarray:
        """Pictures (batch, height, width, channels) to probabilities (batch, labels)."""
        return shares(self.scale * towers.of_images(self.model, images, batch_size) @ self.vectors.T)

"""Sentence embedding: one vector a text."""

from kzoo.tasks.feature_extraction import FeatureExtraction


class SentenceEmbedding(FeatureExtraction):
    """The average of a text's tokens, for comparison with others; there is no loss here to train it with."""

    name = "sentence_embedding"

    def bare_output(self, model) -> tuple:
        return "embedding", "embeddings, one vector a text"


TASK = SentenceEmbedding()

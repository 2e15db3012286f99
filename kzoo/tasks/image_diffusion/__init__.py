"""Image diffusion: the noise in a picture, found by a network that removes it step by step."""

from kzoo.tasks.feature_extraction import FeatureExtraction


class ImageDiffusion(FeatureExtraction):
    """What the network predicts, as it is."""

    name = "image_diffusion"
    results = "prediction"

    def bare_output(self, model) -> tuple:
        return "prediction", "what the network predicts, such as the noise in the sample"


TASK = ImageDiffusion()

"""Pictures for a server: `generate` of a generator, noise in and pixels out."""

from kzoo.catalog import card_of
from kzoo.tasks.endpoints import Endpoint
from kzoo.tasks.generated_pictures import pixels


def endpoints(model) -> dict:
    """`generate`: uint8 pictures of standard normal noise, any number at once."""
    (_, latent_dim), picture = model.inputs[0].shape, tuple(model.outputs[0].shape)
    how = card_of(model).preprocessing

    def make(call):
        return lambda noise: {"images": pixels.to_uint8(call(noise), how)}

    def draw(random, batch_size):
        return [random.standard_normal((batch_size, latent_dim), "float32")]

    inputs = {"noise": f"float32 (None, {latent_dim}): standard normal"}
    outputs = {"images": f"uint8 {picture}"}
    return {"generate": Endpoint(make, {"noise": ((None, latent_dim), "float32")}, inputs, outputs, draw, "images")}
